# SPDX-License-Identifier: Apache-2.0
"""Verilog with one wrong value: which event it strikes is read when the simulation starts, and all times are logged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from command_line import mutated

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FAULTS", "Fault"]

DECLARED = """);
  reg [31:0] target [0:0];
  reg [31:0] count = 32'd0;
  wire       now   = count == target[0];
  reg        late  = 1'b0;
"""
COUNTED = """
  initial $readmemh("{folder}/target.hex", target);
  always @(posedge clk_i) if ({event}) count <= count + 32'd1;
  {more}

endmodule
"""
MONITOR = """
  integer times;
  initial times = $fopen("{folder}/times.txt", "w");
  always @(posedge clk_i) begin
    if (hold_o) $fdisplay(times, "hold %0d", $time);
    if (code_valid && code_ready) $fdisplay(times, "code %0d", $time);
    if (out_valid_o) $fdisplay(times, "out %0d", $time);
  end

endmodule
"""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One wrong value at the n-th event of a kind, for an n that the mutated Verilog reads when it starts."""

    file: str
    event: str
    """Condition that counts events."""
    before: str
    after: str
    """What replaces `before`; `now` is true from the event before the n-th up to the n-th."""
    kind: str
    """What the event leads to: hold, code or out."""
    more: str = ""

    def plant(self, folder: Path) -> Path:
        """A copy of the Verilog with this fault, which also writes the time of every hold, code and output."""
        rtl = mutated(folder, self.file, self.before, self.after)
        counted = COUNTED.format(folder=folder, event=self.event, more=self.more)
        for file, changes in ((self.file, {"\n);\n": f"\n{DECLARED}"}), ("cim_macro.v", {})):
            path = rtl / file
            text = path.read_text(encoding="utf-8")
            for before, after in changes.items():
                text = text.replace(before, after, 1).replace("\nendmodule\n", counted)
            if file == "cim_macro.v":
                text = text.replace("\nendmodule\n", MONITOR.format(folder=folder))
            path.write_text(text, encoding="utf-8")
        return rtl


FAULTS = {
    "word_lines": Fault(
        file="wl_dac.v",
        event="drive_i && wl_on_i",
        before="& {LINE_BITS{wl_on_i}};",
        after="& {LINE_BITS{wl_on_i}} ^ (now ? 1 << off_low : 0);",  # the first row of the group
        kind="hold",
    ),
    "trials": Fault(
        file="sar_adc.v",
        event="done_o",
        before="trial = kept_q | seq_q;",
        after="trial = (now && a == 1 && seq_q == 2) ^ (kept_q | seq_q);",
        kind="code",
    ),
    "codes": Fault(
        file="sar_adc.v",
        event="start_i",
        before="= {1'b0, result_q} -",
        after="= (late && a == 1) + {1'b0, result_q} -",  # the code is there from the last trial to the next start
        more="always @(posedge clk_i) if (start_i) late <= now;",
        kind="code",
    ),
    "partial_sums": Fault(
        file="shift_add.v",
        event="accept",
        before="= start + added + (negate_i",
        after="= start + (now && a == 1) + added + (negate_i",
        kind="code",
    ),
    "outputs": Fault(
        file="requantize.v",
        event="out_valid_o",
        before="out_data_o  = out_data_q;",
        after="out_data_o  = out_data_q + now;",
        kind="out",
    ),
    "last_flags": Fault(
        file="requantize.v",
        event="out_valid_o",
        before="out_last_o  = out_last_q;",
        after="out_last_o  = out_last_q ^ now;",
        kind="out",
    ),
    "cycles": Fault(
        file="macro_ctrl.v",
        event="hold",
        before="hold    = settled && !share && convert_free;",
        after="hold    = settled && !share && convert_free && !(now && !late);",
        more="always @(posedge clk_i) late <= now && settled && !share && convert_free;",
        kind="hold",
    ),
}
