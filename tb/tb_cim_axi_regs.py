# SPDX-License-Identifier: Apache-2.0
"""Every register of cim_axi over the bus: reset value, rights, strobes, refusals; and the generated pyuvm model."""

from __future__ import annotations

from typing import Any

import cocotb
import pyuvm
from cocotbext.axi import AxiResp
from pyuvm import uvm_status_e
from twinor.driver import IDENTIFICATION
from twinor.registers import WINDOW

from tb.common import bench
from tb.common.axi import Shell
from tb.registers.source import Field, Register, compiled, registers_of
from tb.registers.uvm import RegisterEnv
from tb.uvm.guard import LogGuard

REGISTERS = registers_of(compiled())
ALL = 0xFFFFFFFF


async def started(dut: Any, label: str, share: float = 0.3) -> Shell:
    """A macro out of reset, its bus paused now and then."""
    shell = Shell(dut, bench.die(), bench.generator(label))
    await shell.start()
    shell.pause(share)
    return shell


def bits(field: Field) -> int:
    """The bits of a field."""
    return ((1 << field.width) - 1) << field.low


def stored(register: Register) -> int:
    """The bits that keep what is written."""
    return sum(bits(field) for field in register.fields if field.access == "read, write")


def after_reset(shell: Shell, register: Register) -> int:
    """What a register reads after a reset, before anything ran."""
    parameters, value = shell.cfg.parameters(), 0
    for field in register.fields:
        if register.name in IDENTIFICATION:
            value |= parameters[field.name.upper()] << field.low
        elif field.reset is not None:
            value |= field.reset << field.low
        else:
            value |= {"words": 1}.get(field.name, 0) << field.low
    return value


async def everything(shell: Shell) -> dict[str, int]:
    """What all readable registers hold."""
    return {register.name: await shell.read(register.address) for register in REGISTERS if register.readable}


@cocotb.test
async def every_register_holds_its_reset_value(dut: Any) -> None:
    """Each readable register after reset: stored values, the macro's parameters, and a macro that takes words."""
    shell = await started(dut, "values")
    for register in REGISTERS:
        if register.readable:
            expected, got = after_reset(shell, register), await shell.read(register.address)
            assert got == expected, f"{register.name} reads 0x{got:X}: expected 0x{expected:X}"


@cocotb.test
async def what_is_written_is_read_back_byte_by_byte(dut: Any) -> None:
    """Random values, with all strobes and with some: fields of the strobed bytes take them, other bits read 0."""
    shell = await started(dut, "storage")
    kept = [register for register in REGISTERS if stored(register)]
    model = {register.name: after_reset(shell, register) for register in kept}
    assert len(kept) >= 2
    for _ in range(40):
        register = kept[int(shell.rng.integers(len(kept)))]
        value, strobes = int(shell.rng.integers(0, 1 << 32)), int(shell.rng.integers(0, 16))
        lanes = sum(0xFF << 8 * n for n in range(4) if strobes >> n & 1) & stored(register)
        assert await shell.strobed(register.address, value, strobes) == AxiResp.OKAY
        model[register.name] = model[register.name] & ~lanes | value & lanes
        for other in kept:
            assert await shell.read(other.address) == model[other.name], f"{other.name} after {register.name}"
    assert await shell.respond(kept[0].address, 0) == AxiResp.OKAY


