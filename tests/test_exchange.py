# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime computes our integers; a network of Brevitas becomes the integers that its QONNX graph computes."""

import logging
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from ordinary_networks import NETWORKS
from test_ordinary_networks import STEP, settled
from torch import nn
from twinor import integer
from twinor.die import ideal_die
from twinor.errors import CorruptFile, TwinorError, UnsupportedLayer
from twinor.exchange import read_qonnx, write_onnx
from twinor.host import walk
from twinor.network import Flatten, IntegerNetwork, Linear, Requant
from twinor.place import place
from twinor.quantize import deterministic, quantize, to_integer
from twinor.run import chain_runner, forward

from tb.common.configs import EXACT

BORDER = 1e-4
"""Codes from the border of two codes within which float32 sums may fall on either side."""


@pytest.fixture(autouse=True)
def _own_generator():
    with deterministic():
        yield


# Out //


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_computes_our_integers(name, tmp_path):
    model, images = settled(name)
    quant = quantize(model, input_shape=tuple(images.shape[1:]), input_step=STEP, calibration=images)
    network = to_integer(quant, provenance={"made by": "a test"})
    write_onnx(tmp_path / "net.onnx", network)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (logits,) = session.run(None, {"images": images.numpy()})
    assert logits.dtype == np.int64
    assert np.array_equal(logits, integer.logits(network, images.numpy()))
    assert session.get_modelmeta().custom_metadata_map == network.provenance
    assert network.provenance["made by"] == "a test"
    standard = {node.domain for node in onnx.load(tmp_path / "net.onnx").graph.node}
    assert standard == {""}


def one_layer(inputs):
    rule = Requant(mult=np.array([2], dtype=np.int16), add=np.array([1], dtype=np.int32), shift=1, lo=-9, hi=9)
    layer = Linear(name="fc", weight=np.full((1, inputs), 7, dtype=np.int8), requant=rule)
    return IntegerNetwork(input_shape=(inputs, 1, 1), input_bits=4, layers=(Flatten(name="flat"), layer))


def test_accumulators_that_float32_does_not_hold_are_refused(tmp_path):
    with pytest.raises(TwinorError, match="layer fc: accumulators reach 16800000, inexact in float32"):
        write_onnx(tmp_path / "net.onnx", one_layer(160_000))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TwinorError, match=r"file/net\.onnx cannot be written"):
        write_onnx(tmp_path / "file" / "net.onnx", one_layer(4))


# In //


def brevitas_network(*, residual):
    """Convolutions with and without batch norm, a pool, a linear layer; or a shortcut around one of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import brevitas.nn as qnn
        from brevitas.quant import Int8WeightPerChannelFloat, Uint8ActPerTensorFloat

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            images = {"act_quant": Uint8ActPerTensorFloat, "bit_width": 4, "return_quant_tensor": True}
            per_channel = {"weight_quant": Int8WeightPerChannelFloat, "weight_bit_width": 4}
            self.images = qnn.QuantIdentity(**images)
            self.conv1, self.bn1 = qnn.QuantConv2d(3, 8, 3, padding=1, bias=False, **per_channel), nn.BatchNorm2d(8)
            self.act1 = qnn.QuantReLU(bit_width=4, return_quant_tensor=True)
            self.pool = nn.MaxPool2d(2)
            self.conv2 = qnn.QuantConv2d(8, 8, 3, padding=1, bias=True, weight_bit_width=4)
            self.bn2 = nn.BatchNorm2d(8)
            self.act2 = qnn.QuantReLU(bit_width=4, return_quant_tensor=True)
            self.joined = qnn.QuantIdentity(bit_width=4, return_quant_tensor=True)  # one scale for both
            self.fc = qnn.QuantLinear(8 * 64, 10, bias=True, weight_bit_width=4)

        def forward(self, x):
            x = self.pool(self.act1(self.bn1(self.conv1(self.images(x)))))
            y = self.bn2(self.conv2(x))
            if residual == "shared":
                y, x = self.joined(y), self.joined(x)
            x = self.act2(y + x if residual else y)
            return self.fc(x.flatten(1))

    return Net()


def exported(path, *, residual):
    """The QONNX file of a Brevitas network that has seen images."""
    from brevitas.export import export_qonnx

    logging.disable(logging.WARNING)
    net, images = brevitas_network(residual=residual), torch.rand(32, 3, 16, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(10):
            net(images)
        net.eval()
        net(images)
        export_qonnx(net, args=images[:1], export_path=str(path))
    logging.disable(logging.NOTSET)
    return onnx.load(path)


def executed(path, images):
    """Every tensor of the graph by the executor of qonnx, an image at a time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx

        graph = ModelWrapper(str(path))
        runs = [execute_onnx(graph, {"x": image[None]}, return_full_exec_context=True) for image in images]
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0] if np.ndim(runs[0][name])}


