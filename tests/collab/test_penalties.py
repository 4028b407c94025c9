"""Penalties: what they measure on an LR picture, and where they lead the method."""

from __future__ import annotations

import io
import math

import pytest
import skimage.data
import torch
from PIL import Image

import hcd
from hcd.collab import Fidelity, FileSize
from hcd.errors import UsageError
from tests.conftest import make_smooth_picture, make_tiny_irn
from tests.golden import picture


@pytest.fixture
def bicubic_lr(photo):
    return hcd.quantize(hcd.load("bicubic-x4").downscale(photo))


def noise(like, seed=0):
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=like.dtype)


def png_bytes(lr):
    """Length of the PNG file of one picture."""
    file = io.BytesIO()
    Image.fromarray((lr[0] * 255).round().byte().movedim(0, -1).numpy()).save(file, "PNG", optimize=True)
    return file.tell()


class TestFidelity:
    def test_is_the_weighted_mean_squared_distance_from_plain(self, photo):
        plain = hcd.quantize(make_tiny_irn(4).downscale(photo))
        penalty = Fidelity(weight=0.3).bind(hr=photo, plain_lr=plain, scale=4)
        assert float(penalty(plain)) == 0.0
        assert float(penalty(plain + 0.1)) == pytest.approx(0.3 * 0.01)
        disturbed = plain + 0.02 * noise(plain)
        wanted = 0.3 * 10 ** (-hcd.psnr(disturbed, plain, channel="rgb") / 10)
        assert float(penalty(disturbed)) == pytest.approx(wanted)

    @pytest.mark.parametrize("size", [(48, 64), (45, 62)])
    def test_or_from_bicubic(self, photo, size):
        hr = photo[..., : size[0], : size[1]]
        plain = hcd.quantize(make_tiny_irn(4).downscale(hr))
        penalty = Fidelity(weight=1.0, to="bicubic").bind(hr=hr, plain_lr=plain, scale=4)
        bicubic = hcd.quantize(hcd.load("bicubic-x4").downscale(hr))
        assert float(penalty(bicubic)) == 0.0
        assert float(penalty(plain)) == pytest.approx(float((plain - bicubic).square().mean()))
        assert float(penalty(plain)) > 0

    def test_unknown_references(self):
        with pytest.raises(UsageError, match=r"unknown reference 'bicubc'\. Did you mean 'bicubic'"):
            Fidelity(to="bicubc")

    def test_keeps_the_lr_nearer_to_plain(self, photo):
        model = make_tiny_irn(4)
        distances = []
        for weight in (0.0, 0.3, 3.0):
            result = hcd.collaborate(photo, model, "balanced", penalties=(Fidelity(weight=weight),), min_lr_psnr=0.0)
            assert result.psnr[0] > result.plain_psnr[0]
            distances.append(float((result.lr - result.plain_lr).square().mean()))
        assert distances[0] > distances[1] > distances[2] > 0

    def test_leads_towards_bicubic(self, photo, bicubic_lr):
        options = {"min_lr_psnr": 0.0, "never_worse": False}
        free, led = (
            hcd.collaborate(photo, make_tiny_irn(4), "balanced", penalties=penalties, **options)
            for penalties in ((), (Fidelity(weight=3.0, to="bicubic"),))
        )
        far, near = ((result.lr - bicubic_lr).square().mean() for result in (free, led))
        assert near < 0.8 * far


