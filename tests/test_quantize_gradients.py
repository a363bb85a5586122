# SPDX-License-Identifier: Apache-2.0
"""Thresholds, clips and batch norm: gradients against the published formulas and against differences."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from twinor.quantize.clip import LearnableClip
from twinor.quantize.modules import Codes, QuantConv, QuantLinear
from twinor.quantize.thresholds import Phase, WeightThreshold, best_threshold
from twinor.quantize.windows import conv_window

pytestmark = pytest.mark.fast

LN2 = math.log(2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def threshold_at(log2_t):
    threshold = WeightThreshold(len(log2_t))
    threshold.log2_t.data = torch.tensor(log2_t)
    threshold.phase = Phase.TRAIN
    return threshold


def tqt_gradient(weight, step):
    """d(s * code) / d(log2 T) of TQT: s ln2 {code - w/s inside; -7 below; 7 above}."""
    scaled = weight / step
    rounded = torch.floor(scaled + 0.5)
    inside = scaled.abs() < 7
    return step * LN2 * torch.where(inside, rounded - scaled, 7 * scaled.sign())


def one_to_one(*, log2_alpha, phase=Phase.TRAIN):
    """A hidden layer of one weight, code 7 of step 1/7, whose clip is at 2**log2_alpha."""
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    quant = QuantLinear(layer, None, name="one", sources=("images",), clip=LearnableClip(), relu=True)
    quant.input_max = 255
    quant.clip.log2_alpha.data.fill_(log2_alpha)
    quant.threshold.phase = Phase.FREEZE
    quant.clip.phase = phase
    return quant


def test_threshold_gradient_is_the_published_one():
    weight = torch.randn(3, 200, generator=generator()) * 0.6
    upstream = torch.randn(3, 200, generator=generator(1))
    threshold = threshold_at([-1.0, 0.3, 0.0])
    codes, step = threshold(weight)
    (codes * step[:, None] * upstream).sum().backward()
    expected = (tqt_gradient(weight, step.detach()[:, None]) * upstream).sum(dim=1)
    torch.testing.assert_close(threshold.log2_t.grad, expected)
    assert ((weight / step[:, None]).abs() > 7).any(dim=1).all()  # both sides of the clip took part


def test_threshold_gradient_is_the_difference_with_rounding_errors_held():
    weight = torch.randn(1, 100, generator=generator(2)).double()
    threshold = threshold_at([0.2]).double()
    codes, step = threshold(weight)
    (codes * step).sum().backward()
    scaled = weight / step.detach()
    error = torch.floor(scaled.clamp(-7, 7) + 0.5) - scaled.clamp(-7, 7)

    def total(log2_t):
        step = 2**log2_t / 7
        return (step * ((weight / step).clamp(-7, 7) + error)).sum().item()

    at, h = threshold.log2_t.item(), 1e-6
    difference = (total(at + h) - total(at - h)) / (2 * h)
    assert threshold.log2_t.grad.item() == pytest.approx(difference, rel=1e-5)


def test_weights_beyond_the_threshold_get_no_gradient():
    weight = torch.tensor([[0.1, -0.9, 1.1, -3.0]], requires_grad=True)
    codes, step = threshold_at([0.0])(weight)
    (codes * step).sum().backward()
    assert codes.tolist() == [[1, -6, 7, -7]]
    assert weight.grad.tolist() == [pytest.approx([1, 1, 0, 0])]


def test_clip_gradient_knows_about_rounding():
    images = torch.arange(256.0)[:, None]  # z = 0, 1/8, ... of a clip at 20.03
    layer = one_to_one(log2_alpha=math.log2(20.03))
    upstream = torch.randn(256, 1, generator=generator(3))
    y = layer(Codes(images, torch.tensor(1 / 8)))
    (y.values * y.step * upstream).sum().backward()
    z, step = images / 8, 20.03 / 15
    inside = torch.floor(z / step + 0.5) - z / step
    by_alpha = torch.where(z > 20.03, torch.ones_like(z), inside / 15)
    expected = (by_alpha * upstream).sum() * 20.03 * LN2  # d(alpha) / d(log2 alpha) = alpha ln2
    torch.testing.assert_close(layer.clip.log2_alpha.grad, expected, rtol=1e-4, atol=1e-4)


def test_pact_would_differ_inside_the_clip():
    layer = one_to_one(log2_alpha=0.0)
    y = layer(Codes(torch.tensor([[3.0]]), torch.tensor(0.09)))  # z = 0.27, code 4, below the clip
    (y.values * y.step).sum().backward()
    assert y.values.item() == 4
    assert layer.clip.log2_alpha.grad.item() == pytest.approx((4 - 0.27 * 15) / 15 * LN2, rel=1e-4)


def test_activations_pass_gradient_inside_the_clip_alone():
    images = torch.tensor([[-5.0], [3.0], [200.0]], requires_grad=True)
    layer = one_to_one(log2_alpha=0.0)
    y = layer(Codes(images, torch.tensor(0.1)))
    (y.values * y.step).sum().backward()
    assert y.values.flatten().tolist() == [0, 5, 15]
    assert images.grad.flatten().tolist() == pytest.approx([0, 0.1, 0], rel=1e-5)


def test_batch_norm_of_codes_is_batch_norm_of_their_real_values():
    conv, norm = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)
    norm.weight.data = torch.tensor([0.7, -1.2, 2.0])
    norm.bias.data = torch.tensor([0.1, 0.5, -0.3])
    conv.bias.data = torch.tensor([0.4, -2.0, 9.0])
    layer = QuantConv(conv, norm, conv_window(conv), name="conv", sources=("images",), clip=LearnableClip())
    acc = torch.randint(-300, 300, (4, 3, 5, 5), generator=generator(4)).float().requires_grad_()
    twin = acc.detach().clone().requires_grad_()
    unit = torch.tensor([0.01, 0.02, 0.005], dtype=torch.float64)
    scale, offset = layer._real(unit, acc)
    z = acc * scale.float().view(1, 3, 1, 1) + offset.float().view(1, 3, 1, 1)
    expected = norm(twin * unit.float().view(1, 3, 1, 1) + conv.bias.view(1, 3, 1, 1))
    torch.testing.assert_close(z, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.norm.running_mean, norm.running_mean)
    torch.testing.assert_close(layer.norm.running_var, norm.running_var)
    upstream = torch.randn(z.shape, generator=generator(5))
    (z * upstream).sum().backward()
    (expected * upstream).sum().backward()
    torch.testing.assert_close(acc.grad, twin.grad, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(layer.norm.weight.grad, norm.weight.grad, rtol=1e-4, atol=1e-4)


def test_searched_threshold_beats_its_neighbours():
    weight = torch.randn(5, 300, generator=generator(6))
    best = best_threshold(weight, levels=7, signed=True)

    def error(threshold):
        step = threshold[:, None] / 7
        return (step * torch.floor(weight / step + 0.5).clamp(-7, 7) - weight).square().sum(dim=1)

    for share in torch.linspace(0.3, 1, 36):
        assert (error(best) <= error(share * weight.abs().amax(dim=1)) * 1.0001).all()
    assert (best < weight.abs().amax(dim=1)).all()  # clipping the tail pays for normal weights


def test_all_zero_and_all_negative_values_have_a_usable_threshold():
    threshold = WeightThreshold(2)
    codes, step = threshold(torch.tensor([[0.0, 0.0], [0.5, -1.0]]))
    assert codes.tolist() == [[0, 0], [4, -7]]
    assert (step > 0).all()
    clip = LearnableClip()
    clip.observe(-torch.rand(100))
    assert clip.step() > 0


def test_sampling_is_a_running_mean_over_many_steps():
    threshold = WeightThreshold(1, window=4)
    samples = []
    for scale in (1.0, 2.0, 4.0, 8.0):
        threshold(scale * torch.tensor([[7.0, 1.0]]))
        samples.append(math.log2(scale * 7))
    assert threshold.log2_t.item() == pytest.approx(sum(samples) / 4, rel=1e-6)
    threshold(16 * torch.tensor([[7.0, 1.0]]))
    assert threshold.log2_t.item() == pytest.approx(sum(samples) / 4 * 0.75 + math.log2(112) / 4, rel=1e-6)


@pytest.mark.parametrize("phase", [Phase.SAMPLE, Phase.FREEZE])
def test_thresholds_and_clips_get_no_gradient_outside_their_phase(phase):
    threshold, layer = threshold_at([0.0]), one_to_one(log2_alpha=0.0, phase=phase)
    threshold.phase = phase
    weight = torch.rand(1, 9, requires_grad=True)
    codes, step = threshold(weight)
    (codes * step).sum().backward()
    y = layer(Codes(torch.rand(9, 1, requires_grad=True), torch.tensor(0.1)))
    (y.values * y.step).sum().backward()
    assert threshold.log2_t.grad is None
    assert layer.clip.log2_alpha.grad is None


def test_evaluation_samples_nothing():
    threshold = WeightThreshold(1).eval()
    threshold(torch.tensor([[5.0]]))
    assert int(threshold.samples) == 0


def test_one_threshold_serves_all_logits():
    layer = QuantLinear(nn.Linear(8, 3), None, name="logits", sources=("images",), clip=None)
    y = layer(Codes(torch.randint(0, 16, (5, 8), generator=generator(7)).float(), torch.tensor(0.5)))
    assert layer.threshold.log2_t.shape == (1,)
    assert y.step.shape == ()
    assert torch.equal(y.values, y.values.round())
    functional.cross_entropy(y.values * y.step, torch.tensor([0, 1, 2, 0, 1])).backward()
    assert layer.bias.grad.abs().sum() > 0
