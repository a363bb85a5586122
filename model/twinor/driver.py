# SPDX-License-Identifier: Apache-2.0
"""Software's view of `cim_axi`: loads chains, programs cells, waits, counts; the bus is two functions of yours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinor.errors import TwinorError
from twinor.registers import FIELDS, REGISTERS, WINDOW
from twinor.rounds import pack, step_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from twinor.config import Config
    from twinor.golden.prog_ctrl import Settings
    from twinor.rounds import Chain

__all__ = ["MAGIC", "MAJOR", "Driver", "DriverError"]

MAGIC, MAJOR = 0x43494D31, 1
"""What `id` reads, and the major version of the register map that this driver knows."""

IDENTIFICATION = ("shape", "groups", "weights", "inputs", "conversion", "sums", "chains", "options")
"""Registers whose fields are parameters of the macro."""


class DriverError(TwinorError):
    """The macro is not the one expected, or does not do what it was told; names register, value and expectation."""


class Driver:
    """Drives one macro through a bus.

    Registers and fields have the names of `rtl/registers.md`; activations, partial sums and results are streams and not
    the driver's.

    Args:
        read: returns the 32-bit word at a byte address.
        write: writes a 32-bit word to a byte address.
            Both raise what they like where the bus answers with an error; the driver passes it on.
        base: byte address of the macro on the bus.

    Example:
        >>> memory = {0x1000_0058: 7, 0x1000_005C: 9}
        >>> driver = Driver(memory.__getitem__, memory.__setitem__, base=0x1000_0000)
        >>> driver.clips()
        (7, 9)
        >>> driver.enable()
        >>> memory[0x1000_0040]
        1
    """

    def __init__(self, read: Callable[[int], int], write: Callable[[int, int], None], *, base: int = 0) -> None:
        """Keep the bus; nothing is read or written yet."""
        self._read, self._write, self._base = read, write, base

    def read(self, register: str) -> dict[str, int]:
        """The fields of a register."""
        value = self._read(self._base + REGISTERS[register])
        return {name: value >> low & ((1 << width) - 1) for name, (low, width) in FIELDS[register].items()}

    def write(self, register: str, **fields: int) -> None:
        """Write a register; fields that are not named are written 0.

        Raises:
            ValueError: a field does not hold the value.
        """
        word = 0
        for name, value in fields.items():
            low, width = FIELDS[register][name]
            if not 0 <= value < 1 << width:
                raise ValueError(f"{register}.{name} = {value}: expected 0 .. {(1 << width) - 1}")
            word |= value << low
        self._write(self._base + REGISTERS[register], word)

    def identify(self, config: Config) -> None:
        """Make sure that a macro of this configuration answers.

        Raises:
            DriverError: something else does; names the first register or parameter that differs.
        """
        expected = {("id", "magic"): MAGIC, ("version", "major"): MAJOR}
        values = config.parameters()
        expected |= {(r, f): values[f.upper()] for r in IDENTIFICATION for f in FIELDS[r]}
        for (register, field), value in expected.items():
            got = self.read(register)[field]
            if got != value:
                raise DriverError(f"{register}.{field} reads {got}: expected {value}, as preset {config.name} has it")

    def enable(self, on: bool = True) -> None:
        """Let the macro take activations, or make them wait."""
        self.write("control", enable=int(on))

    def reset(self) -> None:
        """Abandon the chain; what the macro holds is gone, and activations wait."""
        self.write("control", reset=1)
        self.write("control")

    def load(self, config: Config, chain: Chain, *, polls: int = 1000) -> None:
        """Write a chain's words and let it run: activations wait until its last word is there.

        Args:
            config: the macro.
            chain: its program; `rounds.validate` says whether the macro can run it.
            polls: reads of `status` after which a chain under way counts as stuck.

        Raises:
            DriverError: the macro takes no words; a chain that was there is still under way.
        """
        self.enable(False)
        for _ in range(polls):
            if self.read("status")["words"]:
                break
        else:
            raise DriverError(
                f"the macro took no words in {polls} reads of status: a chain is under way; reset ends it"
            )
        for address, data in pack(config, chain).tolist():
            self._write(self._base + WINDOW + 4 * address, data)
        self.enable()

    def interrupts(self, *names: str) -> None:
        """Let these bits of `intr_status` raise the interrupt line, and no others."""
        self.write("intr_enable", **dict.fromkeys(names, 1))

    def clear(self, *names: str) -> None:
        """Clear bits of `intr_status`."""
        self.write("intr_status", **dict.fromkeys(names, 1))

    def wait(self, event: str, *, polls: int = 100_000) -> None:
        """Read `intr_status` until an event has come, then clear it.

        Raises:
            DriverError: it has not come in `polls` reads.
        """
        for _ in range(polls):
            if self.read("intr_status")[event]:
                self.clear(event)
                return
        raise DriverError(f"intr_status.{event} did not rise in {polls} reads")

    def error(self) -> tuple[int, int]:
        """Rule and place of the last bad round descriptor, as `golden.round_check` numbers the rules; 0 is none."""
        fields = self.read("error")
        return fields["code"], fields["round"]

    def clips(self) -> tuple[int, int]:
        """Conversions at the smallest and at the largest code since the counters were cleared."""
        return self.read("clip_low")["count"], self.read("clip_high")["count"]

    def program(self, settings: Settings, rows: range, *, erase: bool = True, write: bool = True) -> None:
        """Start an operation of the program-verify controller; target levels and statuses are streams.

        Args:
            settings: of the operation; they stay as they are until it is over.
            rows: word lines that are verified and programmed.
            erase: erase the block, first if both are true.
            write: program the rows.

        Raises:
            ValueError: a field does not hold a setting.
        """
        for level, code in enumerate(settings.targets):
            self.write("prog_target", code=code, cell_level=level)
        self.write("prog_rows", base=rows.start, count=len(rows))
        self.write("prog_erase_limit", code=settings.erase_limit)
        self.write("prog_accept", margin=settings.margin, window=settings.window)
        for name, ramp in (("erase", settings.erase), ("coarse", settings.coarse), ("fine", settings.fine)):
            self.write(f"prog_{name}_ramp", start=ramp.start, step=ramp.step, pulses=ramp.pulses)
            self.write(f"prog_{name}_length", cycles=ramp.cycles)
        step = step_code(settings.step)
        self.write("prog_operation", erase=erase, write=write, retries=settings.retries, step=step)
        self.write("command", prog_start=1)

    def program_counts(self) -> dict[str, int]:
        """Erase, coarse and fine pulses of the operation, and cells that it could not erase."""
        names = ("erase_pulses", "coarse_pulses", "fine_pulses", "unerased")
        return {name: self.read(f"prog_{name}")["count"] for name in names}

    def clear_clips(self) -> None:
        """Set both clip counters to 0."""
        self.write("command", clip_clear=1)