@cocotb.test
async def what_must_not_be_accessed_is_refused_and_nothing_changes(dut: Any) -> None:
    """Writes of what is only read, reads of what is only written, unmapped and misaligned addresses, the window."""
    shell = await started(dut, "refusals")
    for register in REGISTERS:
        if stored(register) and register.name != "control":
            await shell.write(register.address, int(shell.rng.integers(0, 1 << 32)))
    before = await everything(shell)
    taken = {register.address for register in REGISTERS}
    unmapped = [a for a in range(0, 0x200, 4) if a not in taken]
    unmapped += [1 << n for n in range(9, 18)] + [r.address + (1 << n) for r in REGISTERS[:3] for n in range(9, 18)]
    unmapped += [WINDOW - 4, *(4 * int(k) for k in shell.rng.integers(0x200, WINDOW // 4, 20))]
    misaligned = [r.address + n for r in REGISTERS for n in (1, 2, 3)]
    readable = [r.address for r in REGISTERS if not r.writable]
    for address in [*unmapped, *misaligned, *readable]:
        assert await shell.strobed(address, ALL, 0xF) == AxiResp.SLVERR, f"write to 0x{address:05X}"
    write_only = [r.address for r in REGISTERS if not r.readable]
    window = [WINDOW, WINDOW + 0x3FFFC, *(WINDOW + 4 * int(k) for k in shell.rng.integers(0, 1 << 16, 4))]
    for address in [*unmapped, *write_only, *window]:
        assert await shell.ask(address) == (AxiResp.SLVERR, 0), f"read of 0x{address:05X}"
    assert await everything(shell) == before and write_only


@cocotb.test
async def reads_and_writes_at_once_do_not_meet(dut: Any) -> None:
    """Both directions busy at the same time: each answer is that of its own address."""
    shell = await started(dut, "both", 0.2)
    enable = next(register for register in REGISTERS if register.name == "intr_enable")
    identity = next(register for register in REGISTERS if register.name == "id")
    mask = stored(enable)
    for _ in range(40):
        value = int(shell.rng.integers(0, 1 << 32))
        good = shell.rng.random() < 0.5
        writing = cocotb.start_soon(shell.respond(enable.address if good else identity.address, value))
        reading = cocotb.start_soon(shell.ask(identity.address))
        assert await writing == (AxiResp.OKAY if good else AxiResp.SLVERR)
        assert await reading == (AxiResp.OKAY, identity.fields[0].reset)
        if good:
            assert await shell.read(enable.address) == value & mask


@pyuvm.test(timeout_time=5, timeout_unit="ms")
class TheRegisterModelPredictsTheRegisters(pyuvm.uvm_test):
    """The generated model over the bus: resets, random writes of registers and fields; mirrors equal what is read."""

    def build_phase(self) -> None:
        """Make the environment; the shell comes with the run."""
        self.guard = LogGuard().__enter__()
        self.shell = Shell(cocotb.top, bench.die(), bench.generator("model"))
        self.env = RegisterEnv("env", self)
        self.env.shell = self.shell

    async def run_phase(self) -> None:
        """Everything, then what pyuvm only logged."""
        self.raise_objection()
        await self.shell.start()
        await self.check()
        self.guard.__exit__(None, None, None)
        assert not self.guard.said, self.guard.said
        self.drop_objection()

    async def check(self) -> None:
        """Reads and writes of every register of the model."""
        registers = self.env.map.get_registers()
        assert {r.get_name(): r.get_address() for r in registers} == {r.name: r.address for r in REGISTERS}
        known = {register.name: register for register in REGISTERS}
        for register in registers:
            about = known[register.get_name()]
            if about.readable:
                status, value = await register.read()
                assert status == uvm_status_e.UVM_IS_OK and value == after_reset(self.shell, about)
        writable = [register for register in registers if stored(known[register.get_name()])]
        for _ in range(20):
            register = writable[int(self.shell.rng.integers(len(writable)))]
            about = known[register.get_name()]
            value = int(self.shell.rng.integers(0, 1 << 32)) & stored(about)
            assert await register.write(value) == uvm_status_e.UVM_IS_OK
            assert register.get_mirrored_value() == value
            field = register.get_fields()[0]
            assert await field.write(1) == uvm_status_e.UVM_IS_OK
            expected = value & ~bits(about.fields[0]) | 1 << about.fields[0].low
            assert await self.shell.read(about.address) == expected == register.get_mirrored_value()
        read_only = next(register for register in registers if register.get_name() == "id")
        assert await read_only.write(0) == uvm_status_e.UVM_NOT_OK
        self.guard.said.clear()  # pyuvm logs the refusal that was asked for
