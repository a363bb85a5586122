# SPDX-License-Identifier: Apache-2.0
"""The pyuvm environment of cim_macro: agents on every stream, golden as the predictor, functional coverage."""
