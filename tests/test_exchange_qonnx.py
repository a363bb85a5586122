# SPDX-License-Identifier: Apache-2.0
"""QONNX graphs written by hand: the integers are those of its executor, or a sentence says why there are none."""

import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from twinor import integer
from twinor.errors import UnsupportedLayer
from twinor.exchange import read_qonnx
from twinor.host import walk
from twinor.network_file import load_network, save_network
from twinor.quantize import deterministic

GENERAL = "qonnx.custom_op.general"
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _own_generator():
    with deterministic():
        yield


def quant(output, source, scale, bits="b4", **attributes):
    facts = {"narrow": 0, "rounding_mode": "ROUND"} | attributes
    return helper.make_node("Quant", [source, scale, "zero", bits], [output], domain=GENERAL, **facts)


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def weights(outputs, inputs, kernel=1):
    return RNG.integers(-7, 8, (outputs, inputs, kernel, kernel)).astype(np.float32)


CONSTANTS = {  # scales of 8 and 32 would put many values on the border of two codes, which rounding decides
    "zero": np.float32(0), "one": np.float32(1), "b4": np.float32(4), "b16": np.float32(16), "b3.5": np.float32(3.5),
    "b0": np.float32(0), "s8": np.float32(8.3), "s32": np.float32(31.7), "s4": np.float32(4.1),
    "minus": np.float32(-1), "nan": np.float32(np.nan), "far": np.full(4, -1230, np.float32),
    "sevens": np.full((4, 4, 1, 1), 7, np.float32), "inf": np.float32(np.inf),
    "low": np.full(4, -12, np.float32), "up": np.float32([[3, 2], [2, 3], [3, 3], [1, 3]]).reshape(4, 2, 1, 1),
    "w1": weights(4, 2), "w2": weights(4, 2), "w3": weights(3, 8), "w4": weights(3, 4),
    "bias": np.full(4, -300, np.float32), "scales": np.ones(4, np.float32),
    "nans": np.full((4, 2, 1, 1), np.nan, np.float32), "w5": weights(5, 6), "w6": weights(3, 4, 4)[..., 0, 0],
}  # fmt: skip


def written(path, *nodes, shape=(1, 2, 4, 4), outputs=("o",)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in CONSTANTS.items()],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(GENERAL, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), path)
    return path


def executed(path, images):
    """Every tensor by the executor of qonnx, an image at a time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx
        from qonnx.transformation.infer_shapes import InferShapes

        graph = ModelWrapper(str(path)).transform(InferShapes())
        runs = [execute_onnx(graph, {"x": image[None]}, return_full_exec_context=True) for image in images]
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0] if np.ndim(runs[0][name])}


def check(path, steps, *nodes):
    """Codes of layers are those of the graph's tensors, by name and scale; logits times their step are its output."""
    network = read_qonnx(written(path, *nodes))
    save_network(path.with_suffix(".npz"), network)
    network = load_network(path.with_suffix(".npz"))
    images = RNG.integers(0, 16, (6, 2, 4, 4)).astype(np.uint8)
    theirs, ours = executed(path, images.astype(np.float32)), {}

    def compute(layer, x, shortcut):
        ours[layer.name] = layer.requant(integer.accumulators(layer, x, shortcut, largest=15))
        return ours[layer.name]

    logits = walk(network, images, compute)
    for layer, (tensor, step) in zip(ours, steps.items(), strict=False):
        assert np.array_equal(np.rint(theirs[tensor] / step), ours[layer]), f"{layer} is not {tensor}"
        assert len(np.unique(ours[layer])) > 2
    assert np.allclose(float(network.provenance["logit_step"]) * logits, theirs["o"], rtol=1e-5, atol=0.01)
    return network


IMAGES = quant("xq", "x", "one", signed=0)
W1, W2, W3, W4 = (quant(f"w{n}q", f"w{n}", "one", narrow=1, signed=1) for n in (1, 2, 3, 4))
CONV1 = node("Conv", "xq w1q", "y1")
BRANCHES = (IMAGES, W1, W2, W3, CONV1, node("Conv", "xq w2q", "y2"))
BOTH = node("Concat", "a1 a2", "c", axis=1)
END = node("Conv", "c w3q", "o")
LAST = node("Conv", "a1 w4q", "o")
CHAIN = (IMAGES, W1, W4, CONV1)
RELU, CODES = node("Relu", "y1", "r1"), quant("a1", "r1", "s8", signed=0)