@pytest.mark.parametrize("residual", ["", "shared"], ids=["plain", "residual"])
def test_a_brevitas_network_gives_the_integers_of_its_qonnx_graph(residual, tmp_path):
    """Codes of every activation, on golden too; the graph's own float sums decide nothing further from a border."""
    path = tmp_path / "net.onnx"
    graph = exported(path, residual=residual).graph
    scales = {i.name: float(numpy_helper.to_array(i).ravel()[0]) for i in graph.initializer if not i.dims}
    activations = [node for node in graph.node if node.op_type == "Quant" and not node.input[0].startswith("slice")]
    network = read_qonnx(path)
    codes = np.random.default_rng(3).integers(0, 16, (20, 3, 16, 16)).astype(np.uint8)
    seen = executed(path, (codes * scales[activations[0].input[1]]).astype(np.float32))
    ours = {}

    def compute(layer, x, shortcut):
        y = layer.requant(integer.accumulators(layer, x, shortcut, largest=15))
        ours[layer.name] = y
        return y

    logits = walk(network, codes, compute)
    for node, layer in zip(activations[1:], [name for name in ours if name != "linear1"], strict=True):
        scale = scales[node.input[1]]
        theirs, real = np.rint(seen[node.output[0]] / scale), seen[node.input[0]] / scale
        border = np.abs(real - np.floor(real) - 0.5) < BORDER
        assert np.array_equal(theirs[~border], ours[layer][~border])
        assert border.mean() < 0.01 and len(np.unique(theirs)) > 2
    final = seen[graph.output[0].name]
    assert np.corrcoef(final.ravel(), logits.ravel())[0, 1] > 0.999
    placement = place(EXACT, network)
    golden = chain_runner(EXACT, ideal_die(EXACT, placement.levels), backend="golden")
    assert np.array_equal(forward(network, placement, codes[:4], golden), logits[:4])
    write_onnx(tmp_path / "again.onnx", network)
    session = onnxruntime.InferenceSession(tmp_path / "again.onnx")
    assert np.array_equal(session.run(None, {"images": codes})[0], logits)


def test_a_shortcut_of_another_scale_is_refused(tmp_path):
    exported(tmp_path / "net.onnx", residual="bare")
    with pytest.raises(UnsupportedLayer, match=r"\(Relu\): the scales of what it adds have no whole ratio; let both"):
        read_qonnx(tmp_path / "net.onnx")


def quant(output, source, scale, bits=4.0, zero="zero", **attributes):
    return helper.make_node("Quant", [source, scale, zero, f"bits{bits:g}"], [output], domain="qonnx", **attributes)


def graph_of(path, *nodes, shape=(1, 2, 4, 4)):
    """A graph of nodes over images x, with constants of every kind that they may name."""
    arrays = {
        "scale": np.float32(0.25),
        "zero": np.float32(0),
        "one": np.float32(1),
        "bits4": np.float32(4),
        "bits8": np.float32(8),
        "w": np.full((3, 2, 3, 3), 0.5, np.float32),
        "eights": np.full((3, 2, 3, 3), -2, np.float32),
        "many": np.ones(2, np.float32),
        "rows": np.array([1, 3, 4], np.int64),
    }
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, initializers)), path)
    return path


