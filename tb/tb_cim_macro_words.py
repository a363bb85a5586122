# SPDX-License-Identifier: Apache-2.0
"""Round words of the whole macro that have no place: they are taken, and nothing shows that they ever came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cocotb
from twinor.rounds import ROUND_STRIDE, TABLE_ADDR
from twinor.trim import CORRECT_ADDR, WEIGHT_ADDR

from tb.common import bench
from tb.common.beats import chain_words, die_words
from tb.tb_cim_macro import Macro, some_chain

if TYPE_CHECKING:
    import numpy as np
    from twinor.config import Config

    from tb.common.values import Bits


def nowhere(cfg: Config) -> list[int]:
    """Addresses past the end of a round, of the round memory, the three tables, one in each bit above them."""
    rounds, columns = cfg.max_rounds * ROUND_STRIDE, 2 * cfg.out_cols
    past = [n * ROUND_STRIDE + cfg.round_words for n in range(cfg.max_rounds)]
    past += [rounds + word for word in range(cfg.round_words)]
    past += [1 << bit | word for bit in range(5, 15) if 1 << bit >= rounds for word in range(cfg.round_words)]
    table = [columns, columns + 1]
    table += [1 << bit | word for bit in range(1, 14) if 1 << bit >= columns for word in range(min(columns, 8))]
    trials = [cfg.trials, *(1 << bit | k for bit in range(4, 14) for k in range(cfg.trials))]
    page = CORRECT_ADDR - WEIGHT_ADDR  # the next one is the correction's
    trials = [trial for trial in trials if trial // page != 1]
    used = columns if cfg.column_correction else 0
    corrected = [used, used + 1, *(1 << bit | word for bit in range(1, 12) if 1 << bit >= used for word in range(2))]
    others = [*(WEIGHT_ADDR | trial for trial in trials), *(CORRECT_ADDR | address for address in corrected)]
    return past + [TABLE_ADDR | address for address in table] + others


def strays(rng: np.random.Generator, addresses: list[int]) -> list[dict[str, Bits]]:
    """Random data at the addresses, in random order."""
    return [{"addr_i": a, "data_i": int(rng.integers(1 << 32))} for a in rng.permutation(addresses).tolist()]


@cocotb.test
async def elaborated_parameters_equal_the_configuration(dut: Any) -> None:
    """Every parameter of the elaborated macro is what the configuration says."""
    bench.parameters_equal_configuration(dut, "cim_macro")


@cocotb.test
async def words_that_no_round_no_column_and_no_trial_has_change_nothing(dut: Any) -> None:
    """Random words at all such addresses between a chain's words and its vectors: the outputs are golden's.

    Words of the round memory leave the chain armed; all others disarm it, so the last word comes again.
    """
    rng = bench.generator("nowhere")
    dev = Macro(dut, rng)
    await dev.start()
    dev.words.send(die_words(dev.cfg, dev.die))
    table = [address for address in nowhere(dev.cfg) if address >= TABLE_ADDR]
    memory = [address for address in nowhere(dev.cfg) if address < TABLE_ADDR]
    for _ in range(3 if dev.cfg.rows <= 16 else 1):
        chain = some_chain(dev.cfg, rng)
        words = list(chain_words(dev.cfg, chain))
        for some in (words, strays(rng, table), words[-1:], strays(rng, memory)):
            dev.words.send(some)
        await dev.run(lambda: dev.words.empty, limit=10_000)
        dev.send_vectors(chain, 1)
        await dev.drain()
