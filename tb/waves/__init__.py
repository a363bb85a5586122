# SPDX-License-Identifier: Apache-2.0
"""Saved views of the benches and of co-simulation, and `python -m tb.waves`, which runs a bench and opens its view."""