def conv(*inputs, **attributes):
    return helper.make_node("Conv", [*inputs], ["y"], **attributes)


def then(kind, source, *more, **attributes):
    return helper.make_node(kind, [source, *more], ["z" if source != "z" else "p"], **attributes)


IMAGES = quant("xq", "x", "scale", signed=0)
WEIGHTS = quant("wq", "w", "scale", signed=1, narrow=1)
CONV = conv("xq", "wq", pads=[1, 1, 1, 1])
BODY = (IMAGES, WEIGHTS, CONV)
POOL = then("MaxPool", "z", kernel_shape=[2, 2])
REFUSED = [
    ((*BODY, then("Sigmoid", "y")), r"'z' \(Sigmoid\): this operator is not supported; supported: Quant, Conv"),
    ((WEIGHTS, conv("x", "wq")), r"'y' \(Conv\): the images pass no Quant node"),
    ((IMAGES, conv("xq", "w")), "its weights w pass no Quant node"),
    ((*BODY, quant("z", "y", "scale", 8.0), POOL), "activations of 8 bits; supported: 4 bits"),
    ((*BODY, quant("z", "y", "scale", narrow=1), POOL), "activations of 4 bits; supported: 4 bits, not narrow"),
    ((IMAGES, quant("wq", "eights", "scale"), CONV), "weights reach -8; supported: narrow"),
    ((IMAGES, quant("wq", "w", "scale", 8.0, narrow=1), CONV), "signed weights of 8 bits; supported: signed, up to 4"),
    ((IMAGES, quant("wq", "w", "scale", signed=0), CONV), "unsigned weights of 4 bits; supported: signed, up to"),
    ((quant("xq", "x", "scale"), WEIGHTS, CONV), "images must pass one Quant node, without a sign"),
    ((quant("xq", "x", "scale", zero="one", signed=0), WEIGHTS, CONV), "zero point 1.0, rounding ROUND; supported: 0"),
    ((quant("xq", "x", "scale", signed=0, rounding_mode="FLOOR"), WEIGHTS, CONV), "rounding FLOOR"),
    ((quant("xq", "x", "many", signed=0), WEIGHTS, CONV), "2 scales; activations have one"),
    ((IMAGES, WEIGHTS, conv("xq", "wq", pads=[0, 0, 1, 1])), r"pads \[0, 0, 1, 1\]; supported"),
    ((IMAGES, WEIGHTS, conv("xq", "wq", auto_pad="SAME_UPPER")), "auto_pad is SAME_UPPER; supported: pads"),
    ((*BODY, then("Reshape", "y", "rows")), "supported: an image to one row of 48"),
    ((*BODY, then("Add", "y", "one")), "supported: the sum of two activations"),
    ((*BODY, then("Relu", "y"), POOL), "its result passes no Quant node"),
    ((*BODY, then("MaxPool", "y", kernel_shape=[2, 2], ceil_mode=1)), "ceil_mode is 1; supported: 0"),
]


@pytest.mark.parametrize(("nodes", "words"), REFUSED, ids=[words[:24] for _, words in REFUSED])
def test_nodes_that_cannot_be_mapped_are_named(nodes, words, tmp_path):
    with pytest.raises(UnsupportedLayer, match=words) as caught:
        read_qonnx(graph_of(tmp_path / "net.onnx", *nodes))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_model_is_told(tmp_path):
    for content in (b"", b"no model at all"):
        (tmp_path / "net.onnx").write_bytes(content)
        with pytest.raises((CorruptFile, UnsupportedLayer), match=r"net\.onnx is no ONNX model|takes 0 tensors"):
            read_qonnx(tmp_path / "net.onnx")
    with pytest.raises(CorruptFile, match=r"none\.onnx is no ONNX model"):
        read_qonnx(tmp_path / "none.onnx")
