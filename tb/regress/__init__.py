# SPDX-License-Identifier: Apache-2.0
"""Every bench at every configuration of the tests, on Icarus Verilog or on Verilator."""
