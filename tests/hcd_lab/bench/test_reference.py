"""The reference computes the same as the model, and as the preset ``paper``."""

from __future__ import annotations

import pytest
import torch

import hcd
from hcd.errors import UsageError
from hcd.nets import IRN
from hcd.ops import quantize
from hcd.rescaler import BicubicRescaler, InvertibleRescaler, LatentPolicy
from hcd_lab.bench.reference import Reference
from tests.conftest import make_tiny_irn


@pytest.fixture(params=["zeros", "gaussian:3"])
def model(request):
    torch.manual_seed(0)
    net = IRN((2, 1))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.03)
    made = InvertibleRescaler(net, latent=LatentPolicy.parse(request.param), name="tiny")
    return made.freeze()


@pytest.fixture
def hr():
    return torch.rand(1, 3, 24, 32)


def test_both_passes_are_those_of_the_model(model, hr):
    reference = Reference(model)
    torch.testing.assert_close(reference.downscale(hr), model.downscale(hr), rtol=1e-4, atol=1e-5)
    lr = quantize(model.downscale(hr))
    torch.testing.assert_close(reference.upscale(lr), model.upscale(lr), rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_the_model(model, hr):
    reference, lr = Reference(model), torch.rand(1, 3, 6, 8)
    for gradient, start, to_lr in (
        (reference.lr_gradient, lr, lambda sample: sample),
        (reference.hr_gradient, hr, lambda sample: quantize(model.downscale(sample))),
    ):
        sample = start.clone().requires_grad_()
        error = (model.upscale(to_lr(sample)) - hr).square().sum() / hr[0, 0].numel()
        (expected,) = torch.autograd.grad(error, sample)
        torch.testing.assert_close(gradient(start, hr), expected, rtol=1e-3, atol=1e-4)


def test_it_computes_gradients_of_weights_in_nchw_and_leaves_the_model_alone(model, hr):
    reference = Reference(model)
    reference.lr_gradient(torch.rand(1, 3, 6, 8), hr)
    for name, weight in reference.named_parameters():
        assert weight.is_contiguous()
        assert weight.grad is not None, name
    assert not any(weight.requires_grad for weight in model.parameters())


def test_the_published_scheme_is_that_of_the_preset(hr):
    """But for values that rounding of floats moves across the middle between two gray levels."""
    model = make_tiny_irn(4)
    expected = hcd.collaborate(hr, model, "paper").lr
    lr = Reference(model).collaborate(hr)
    assert lr.shape == expected.shape
    levels = ((lr - expected) * 255).round().abs()
    assert levels.max() <= 1
    assert levels.mean() < 0.02
    # It did something.
    assert ((lr - quantize(model.downscale(hr))) * 255).round().abs().mean() > 1


def test_the_published_scheme_spends_its_gradients(model, hr, monkeypatch):
    reference, spent = Reference(model), []
    evaluate = reference._evaluate

    def counted(start, *rest):
        spent.append(tuple(start.shape[-2:]))
        return evaluate(start, *rest)

    monkeypatch.setattr(reference, "_evaluate", counted)
    reference.collaborate(hr)
    assert spent == [(24, 32)] * 15 + [(6, 8)] * 15


def test_other_models_are_refused():
    with pytest.raises(UsageError, match="'bicubic-x2': the reference exists for IRN only"):
        Reference(BicubicRescaler(2))
