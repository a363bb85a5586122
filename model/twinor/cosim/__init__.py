# SPDX-License-Identifier: Apache-2.0
"""Co-simulation: the Verilog macro runs the chains of a network in Icarus, whole files at a time."""
