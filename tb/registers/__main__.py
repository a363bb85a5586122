# SPDX-License-Identifier: Apache-2.0
"""`python -m tb.registers`: write Verilog, Python map, pyuvm model and page from the register map of cim_axi."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from twinor.errors import TwinorError
from twinor.paste import near

from tb.registers.files import check, write

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(prog="python -m tb.registers", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if a file is not what follows")
    if parser.parse_args(argv).check:
        check()
        print("every generated file follows rtl/cim_axi.rdl")
    else:
        for path in write():
            print(f"wrote {near(path)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TwinorError as error:
        sys.exit(f"twinor: {error}")
