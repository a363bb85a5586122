# SPDX-License-Identifier: Apache-2.0
"""`rtl/cim_axi.rdl` compiled, and what its registers are as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from peakrdl_etana.udps import ALL_UDPS
from systemrdl.compiler import RDLCompiler
from systemrdl.messages import RDLCompileError
from systemrdl.node import AddrmapNode, FieldNode, MemNode, RegNode
from twinor.errors import TwinorError

from tb.common.sources import RTL

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["RDL", "Field", "Register", "Window", "compiled", "registers", "registers_of", "window_of"]

RDL = RTL / "cim_axi.rdl"


@dataclass(frozen=True, slots=True)
class Field:
    """Some bits of a register; `reset` is None if the value is the hardware's."""

    name: str
    low: int
    width: int
    access: str
    reset: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Register:
    """A register: byte address, whether software reads and writes it, and its fields from bit 0 up."""

    name: str
    address: int
    title: str
    text: str
    readable: bool
    writable: bool
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """A range of 32-bit words outside the registers."""

    name: str
    address: int
    words: int
    title: str
    text: str


def compiled(path: Path = RDL) -> AddrmapNode:
    """The elaborated address map.

    Raises:
        TwinorError: the file is missing or no SystemRDL; the compiler has printed where.
    """
    compiler = RDLCompiler()
    for definition in ALL_UDPS:
        compiler.register_udp(definition)
    try:
        compiler.compile_file(str(path))
        return compiler.elaborate().top
    except (RDLCompileError, FileNotFoundError) as error:
        raise TwinorError(f"{path.name} is no SystemRDL: {error}") from None


def registers(top: AddrmapNode) -> AddrmapNode:
    """The part of the map that becomes the register block."""
    return next(child for child in top.children() if isinstance(child, AddrmapNode))


def registers_of(top: AddrmapNode) -> list[Register]:
    """Registers in the order of their addresses.

    Example:
        >>> [(r.name, r.address, r.readable, r.writable) for r in registers_of(compiled())][:2]
        [('id', 0, True, False), ('version', 4, True, False)]
    """
    return [_register(node) for node in registers(top).children(unroll=True) if isinstance(node, RegNode)]


def _register(node: RegNode) -> Register:
    return Register(
        name=node.inst_name,
        address=node.absolute_address,
        title=str(node.get_property("name")),
        text=str(node.get_property("desc")),
        readable=node.has_sw_readable,
        writable=node.has_sw_writable,
        fields=tuple(map(_field, node.fields())),
    )


def _field(node: FieldNode) -> Field:
    if node.get_property("onwrite") is not None:
        access = "write 1 to clear"
    else:
        access = {"r": "read", "w": "write", "rw": "read, write"}[node.get_property("sw").name]
    reset = node.get_property("reset")
    text = str(node.get_property("desc"))
    return Field(node.inst_name, node.low, node.width, access, reset if isinstance(reset, int) else None, text)


def window_of(top: AddrmapNode) -> Window:
    """The window of round words.

    Example:
        >>> hex(window_of(compiled()).address)
        '0x40000'
    """
    node = next(child for child in top.children() if isinstance(child, MemNode))
    texts = [str(node.get_property(name)) for name in ("name", "desc")]
    return Window(node.inst_name, node.absolute_address, node.get_property("mementries"), *texts)
