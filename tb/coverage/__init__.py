# SPDX-License-Identifier: Apache-2.0
"""Lines and branches of the Verilog that the regression reaches, as Verilator counts them."""