def test_joined_branches_of_one_scale_keep_their_integers(tmp_path):
    branches = (*BRANCHES, RELU, CODES, node("Relu", "y2", "r2"))
    check(tmp_path / "net.onnx", {"a1": 8.3, "a2": 8.3}, *branches, quant("a2", "r2", "s8", signed=0), BOTH, END)
    again = (quant("b2", "r2", "s32", signed=0), quant("a2", "b2", "s8", signed=0))
    check(tmp_path / "net.onnx", {"a1": 8.3, "b2": 31.7, "a2": 8.3}, *branches, *again, BOTH, END)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (
            quant("a2", "y2", "s32", signed=0),
            r"without sign, those .* joined with scale 31\.7\d* without sign; let",
        ),
        (
            quant("a2", "y2", "s8", signed=1),
            r"without sign, those .* joined with scale 8\.3\d* with sign; let",
        ),
    ],
)
def test_joined_branches_of_two_scales_are_refused(second, words, tmp_path):
    with pytest.raises(
        UnsupportedLayer, match=rf"^node 'r1' \(Relu\): its codes have scale 8.* {words} both pass a Quant node of"
    ):
        read_qonnx(written(tmp_path / "net.onnx", *BRANCHES, RELU, CODES, second, BOTH, END))


def test_images_that_are_joined_are_refused(tmp_path):
    nodes = (*CHAIN, RELU, CODES, quant("w5q", "w5", "one", narrow=1, signed=1), node("Conv", "c w5q", "o"))
    with pytest.raises(UnsupportedLayer, match=r"^node 'c' \(Concat\): it joins the images themselves; let them pass"):
        read_qonnx(written(tmp_path / "net.onnx", *nodes[:-1], node("Concat", "xq a1", "c", axis=1), nodes[-1]))
    pooled = (node("MaxPool", "xq", "p", kernel_shape=[1, 1]), node("Concat", "p a1", "c", axis=1))
    with pytest.raises(UnsupportedLayer, match="it joins the images themselves"):
        read_qonnx(written(tmp_path / "net.onnx", *nodes[:-1], *pooled, nodes[-1]))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("signed", [0, 1])
def test_a_sign_is_what_the_quant_node_says_with_a_relu_or_without(relu, signed, tmp_path):
    """Codes of 15 reach further than the 8 of a signed layer, so bounds of what follows must know the sign."""
    head = (IMAGES, W4, quant("upq", "up", "one", narrow=1, signed=1), node("Conv", "xq upq low", "y1"), *[RELU] * relu)
    head += (quant("a1", "r1" if relu else "y1", "s4", signed=signed),)
    second = (
        quant("w7q", "sevens", "one", narrow=1, signed=1),
        node("Conv", f"a1 w7q {'bias' if signed else 'far'}", "y2"),
        node("Relu", "y2", "r2"),
    )
    nodes = (*head, *second, quant("a2", "r2", "s32", signed=0), node("Conv", "a2 w4q", "o"))
    network = check(tmp_path / "net.onnx", {"a1": 4.1, "a2": 31.7}, *nodes)
    assert network.layers[0].requant.hi == (7 if signed else 15)


@pytest.mark.parametrize(("signed", "codes"), [(0, (0, 15)), (1, (-8, 7))])
def test_an_average_of_signed_codes_has_the_sign_that_its_quant_node_says(signed, codes, tmp_path):
    pool = (node("AveragePool", "a1", "p", kernel_shape=[2, 2]), quant("a2", "p", "s4", signed=signed))
    nodes = (*CHAIN, quant("a1", "y1", "s8", signed=1), *pool, node("Conv", "a2 w4q", "o"))
    network = check(tmp_path / "net.onnx", {"a1": 8.3}, *nodes)
    assert (network.layers[1].requant.lo, network.layers[1].requant.hi) == codes


def test_only_what_the_declared_output_depends_on_is_taken(tmp_path):
    side = (node("Sigmoid", "y2", "z"), node("Relu", "y1", "r1"), CODES)
    network = check(tmp_path / "net.onnx", {}, *BRANCHES, *side, node("Identity", "y1", "o"))
    assert [layer.name for layer in network.layers] == ["conv1"]


def test_constants_may_be_given_as_numbers(tmp_path):
    scale = helper.make_node("Constant", [], ["k"], value_float=8.0)
    rows = helper.make_node("Constant", [], ["rows"], value_ints=[1, -1])
    tail = (quant("a1", "r1", "k", signed=0), LAST, node("Reshape", "o rows", "flat"))
    network = read_qonnx(written(tmp_path / "net.onnx", scale, rows, *CHAIN, RELU, *tail, outputs=("flat",)))
    assert network.layers[-1].name == "flatten1"


def pooled(kind, **attributes):
    return (*CHAIN, RELU, CODES, node(kind, "a1", "o", kernel_shape=[2, 2], **attributes))


