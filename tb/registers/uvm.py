# SPDX-License-Identifier: Apache-2.0
"""What carries the generated pyuvm register model over the bus: item, driver, adapter and environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cocotbext.axi import AxiResp
from pyuvm import (
    uvm_access_e,
    uvm_driver,
    uvm_env,
    uvm_reg_adapter,
    uvm_reg_bus_op,
    uvm_sequence_item,
    uvm_sequencer,
    uvm_status_e,
)

from tb.registers.model import cim_axi_regs

if TYPE_CHECKING:
    from tb.common.axi import Shell

__all__ = ["RegisterEnv"]


class BusItem(uvm_sequence_item):
    """A read or a write of one word, and what the bus answered."""

    def __init__(self, name: str, write: bool, address: int, data: int) -> None:
        """State the access."""
        super().__init__(name)
        self.write, self.address, self.data = write, address, data
        self.good = False


class BusDriver(uvm_driver):
    """Hands items to cocotbext-axi's master."""

    shell: Shell

    async def run_phase(self) -> None:
        """One item after the other."""
        while True:
            item = await self.seq_item_port.get_next_item()
            if item.write:
                item.good = await self.shell.respond(item.address, item.data) == AxiResp.OKAY
            else:
                response, item.data = await self.shell.ask(item.address)
                item.good = response == AxiResp.OKAY
            self.seq_item_port.item_done()


class BusAdapter(uvm_reg_adapter):
    """Between the register model's operations and the bus's items."""

    def reg2bus(self, rw: uvm_reg_bus_op) -> uvm_sequence_item:
        """An item of a register operation."""
        return BusItem("item", rw.kind == uvm_access_e.UVM_WRITE, rw.addr, rw.data)

    def bus2reg(self, bus_item: uvm_sequence_item, rw: uvm_reg_bus_op) -> None:
        """What an item came to."""
        rw.kind = uvm_access_e.UVM_WRITE if bus_item.write else uvm_access_e.UVM_READ
        rw.addr, rw.data = bus_item.address, bus_item.data
        rw.status = uvm_status_e.UVM_IS_OK if bus_item.good else uvm_status_e.UVM_NOT_OK


class RegisterEnv(uvm_env):
    """The register model on a sequencer and a driver; `shell` is set before the build phase of its children."""

    shell: Shell

    def build_phase(self) -> None:
        """Make sequencer, driver and model."""
        self.sequencer = uvm_sequencer("sequencer", self)
        self.driver = BusDriver("driver", self)
        self.driver.shell = self.shell
        self.model = cim_axi_regs("model")
        self.model.build()
        self.model.lock_model()

    def connect_phase(self) -> None:
        """The model predicts from its own operations."""
        self.driver.seq_item_port.connect(self.sequencer.seq_item_export)
        self.map = self.model.get_default_map()
        self.map.set_sequencer(self.sequencer, BusAdapter("adapter"))
        self.map.set_auto_predict(True)
