# SPDX-License-Identifier: Apache-2.0
"""Proofs by k-induction: properties of the blocks in `*.v`, proven by Yosys; `README.md` says how to read them."""
