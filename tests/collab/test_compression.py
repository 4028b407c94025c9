"""Lossy LR files in the loop: the stand-ins are like the decoded files, and what is solved for them is better there."""

from __future__ import annotations

import math

import pytest
import skimage.data
import torch

import hcd
from hcd.collab import CompressedSize, Compression
from hcd.errors import UsageError
from hcd.image import CODECS, Codec
from tests.conftest import make_smooth_picture
from tests.golden import picture

OTHERS = pytest.mark.parametrize(
    "codec", [Codec(format="webp"), Codec(format="avif"), Codec(format="jpeg", subsampling="4:2:0")], ids=str
)


@pytest.fixture(scope="module")
def hr():
    """A crop of a photograph, 96×128."""
    return picture(skimage.data.astronaut()[60:156, 170:298])


@pytest.fixture
def lr(hr):
    """A thumbnail of it, 44×52, no multiples of a block."""
    return hcd.quantize(hcd.load("bicubic-x2").downscale(hr))[..., 2:46, 5:57]


def stand_in(compression, lr):
    return compression.stand_in(lr)


@pytest.mark.parametrize("quality", [20, 50, 75, 90, 97])
def test_a_jpeg_stands_for_what_is_decoded(lr, quality):
    """Once the coefficients are whole numbers, both are the same but for roundings inside the decoder."""
    compression = Compression(codec=Codec(format="jpeg", quality=quality))
    settled = compression.stored(lr)
    error = (stand_in(compression, settled) - compression.stored(settled)).abs().mean()
    assert error < 1 / 255
    # Before that, it is nearer to the file than the picture is.
    assert (stand_in(compression, lr) - settled).abs().mean() < 0.6 * (lr - settled).abs().mean()


def test_a_jpeg_passes_slope_where_a_small_move_changes_the_file(lr):
    """Of the slopes of a coefficient, 80 (c − r)⁴: 5 at the border between two steps, none in the middle of one."""
    compression = Compression(codec=Codec(format="jpeg", quality=60))
    sample = lr.clone().requires_grad_()
    (moved,) = torch.autograd.grad(stand_in(compression, sample).square().sum(), sample)
    whole = compression.stored(lr).requires_grad_()
    (settled,) = torch.autograd.grad(stand_in(compression, whole).square().sum(), whole)
    assert moved.isfinite().all()
    assert settled.abs().mean() < 0.3 * moved.abs().mean()


def test_descending_the_stand_in_descends_the_error_of_the_file(lr):
    """Towards a picture that the codec would not make of itself."""
    compression = Compression(codec=Codec(format="jpeg", quality=50))
    sample = lr.clone()
    for _ in range(30):
        sample.requires_grad_()
        loss = (stand_in(compression, sample) - lr).square().mean()
        (gradient,) = torch.autograd.grad(loss, sample)
        sample = (sample - 0.3 / 255 * gradient / gradient.abs().mean()).detach().clamp(0, 1)
    before, after = ((compression.stored(picture) - lr).square().mean() for picture in (lr, sample))
    assert after < before


@OTHERS
def test_other_codecs_stand_for_themselves(lr, codec):
    compression = Compression(codec=codec)
    sample = (lr + 0.3 / 255).requires_grad_()
    seen = stand_in(compression, sample)
    assert torch.equal(seen, codec.roundtrip(hcd.quantize(sample))[0])
    (gradient,) = torch.autograd.grad((seen * lr).sum(), sample)
    assert torch.equal(gradient, lr)


@pytest.mark.parametrize("name", CODECS)
def test_what_is_no_number_stays_so(lr, name):
    """A descent has to see that a step went wrong."""
    lr[0, 1, 20, 20] = math.nan
    assert stand_in(Compression(codec=Codec(format=name)), lr).isnan().any()


def test_webp_sees_the_alpha_of_the_file(lr):
    alpha = torch.zeros(1, 1, 44, 52)
    alpha[..., :26] = 1
    codec = Codec(format="webp", quality=60)
    assert torch.equal(Compression(codec=codec, alpha=alpha).stored(lr), codec.roundtrip(lr, alpha)[0])