class TestFileSize:
    def test_by_hand(self):
        lr = torch.tensor([[[0.0, 3.0], [4.0, 9.5]]]).expand(1, 3, 2, 2) / 255
        # Left and upper neighbors; the picture goes on as its border pixels do.
        rests = [0.0, 3.0 - 1.5, 4.0 - 2.0, 9.5 - 3.5]
        wanted = sum(math.log2(1 + math.sqrt(rest**2 + 0.25)) for rest in rests) / 4
        assert float(FileSize().bits(lr)) == pytest.approx(wanted, rel=1e-5)

    def test_grows_with_noise_as_files_do(self):
        smooth = make_smooth_picture(40, 48)
        pictures = [hcd.quantize(smooth + level / 255 * noise(smooth)) for level in (0, 1, 2, 4, 8, 16)]
        estimates = [float(FileSize().bits(lr)) for lr in pictures]
        sizes = [png_bytes(lr) for lr in pictures]
        assert sizes == sorted(set(sizes))
        assert estimates == sorted(set(estimates))

    def test_goes_with_the_size_of_files(self):
        crops = [picture(skimage.data.astronaut()[top : top + 64, left : left + 64]) for top, left in PLACES]
        estimates = torch.tensor([float(FileSize().bits(crop)) for crop in crops])
        sizes = torch.tensor([float(png_bytes(crop)) for crop in crops])
        assert torch.corrcoef(torch.stack([estimates, sizes]))[0, 1] > 0.8

    def test_weighs_the_estimate(self, photo, bicubic_lr):
        penalty = FileSize(weight=0.25).bind(hr=photo, plain_lr=bicubic_lr, scale=4)
        assert float(penalty(bicubic_lr)) == pytest.approx(0.25 * float(FileSize().bits(bicubic_lr)))

    @pytest.mark.parametrize("rule", ["lbfgs", "gauss-newton"])
    def test_saves_bytes(self, photo, rule):
        model = make_tiny_irn(2)
        results = [
            hcd.collaborate(photo, model, "balanced", penalties=(FileSize(weight=weight),), rule=rule)
            for weight in (0.0, 3e-4)
        ]
        free, weighed = results
        assert png_bytes(weighed.lr) < png_bytes(free.lr)
        assert weighed.plain_psnr[0] <= weighed.psnr[0] < free.psnr[0]


PLACES = [(0, 0), (60, 170), (300, 60), (440, 300), (100, 400), (200, 200), (448, 448), (20, 300)]

BOTH = pytest.mark.parametrize("penalty", [Fidelity(weight=2.0), FileSize(weight=0.5)], ids=["fidelity", "file size"])


@BOTH
def test_gradients_are_those_of_finite_differences(penalty):
    hr = torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain = hcd.quantize(hcd.load("bicubic-x2").downscale(hr))
    sample = (plain + 0.02 * noise(plain)).requires_grad_()
    assert torch.autograd.gradcheck(penalty.bind(hr=hr, plain_lr=plain, scale=2), sample)


@BOTH
def test_flat_pictures_have_finite_slopes(penalty):
    flat = torch.full((1, 3, 1, 5), 0.5, requires_grad=True)
    bound = penalty.bind(hr=torch.full((1, 3, 2, 10), 0.5), plain_lr=flat.detach(), scale=2)
    (gradient,) = torch.autograd.grad(bound(flat), flat)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-6)


@BOTH
def test_the_recorded_loss_has_the_penalty_in_it(photo, penalty):
    model = make_tiny_irn(4)
    result = hcd.collaborate(photo, model, steps_lr=1, penalties=(penalty, penalty), loss="rgb")
    error = (model.upscale(result.plain_lr) - photo).square().mean()
    bound = penalty.bind(hr=photo, plain_lr=result.plain_lr, scale=4)
    assert result.history[0].loss == pytest.approx(float(error + 2 * bound(result.plain_lr)), rel=1e-5)


@BOTH
def test_never_worse_whatever_the_penalty_weighs(photo, penalty):
    """That is about the restored picture alone."""
    heavy = type(penalty)(weight=1e3)
    result = hcd.collaborate(photo, make_tiny_irn(4), "fast", penalties=(heavy,))
    assert result.psnr[0] >= result.plain_psnr[0]
    assert torch.equal(result.lr, result.plain_lr)


@pytest.mark.parametrize("kind", [Fidelity, FileSize])
@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_weights_that_cannot_be(kind, weight):
    with pytest.raises(UsageError, match=f"weight {weight}"):
        kind(weight=weight)
