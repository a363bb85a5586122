# SPDX-License-Identifier: Apache-2.0
"""A chip measured as a lab measures it: known levels into its cells, known inputs, codes out of its ADCs.

    chip -> cells, adcs -> mac, noise -> stress (time, temperature), wires, yields -> suite -> summary, report

`bench` programs and reads; each of the others turns codes into figures. What no lab can see stands in `wires` alone,
which solves columns, and in what `noise` predicts from the tables of the die.
"""

from twinor.characterise.chip import Chip, chip_of
from twinor.characterise.suite import Characterisation, Settings, characterise
from twinor.characterise.yields import Limits

__all__ = ["Characterisation", "Chip", "Limits", "Settings", "characterise", "chip_of"]
