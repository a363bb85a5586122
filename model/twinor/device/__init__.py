# SPDX-License-Identifier: Apache-2.0
"""The physics of the array: one cell, and one column of cells between its wires; floats in volts and nanoamperes.

`ekv` is the current of a cell in every regime, `ladder` the direct-current solution of a bit line and a source line.
"""
