# SPDX-License-Identifier: Apache-2.0
"""Sequences: items of one stream, and the virtual sequence that runs vectors through a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cocotb
from cocotb.triggers import FallingEdge
from pyuvm import uvm_sequence

from tb.uvm.items import ActivationsItem, PartialSumsItem, ResidualsItem, RoundsItem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twinor.rounds import Chain

    from tb.common.stimulus import Vectors
    from tb.uvm.env import MacroEnv
    from tb.uvm.items import StreamItem

__all__ = ["ChainSequence", "StreamSequence"]

DRAIN_CYCLES = 150_000
"""A chain that takes longer than this after its last beat hangs."""


class StreamSequence(uvm_sequence):
    """Items of one stream, one after the other."""

    def __init__(self, items: Sequence[StreamItem]) -> None:
        """Keep the items."""
        super().__init__("stream")
        self.items = items

    async def body(self) -> None:
        """Hand them out."""
        for item in self.items:
            await self.start_item(item)
            await self.finish_item(item)


class ChainSequence(uvm_sequence):
    """A chain's words, unless they are there already, then its vectors; ends when everything was compared."""

    def __init__(
        self,
        env: MacroEnv,
        chain: Chain,
        vectors: Vectors,
        *,
        words: bool = True,
        then: Chain | None = None,
    ) -> None:
        """Keep what to send.

        Args:
            env: the environment.
            chain: the chain.
            vectors: what streams in.
            words: False if the macro holds the chain already, or its words are on offer.
            then: the next chain; its words are on offer from the first beat of the last vector on, no host may sooner.
        """
        super().__init__("chain")
        self.env, self.chain, self.vectors = env, chain, vectors
        self.words, self.then = words, then

    async def body(self) -> None:
        """Words first; activations, partial sums and residual codes side by side."""
        cfg = self.env.config
        if self.words:
            await self._on("words", [RoundsItem(cfg, self.chain)])
        inputs, psums, residuals = self.vectors.inputs, self.vectors.psums, self.vectors.residuals
        beats = [ActivationsItem(cfg, x[v]) for v in range(len(inputs[0])) for x in inputs]
        sums = [PartialSumsItem(cfg, row) for row in ([] if psums is None else psums)]
        codes = [ResidualsItem(cfg, row) for row in ([] if residuals is None else residuals)]
        early = sum(len(item.beats) for item in beats[: -len(inputs)])
        flows = [self._on("activations", beats), self._on("psums", sums), self._on("residuals", codes)]
        flows.append(self._words_ahead(early + 1))
        for task in [cocotb.start_soon(flow) for flow in flows]:
            await task
        await self._drain()

    async def _on(self, stream: str, items: Sequence[StreamItem]) -> None:
        await StreamSequence(items).start(self.env.sources[stream].sequencer)

    async def _words_ahead(self, beats: int) -> None:
        """Offer the next chain's words after so many beats; they wait for the end of this chain."""
        if self.then is None:
            return
        seen, clocking = self.env.scoreboard.seen["beat"], self.env.clocking
        past = len(seen) + beats
        while len(seen) < past and not clocking.flush:
            await FallingEdge(clocking.dut.clk_i)
        await self._on("words", [RoundsItem(self.env.config, self.then)])

    async def _drain(self) -> None:
        clocking, scoreboard = self.env.clocking, self.env.scoreboard
        last = clocking.cycle + DRAIN_CYCLES
        while scoreboard.outstanding and not clocking.flush:
            assert clocking.cycle < last, f"{scoreboard.outstanding} values never came"
            await FallingEdge(clocking.dut.clk_i)
        for _ in range(4):
            await FallingEdge(clocking.dut.clk_i)
        if not clocking.flush:
            scoreboard.finish()
