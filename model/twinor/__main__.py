# SPDX-License-Identifier: Apache-2.0
"""`python -m twinor` is the console script."""

from twinor.cli import main

main()
