# SPDX-License-Identifier: Apache-2.0
"""Networks to and from other tools.

write_onnx   an IntegerNetwork -> ONNX of standard operators, whose integers ONNX Runtime reproduces
read_qonnx   QONNX, as Brevitas exports it -> IntegerNetwork
"""

from twinor.exchange.read_qonnx import read_qonnx
from twinor.exchange.write_onnx import write_onnx

__all__ = ["read_qonnx", "write_onnx"]