REFUSED = [
    (pooled("MaxPool", auto_pad="SAME_UPPER"), "auto_pad is SAME_UPPER; supported: pads"),
    (pooled("AveragePool", auto_pad="VALID"), "auto_pad is VALID; supported: pads"),
    (pooled("AveragePool", dilations=[2, 2]), r"\(AveragePool\): dilations \[2, 2\]; supported: 1"),
    ((*CHAIN, quant("o", "y1", "s8")), r"'y1' \(Conv\): its result is the last one and passes a Quant node; logits"),
    ((*CHAIN, quant("q", "y1", "s8"), node("Flatten", "q", "o")), "its result is the last one and passes a Quant node"),
    ((quant("xq", "x", "one", "b16", signed=0), W1, node("Conv", "xq w1q", "o")), "images of 16 bits; expected 1 .. 8"),
    ((quant("xq", "x", "one", signed=0, narrow=1), W1, node("Conv", "xq w1q", "o")), "images of 4 bits, narrow; exp"),
    ((*CHAIN, RELU, quant("a1", "r1", "zero", signed=0), LAST), r"'a1' \(Quant\): scale 0.0; expected above 0 and fin"),
    ((*CHAIN, RELU, quant("a1", "r1", "minus", signed=0), LAST), "scale -1.0; expected above 0 and finite"),
    ((*CHAIN, RELU, quant("a1", "r1", "nan", signed=0), LAST), "scale nan; expected above 0 and finite"),
    ((IMAGES, quant("w1q", "w1", "inf", narrow=1), node("Conv", "xq w1q", "o")), "scale inf; expected above 0"),
    ((*CHAIN, RELU, quant("a1", "r1", "s8", "b3.5", signed=0), LAST), r"bit width \[3.5\]; supported: one whole"),
    ((IMAGES, quant("w1q", "w1", "one", "b0", narrow=1), node("Conv", "xq w1q", "o")), "signed weights of 0 bits"),
    ((IMAGES, quant("w1q", "w1", "scales", narrow=1), node("Conv", "xq w1q", "o")), r"scales of shape \(4,\); supp"),
    ((IMAGES, quant("w1q", "nans", "one", narrow=1), node("Conv", "xq w1q", "o")), "weights are NaN or infinite"),
    (
        (*CHAIN, RELU, CODES, node("GlobalAveragePool", "a1", "g"), quant("gq", "g", "s8"), node("Add", "a1 gq", "o")),
        r"'o' \(Add\): it adds shapes \(4, 4, 4\) and \(4, 1, 1\); supported: the sum of two activations of one shape",
    ),
    (
        (*CHAIN, RELU, CODES, node("GlobalAveragePool", "a1", "g"), node("Concat", "a1 g", "o", axis=1)),
        r"it joins shapes \[\(4, 4, 4\), \(4, 1, 1\)\]; expected them to differ in channels alone",
    ),
    ((*CHAIN, RELU, CODES, node("Conv", "a1 w1q", "o")), r"its operand has shape \(4, 4, 4\); expected 2 channels"),
    (
        (*CHAIN, RELU, CODES, quant("w6q", "w6", "one", narrow=1), node("Gemm", "a1 w6q", "o", transB=1)),
        r"'o' \(Gemm\): its operand has shape \(4, 4, 4\); expected 4 channels and 0 dimensions more",
    ),
    (
        (*CHAIN, node("BatchNormalization", "y1 one one one one", "o", training_mode=1)),
        "training_mode is 1; supported: 0",
    ),
    (
        (*BRANCHES, W4, RELU, quant("a1", "y1", "s8"), quant("a2", "r1", "s8", signed=0), BOTH, END),
        r"'a1' \(Quant\): what it takes goes to node 'r1' \(Relu\) too, without this Quant node; let both",
    ),
    ((*CHAIN, RELU, quant("a1", "r1", "s8"), quant("a2", "r1", "s32"), BOTH, W3, END), "goes to node 'a2' .* too"),
    ((IMAGES, W1, W4, node("Conv", "x w1q", "y1"), node("Add", "xq y1", "o")), "goes to node 'y1' .* too"),
    ((IMAGES, node("Flatten", "xq", "o")), "the graph's output o comes from no convolution and no linear layer"),
    ((*CHAIN, RELU), "the graph's output o comes from no convolution and no linear layer"),
    ((helper.make_node("Constant", [], ["k"], value_string="8"), *CHAIN, quant("o", "y1", "k")), "it has value_str"),
    ((helper.make_node("Constant", [], ["k"]), *CHAIN, quant("o", "y1", "k")), "it has no value; supported: value"),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "words"), REFUSED, ids=[words[:32] for _, words in REFUSED])
def test_nodes_that_would_compute_something_else_are_refused(nodes, words, tmp_path):
    with pytest.raises(UnsupportedLayer, match=words) as caught:
        read_qonnx(written(tmp_path / "net.onnx", *nodes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [("N", 2, "H", "W"), ("N", 2, 0, 4), ("N",), ()])
def test_images_without_a_fixed_size_are_refused(shape, tmp_path):
    said = ", ".join(str(size or "?") for size in shape)
    with pytest.raises(
        UnsupportedLayer, match=rf"the images x have shape \({said.replace('?', '.')}\); expected fixed"
    ):
        read_qonnx(written(tmp_path / "net.onnx", *CHAIN, shape=shape, outputs=("y1",)))


def test_several_outputs_are_refused(tmp_path):
    with pytest.raises(UnsupportedLayer, match="the graph gives 2 tensors; expected one, the logits"):
        read_qonnx(written(tmp_path / "net.onnx", *BRANCHES, outputs=("y1", "y2")))
