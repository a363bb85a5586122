# SPDX-License-Identifier: Apache-2.0
"""The mutation campaign: seeded single changes of the Verilog, the bench that kills each, and proofs for the rest."""
