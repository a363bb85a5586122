# SPDX-License-Identifier: Apache-2.0
"""The bench of the macro on the netlist that synthesis writes."""
