# SPDX-License-Identifier: Apache-2.0
"""The register map of cim_axi: everything that follows from `rtl/cim_axi.rdl`."""
