# SPDX-License-Identifier: Apache-2.0
"""Synthesis of the digital half by Yosys: what each block costs in cells, flip-flops and transistors."""