def test_the_standards_tables():
    luma, color = Codec(format="jpeg", quality=50).steps()
    assert luma[:8] == [16, 11, 10, 16, 24, 40, 51, 61]
    assert luma[8:16] == [12, 12, 14, 19, 26, 58, 60, 55]
    assert color[:4] == [17, 18, 24, 47]
    with pytest.raises(UsageError, match="codec 'webp'"):
        Codec(format="webp").steps()


@pytest.mark.parametrize("quality", [50, 80, 95])
def test_the_size_is_estimated_in_the_order_of_the_files(lr, quality):
    codec = Codec(format="jpeg", quality=quality)
    size = CompressedSize(codec=codec, weight=1.0)
    generator = torch.Generator().manual_seed(0)
    pictures = [
        hcd.quantize(lr.mean() + share * (lr - lr.mean()) + noise * torch.randn(lr.shape, generator=generator))
        for share in (0.2, 1.0)
        for noise in (0.0, 0.01, 0.05)
    ]
    estimates = torch.stack([size.bits(picture) for picture in pictures])
    # Tables and headers take the same of every file.
    header = codec.roundtrip(torch.full_like(lr, 0.5))[1]
    real = torch.tensor([8 * (codec.roundtrip(picture)[1] - header) / (44 * 52) for picture in pictures])
    assert torch.corrcoef(torch.stack([estimates, real]))[0, 1] > 0.97
    assert 0.7 < (estimates / real)[real > 1].median() < 1.6


def test_size_of_a_flat_picture_has_a_gradient():
    flat = torch.full((1, 3, 9, 9), 128 / 255, requires_grad=True)
    bits = CompressedSize(codec=Codec(format="jpeg"), weight=1.0).bits(flat)
    assert bits < 1
    (gradient,) = torch.autograd.grad(bits, flat)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_weights_that_cannot_be(weight):
    with pytest.raises(UsageError, match="weight"):
        CompressedSize(codec=Codec(format="jpeg"), weight=weight)


def solved(hr, codec, weight=0.0, **settings):
    """The result of a few evaluations with the codec in the loop."""
    penalties = (CompressedSize(codec=codec, weight=weight),) if weight else ()
    return hcd.collaborate(
        hr, hcd.load("bicubic-x2"), "balanced", rounding=Compression(codec=codec), penalties=penalties, **settings
    )


@pytest.mark.parametrize("name", CODECS)
def test_figures_are_those_of_the_decoded_file(name):
    hr = make_smooth_picture(50, 62)
    codec, model = Codec(format=name, quality=70), hcd.load("bicubic-x2")
    result = solved(hr, codec, steps_lr=4, loss="rgb")
    for lr, reached in ((result.lr, result.psnr[0]), (result.plain_lr, result.plain_psnr[0])):
        restored = hcd.quantize(model.upscale(codec.roundtrip(lr)[0]))
        assert hcd.psnr(restored, hr, channel="rgb") == pytest.approx(reached, abs=1e-4)
    assert result.psnr[0] > result.plain_psnr[0]


@pytest.mark.parametrize("quality", [30, 60])
def test_in_the_loop_is_better_than_before_it(hr, quality):
    """The same evaluations without the codec, stored by it afterwards, restore worse."""
    codec, model = Codec(format="jpeg", quality=quality), hcd.load("bicubic-x2")
    before = hcd.collaborate(hr, model, "balanced").lr
    restored = hcd.quantize(model.upscale(codec.roundtrip(before)[0]))
    assert solved(hr, codec).psnr[0] > hcd.psnr(restored, hr, channel="rgb") + 0.01


def test_weighing_the_size_saves_bytes(hr):
    codec = Codec(format="jpeg", quality=80)
    results = [solved(hr, codec, weight) for weight in (0.0, 2e-4, 5e-4)]
    sizes = [codec.roundtrip(result.lr)[1] for result in results]
    assert sizes[0] > sizes[1] > sizes[2]
    assert all(result.psnr[0] > result.plain_psnr[0] for result in results)
