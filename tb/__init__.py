# SPDX-License-Identifier: Apache-2.0
"""cocotb benches, one per block; `tb/README.md` says how to run them."""
