"""The preset ``paper`` against a plain transcription of the published scheme."""

from __future__ import annotations

import pytest
import torch

import hcd
from hcd.ops import ball_norm
from tests.conftest import make_smooth_picture, make_tiny_irn

STEPS, ALPHA, EPSILON = 15, 20 / 255, 0.3


def rounded(image):
    """Straight-through rounding with the file's exact values."""
    values = (image.clamp(0, 1) * 255).round() / 255

    class Passed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return values.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    return Passed.apply(image)


def published_stage(center, restore, target, generator):
    """One stage: a random start in the ball, then normalized steps, each projected onto ball and pixel range."""

    def project(sample):
        perturbation = sample - center
        perturbation = perturbation * min(1.0, EPSILON / torch.linalg.vector_norm(perturbation))
        return (center + perturbation).clamp(0, 1)

    direction = torch.randn(center.shape, generator=generator)
    radius = torch.rand((), generator=generator).item() * EPSILON
    sample = project(center + direction * (radius / direction.square().sum().item() ** 0.5))
    for _ in range(STEPS):
        sample = sample.detach().requires_grad_()
        loss = ((restore(sample) - target) ** 2).mean()
        loss.backward()
        gradient = sample.grad
        sample = project((sample - ALPHA / torch.linalg.vector_norm(gradient) * gradient).detach())
    return sample


def published(hr, model):
    """Collaborative HR sample, its rounded LR, collaborative LR sample before its last rounding."""
    height, width = hr.shape[-2:]
    generator = torch.Generator().manual_seed(0)
    collaborative_hr = published_stage(
        hr, lambda x: model.upscale(rounded(model.downscale(x)))[..., :height, :width], hr, generator
    )
    lr_start = rounded(model.downscale(collaborative_hr))
    collaborative_lr = published_stage(lr_start, lambda y: model.upscale(y)[..., :height, :width], hr, generator)
    return collaborative_hr, lr_start, collaborative_lr


@pytest.fixture(params=["x2", "x4", "x4 odd size"])
def solved(request, photo):
    """A picture, what the transcription makes of it, and what the package makes of it."""
    scale = int(request.param[1])
    hr = photo[..., :21, :30] if "odd" in request.param else photo[..., :32, :40]
    model = make_tiny_irn(scale)
    return hr, published(hr, model), hcd.collaborate(hr, model, preset="paper")


def test_equals_the_transcription(solved):
    _, (collaborative_hr, lr_start, collaborative_lr), result = solved
    torch.testing.assert_close(result.collaborative_hr, collaborative_hr, rtol=0, atol=1e-6)
    assert torch.equal(result.lr_start, lr_start)
    torch.testing.assert_close(result.collaborative_lr, collaborative_lr, rtol=0, atol=1e-6)
    assert torch.equal(result.lr, rounded(collaborative_lr))


def test_perturbations_are_inside_their_balls(solved):
    hr, _, result = solved
    for perturbation in (result.collaborative_hr - hr, result.collaborative_lr - result.lr_start):
        length = ball_norm(perturbation, "l2")
        # Strictly more than the random start could give by itself after projection: both stages moved.
        assert 0.05 < length <= 0.3 * (1 + 1e-6)


@pytest.mark.slow
def test_samples_are_pictures(solved):
    _, _, result = solved
    for sample in (result.collaborative_hr, result.collaborative_lr):
        assert float(sample.min()) >= 0
        assert float(sample.max()) <= 1


def test_cost_is_fifteen_gradients_a_stage(solved):
    _, _, result = solved
    assert [entry.stage for entry in result.history] == ["hr"] * 15 + ["lr"] * 15
    assert [entry.step for entry in result.history] == [*range(1, 16), *range(1, 16)]


def test_is_kept_even_where_it_is_worse():
    # A flat picture restores perfectly as it is; the published scheme perturbs it all the same.
    model = hcd.load("bicubic-x2")
    result = hcd.collaborate(torch.full((1, 3, 8, 8), 0.5), model, preset="paper", seed=3)
    assert result.kept_plain == (False,)
    plain = hcd.collaborate(torch.full((1, 3, 8, 8), 0.5), model, preset="paper", seed=3, never_worse=True)
    assert plain.psnr[0] >= plain.plain_psnr[0]
    if result.psnr[0] < result.plain_psnr[0]:
        assert torch.equal(plain.lr, plain.plain_lr)


def test_the_seed_matters_and_nothing_else():
    hr, model = make_smooth_picture(24, 24), make_tiny_irn(2)
    torch.manual_seed(1)
    first = hcd.collaborate(hr, model, preset="paper")
    torch.manual_seed(2)
    again = hcd.collaborate(hr, model, preset="paper")
    other = hcd.collaborate(hr, model, preset="paper", seed=1)
    assert torch.equal(first.collaborative_hr, again.collaborative_hr)
    assert torch.equal(first.collaborative_lr, again.collaborative_lr)
    assert not torch.equal(first.collaborative_hr, other.collaborative_hr)


def test_leaves_the_global_generator_alone():
    model = make_tiny_irn(2)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    hcd.collaborate(make_smooth_picture(8, 8), model, preset="paper")
    assert torch.equal(torch.rand(3), wanted)
