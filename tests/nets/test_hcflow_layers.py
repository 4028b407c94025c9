"""Layers of HCFlow: when a normalization initializes, and which inverse of a matrix is used."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from hcd.errors import WeightsError
from hcd.nets.hcflow import HCFlow
from hcd.nets.hcflow_layers import (
    FCN,
    ActNorm,
    AffineCoupling,
    FlowStep,
    InvertibleConv,
    ShiftCoupling,
    ZeroConv,
    shift_and_log_scale,
)
from tests.nets.hcflow_samples import TINY, make_tiny_net


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch():
    """Four channels of different means and spreads."""
    return (
        random(3, 4, 8, 9) * torch.tensor([0.1, 1, 3, 20])[:, None, None] + torch.tensor([5, 0, -1, 2.0])[:, None, None]
    )


def statistics(x):
    return torch.var_mean(x.detach(), dim=(0, 2, 3), correction=0)


class TestActNorm:
    def test_first_training_batch_comes_out_normalized(self):
        norm = ActNorm(4)
        variance, mean = statistics(norm(batch()))
        torch.testing.assert_close(mean, torch.zeros(4), rtol=0, atol=1e-5)
        torch.testing.assert_close(variance, torch.ones(4), rtol=0, atol=1e-4)
        assert norm.bias.requires_grad
        assert norm.logs.requires_grad

    def test_later_batches_are_treated_alike(self):
        norm = ActNorm(4)
        first = norm(batch())
        norm(3 * batch() + 1)
        assert torch.equal(norm(batch()), first)

    def test_a_constant_channel_stays_finite(self):
        norm = ActNorm(1)
        assert torch.equal(norm(torch.full((1, 1, 2, 2), 3.0)), torch.zeros(1, 1, 2, 2))
        assert norm.logs.item() == pytest.approx(-math.log(1e-6))

    def test_evaluation_never_initializes(self):
        norm = ActNorm(4).eval()
        assert torch.equal(norm(batch()), batch())
        assert not norm.initialized

    def test_the_inverse_never_initializes(self):
        norm = ActNorm(4)
        assert torch.equal(norm.inverse(batch()), batch())
        assert not norm.initialized

    def test_loaded_weights_are_kept(self):
        norm = ActNorm(4)
        norm.load_state_dict(ActNorm(4).state_dict())
        assert torch.equal(norm(batch()), batch())

    def test_a_bias_that_was_set_is_kept(self):
        norm = ActNorm(4)
        with torch.no_grad():
            norm.bias[0, 2] = 0.5
        norm(batch())
        assert norm.initialized
        assert norm.bias.flatten().tolist() == [0, 0, 0.5, 0]
        assert not norm.logs.any()

    def test_inverse_undoes_forward(self):
        norm = ActNorm(4)
        torch.testing.assert_close(norm.inverse(norm(batch())), batch(), rtol=0, atol=1e-5)

    def test_initializes_from_batches_of_lower_precision(self):
        norm = ActNorm(4)
        norm(batch().bfloat16())
        variance, mean = statistics((batch() + norm.bias) * norm.logs.exp())
        assert float(mean.abs().max()) < 0.01
        assert float((variance - 1).abs().max()) < 0.02

    def test_of_a_whole_network(self):
        net = HCFlow(TINY)
        norms = {name: module for name, module in net.named_modules() if isinstance(module, ActNorm)}
        seen = {}
        for name, norm in norms.items():
            norm.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output}))
        net(random(2, 3, 8, 12))
        assert seen.keys() == norms.keys()
        assert all(norm.initialized for norm in norms.values())
        for name, output in seen.items():
            variance, mean = statistics(output)
            assert float(mean.abs().max()) < 1e-4, name
            # The sub-networks see a condition of channels that vary little.
            assert float((variance - 1).abs().max()) < 0.01, name

    def test_of_a_whole_network_after_loading(self):
        net = HCFlow(TINY)
        net.load_state_dict(make_tiny_net().state_dict())
        kept = copy.deepcopy(net.state_dict())
        net.train()(random(1, 3, 8, 8))
        assert all(torch.equal(kept[key], value) for key, value in net.state_dict().items())


@pytest.fixture
def conv():
    """Far from orthogonal, so that a transpose is no inverse."""
    conv = InvertibleConv(5).requires_grad_(False)
    conv.weight.add_(0.3 * random(5, 5))
    return conv


@pytest.fixture
def inversions(monkeypatch):
    """Matrices that were inverted."""
    calls = []
    original = torch.linalg.inv_ex

    def spy(matrix, **options):
        calls.append(matrix.dtype)
        return original(matrix, **options)

    monkeypatch.setattr(torch.linalg, "inv_ex", spy)
    return calls


class TestInvertibleConv:
    def test_starts_orthogonal(self):
        weight = InvertibleConv(6).weight.detach()
        torch.testing.assert_close(weight @ weight.T, torch.eye(6), rtol=0, atol=1e-5)
        assert float((weight - torch.eye(6)).abs().max()) > 0.1

    def test_output_channels_are_rows(self, conv):
        x = random(2, 5, 3, 4)
        torch.testing.assert_close(conv(x), torch.einsum("oi,nihw->nohw", conv.weight, x))

    def test_inverse_undoes_forward(self, conv):
        x = random(2, 5, 3, 4)
        torch.testing.assert_close(conv.inverse(conv(x)), x, rtol=0, atol=1e-5)

    def test_matrix_is_inverted_in_double_precision(self, conv):
        matrix = conv.inverse(torch.eye(5)[:, :, None, None]).squeeze().T
        assert torch.equal(matrix, torch.linalg.inv(conv.weight.double()).float())

    def test_frozen_weights_are_inverted_once(self, conv, inversions):
        for _ in range(3):
            conv.inverse(random(1, 5, 2, 2).requires_grad_()).sum().backward()
        assert inversions == [torch.float64]

    @pytest.mark.parametrize(
        "change",
        [
            lambda conv, other: conv.load_state_dict({"weight": other}),
            lambda conv, other: conv.load_state_dict({"weight": other}, assign=True),
            lambda conv, other: conv.weight.copy_(other),
            lambda conv, other: setattr(conv.weight, "data", other.clone()),
            lambda conv, other: torch._foreach_lerp_([conv.weight], [other], 1.0),
        ],
        ids=["load", "load by assignment", "in place", "data", "moving average"],
    )
    def test_a_change_of_frozen_weights_is_seen(self, conv, change):
        x = random(1, 5, 2, 2)
        conv.inverse(x)
        change(conv, conv.weight + random(5, 5, seed=1))
        conv.requires_grad_(False)
        torch.testing.assert_close(conv(conv.inverse(x)), x, rtol=0, atol=1e-4)

    def test_a_change_of_precision_is_seen(self, conv):
        x = random(1, 5, 2, 2)
        conv.inverse(x)
        conv.double()
        torch.testing.assert_close(conv.inverse(conv(x.double())), x.double(), rtol=0, atol=1e-12)

    def test_a_copy_has_its_own_inverse(self, conv):
        x = random(1, 5, 2, 2)
        before = conv.inverse(x)
        other = copy.deepcopy(conv)
        other.weight.mul_(2)
        torch.testing.assert_close(other.inverse(x), before / 2)
        assert torch.equal(conv.inverse(x), before)

    def test_frozen_after_training_forgets_the_old_inverse(self, conv):
        x = random(1, 5, 2, 2)
        conv.inverse(x)
        conv.requires_grad_(True)
        torch.optim.SGD(conv.parameters(), lr=0.1).step(lambda: conv.inverse(x).square().sum().backward())
        conv.requires_grad_(False)
        torch.testing.assert_close(conv.inverse(conv(x)), x, rtol=0, atol=1e-4)

    def test_an_inverse_from_inference_mode_serves_gradients(self, conv):
        x = random(1, 5, 2, 2)
        with torch.inference_mode():
            conv.inverse(x)
        (gradient,) = torch.autograd.grad(conv.inverse(x.requires_grad_()).sum(), x)
        wanted = torch.linalg.inv(conv.weight).sum(dim=0)[None, :, None, None].expand_as(x)
        torch.testing.assert_close(gradient, wanted)

    def test_weights_made_in_inference_mode(self):
        with torch.inference_mode():
            conv = InvertibleConv(5).requires_grad_(False)
        x = random(1, 5, 2, 2)
        torch.testing.assert_close(conv.inverse(conv(x)), x, rtol=0, atol=1e-5)
        with torch.inference_mode():
            conv.weight.mul_(2)
        torch.testing.assert_close(conv.inverse(conv(x)), x, rtol=0, atol=1e-5)

    def test_gradient_of_weights_goes_through_the_inverse(self):
        conv = InvertibleConv(4).double()
        y = random(1, 4, 2, 3).double().requires_grad_()

        def inverse(weight, y):
            return torch.func.functional_call(conv, {"weight": weight}, (y,))

        conv.forward = conv.inverse
        assert torch.autograd.gradcheck(inverse, (conv.weight, y))

    @pytest.mark.parametrize("value", [0.0, math.nan])
    def test_a_matrix_without_inverse_is_refused(self, conv, value):
        conv.weight[1:3] = value
        with pytest.raises(WeightsError, match="5 channels: its matrix has no inverse"):
            conv.inverse(random(1, 5, 2, 2))

    def test_keeps_its_precision_under_autocast(self, conv):
        x = random(1, 5, 4, 4)
        wanted = conv(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(conv(x), wanted)


class TestZeroConv:
    def test_starts_at_zero(self):
        assert torch.equal(ZeroConv(3, 4)(random(1, 3, 5, 5)), torch.zeros(1, 4, 5, 5))

    def test_gain(self):
        conv = ZeroConv(3, 2)
        x = random(1, 3, 5, 5)
        with torch.no_grad():
            conv.bias.copy_(torch.tensor([1.0, -2.0]))
            conv.logs.copy_(torch.tensor([0.1, 0.2])[:, None, None])
        wanted = torch.tensor([math.exp(0.3), -2 * math.exp(0.6)])[None, :, None, None].expand(1, 2, 5, 5)
        torch.testing.assert_close(conv(x), wanted)


def test_even_channels_shift_and_odd_ones_scale():
    h = torch.tensor([1.0, 0.0, 2.0, 1e6, 3.0, -0.5])[None, :, None, None]
    shift, log_scale = shift_and_log_scale(h)
    assert shift.flatten().tolist() == [1, 2, 3]
    wanted = [0.0, 0.318 * math.pi / 2, -0.318 * math.pi / 4]
    torch.testing.assert_close(log_scale.flatten(), torch.tensor(wanted))


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("coupling", [AffineCoupling, ShiftCoupling])
class TestFlowStep:
    @staticmethod
    def step(coupling, conditional):
        kept, channels, features = 2, 7, 3 * conditional
        inputs, outputs = (kept, 2 * (channels - kept)) if coupling is AffineCoupling else (channels - kept, kept)
        step = FlowStep(channels, coupling(kept, FCN(inputs + features, outputs, hidden=8)), permute=conditional)
        with torch.no_grad():
            for index, parameter in enumerate(step.parameters()):
                parameter.add_(0.2 * random(*parameter.shape, seed=index))
        return step.eval(), random(1, features, 4, 5, seed=99) if conditional else None

    def test_inverse_undoes_forward(self, coupling, conditional):
        step, condition = self.step(coupling, conditional)
        x = random(1, 7, 4, 5)
        y = step(x, condition)
        assert float((y - x).detach().abs().max()) > 0.1
        torch.testing.assert_close(step.inverse(y, condition), x, rtol=0, atol=2e-5)

    def test_the_coupling_keeps_a_part(self, coupling, conditional):
        step, condition = self.step(coupling, conditional)
        x = random(1, 7, 4, 5)
        changed = (step.affine(x, condition) != x).flatten(2).any(dim=2).flatten().tolist()
        assert changed == ([False] * 2 + [True] * 5 if coupling is AffineCoupling else [True] * 2 + [False] * 5)


def test_networks_run_in_lower_precision_and_stay_near():
    net = make_tiny_net()
    hr = random(1, 3, 8, 8)
    lr, _ = net(hr)
    with torch.autocast("cpu", torch.bfloat16):
        rough, latents = net(hr)
        restored = net.inverse(rough, latents)
        predicted = net.inverse(lr)
    assert rough.dtype == restored.dtype == predicted.dtype == torch.float32
    assert 0 < float((rough - lr).abs().max()) < 0.05
    assert float((restored - hr).abs().max()) < 0.05
    assert float((predicted - net.inverse(lr)).abs().max()) < 0.1
