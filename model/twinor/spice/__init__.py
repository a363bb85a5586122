# SPDX-License-Identifier: Apache-2.0
"""ngspice as a witness: the circuits that the models stand for, solved by a simulator that knows nothing of them.

    netlist -> run -> checks -> `python -m twinor.spice`

`netlist` writes circuits from the objects that the models take, `run` has ngspice solve them, `checks` compares.
"""
