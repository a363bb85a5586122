# SPDX-License-Identifier: Apache-2.0
"""twinor: an int4 NOR-flash compute-in-memory macro and its Verilog-checked digital twin."""
