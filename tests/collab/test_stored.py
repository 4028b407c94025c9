"""What a file keeps: stand-ins resemble the decoded files, and solving for a file pays."""

from __future__ import annotations

import math

import pytest
import skimage.data
import torch

import hcd
from hcd.collab import Lossless, Lossy
from hcd.collab.jpeg import estimate_bits
from hcd.errors import UsageError
from hcd.image import CODECS, Codec
from hcd.rescaler import GrayRescaler
from tests.conftest import make_smooth_picture, make_tiny_irn
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


def restored(lr, hr, model, levels=255):
    """What the receiver writes of a decoded LR."""
    return hcd.quantize(model.upscale(lr), levels)[..., : hr.shape[-2], : hr.shape[-1]]


class TestLossless:
    def test_the_samples_themselves(self, lr):
        assert (Lossless().levels, Lossless(16).levels) == (255, 65535)
        for stored in (Lossless(8), Lossless(16)):
            assert torch.equal(stored.decode(lr), lr)
            assert torch.equal(stored.stand_in(lr + 0.001), lr + 0.001)

    @pytest.mark.parametrize("bits", [0, 12, 32])
    def test_other_depths(self, bits):
        with pytest.raises(UsageError, match=f"got {bits} bits per sample; use 8 or 16"):
            Lossless(bits)


class TestSixteenBits:
    """File, plain LR and restored image all have 65535 levels."""

    @pytest.mark.parametrize("preset", ["plain", "paper", "balanced"])
    @pytest.mark.parametrize("gray", [False, True], ids=["color", "gray"])
    def test_levels_and_metrics_are_those_of_the_file(self, photo, preset, gray):
        model = GrayRescaler(make_tiny_irn(2)) if gray else make_tiny_irn(2)
        hr = photo.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1) if gray else photo
        result = hcd.collaborate(hr[..., :30, :40], model, preset, stored=Lossless(16))
        hr = hr[..., :30, :40]
        for lr, psnr in ((result.lr, result.psnr[0]), (result.plain_lr, result.plain_psnr[0])):
            assert torch.equal((lr * 65535).round() / 65535, lr)
            if preset != "plain":
                assert psnr == pytest.approx(hcd.psnr(restored(lr, hr, model, 65535), hr, channel="rgb"), abs=1e-4)
        assert torch.equal(result.plain_lr, hcd.quantize(model.downscale(hr), 65535))
        if preset == "balanced":
            assert result.psnr[0] > result.plain_psnr[0]

    @pytest.mark.parametrize("part", [(220, 248, 220, 256), (160, 188, 40, 76)], ids=str)
    def test_never_worse_by_any_term(self, part):
        top, bottom, left, right = part
        hr, model = picture(skimage.data.astronaut()[top:bottom, left:right]), make_tiny_irn(4)
        result = hcd.collaborate(hr, model, "fast", stored=Lossless(16))
        for channel in ("rgb", "y"):
            reached, plain = (
                hcd.psnr(restored(lr, hr, model, 65535), hr, channel=channel) for lr in (result.lr, result.plain_lr)
            )
            assert reached >= plain

    def test_bounds_are_kept(self, photo):
        result = hcd.collaborate(photo, make_tiny_irn(4), "fast", stored=Lossless(16), max_change=1)
        assert 200 < float((result.lr - result.plain_lr).abs().max() * 65535) <= 257.01
        near = hcd.collaborate(photo, make_tiny_irn(4), "fast", stored=Lossless(16), min_lr_psnr=55.0)
        assert hcd.psnr(near.lr, near.plain_lr, channel="rgb") >= 55.0
        assert not torch.equal(near.lr, near.plain_lr)


@pytest.mark.parametrize("quality", [20, 50, 75, 90, 97])
def test_a_jpeg_stands_for_what_is_decoded(lr, quality):
    """Once the coefficients are whole numbers, both are the same but for roundings inside the decoder."""
    stored = Lossy(Codec(format="jpeg", quality=quality))
    settled = stored.decode(lr)
    error = (stored.stand_in(settled) - stored.decode(settled)).abs().mean()
    assert error < 1 / 255
    # Before that, it is nearer to the file than the picture is.
    assert (stored.stand_in(lr) - settled).abs().mean() < 0.6 * (lr - settled).abs().mean()


def test_a_jpeg_passes_slope_where_a_small_move_changes_the_file(lr):
    """Of the slopes of a coefficient, 80 (c − r)⁴: 5 at the border between two steps, none in the middle of one."""
    stored = Lossy(Codec(format="jpeg", quality=60))
    sample = lr.clone().requires_grad_()
    (moved,) = torch.autograd.grad(stored.stand_in(sample).square().sum(), sample)
    whole = stored.decode(lr).requires_grad_()
    (settled,) = torch.autograd.grad(stored.stand_in(whole).square().sum(), whole)
    assert moved.isfinite().all()
    assert settled.abs().mean() < 0.3 * moved.abs().mean()


def test_descending_the_stand_in_descends_the_error_of_the_file(lr):
    """Towards a picture that the codec would not make of itself."""
    stored = Lossy(Codec(format="jpeg", quality=50))
    sample = lr.clone()
    for _ in range(30):
        sample.requires_grad_()
        loss = (stored.stand_in(sample) - lr).square().mean()
        (gradient,) = torch.autograd.grad(loss, sample)
        sample = (sample - 0.3 / 255 * gradient / gradient.abs().mean()).detach().clamp(0, 1)
    before, after = ((stored.decode(picture) - lr).square().mean() for picture in (lr, sample))
    assert after < before


@OTHERS
def test_other_codecs_stand_for_themselves(lr, codec):
    stored = Lossy(codec)
    sample = (lr + 0.3 / 255).requires_grad_()
    seen = stored.stand_in(sample)
    assert torch.equal(seen, codec.roundtrip(hcd.quantize(sample))[0])
    (gradient,) = torch.autograd.grad((seen * lr).sum(), sample)
    assert torch.equal(gradient, lr)


@pytest.mark.parametrize("name", CODECS)
def test_nan_stays_nan(lr, name):
    """A descent has to see that a step went wrong."""
    lr[0, 1, 20, 20] = math.nan
    assert Lossy(Codec(format=name)).stand_in(lr).isnan().any()


def test_webp_sees_the_alpha_of_the_file(lr):
    alpha = torch.zeros(1, 1, 44, 52)
    alpha[..., :26] = 1
    codec = Codec(format="webp", quality=60)
    assert torch.equal(Lossy(codec, alpha=alpha).decode(lr), codec.roundtrip(lr, alpha)[0])


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
    generator = torch.Generator().manual_seed(0)
    pictures = [
        hcd.quantize(lr.mean() + share * (lr - lr.mean()) + noise * torch.randn(lr.shape, generator=generator))
        for share in (0.2, 1.0)
        for noise in (0.0, 0.01, 0.05)
    ]
    estimates = torch.stack([estimate_bits(picture, quality) for picture in pictures])
    # Tables and headers take the same of every file.
    header = codec.roundtrip(torch.full_like(lr, 0.5))[1]
    real = torch.tensor([8 * (codec.roundtrip(picture)[1] - header) / (44 * 52) for picture in pictures])
    assert torch.corrcoef(torch.stack([estimates, real]))[0, 1] > 0.97
    assert 0.7 < (estimates / real)[real > 1].median() < 1.6


def test_size_of_a_flat_picture_has_a_gradient():
    flat = torch.full((1, 3, 9, 9), 128 / 255, requires_grad=True)
    bits = estimate_bits(flat, 90)
    assert bits < 1
    (gradient,) = torch.autograd.grad(bits, flat)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_weights_that_cannot_be(weight):
    with pytest.raises(UsageError, match="weight"):
        Lossy(Codec(format="jpeg"), size_weight=weight)


def solved(hr, codec, weight=None, **settings):
    return hcd.collaborate(hr, hcd.load("bicubic-x2"), "balanced", stored=Lossy(codec, size_weight=weight), **settings)


@pytest.mark.parametrize("name", CODECS)
def test_metrics_are_those_of_the_decoded_file(name):
    hr = make_smooth_picture(50, 62)
    codec, model = Codec(format=name, quality=70), hcd.load("bicubic-x2")
    result = solved(hr, codec, weight=0.0, steps_lr=4, loss="rgb")
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
    assert solved(hr, codec, weight=0.0).psnr[0] > hcd.psnr(restored, hr, channel="rgb") + 0.01


def test_weighing_the_size_saves_bytes(hr):
    codec = Codec(format="jpeg", quality=80)
    results = [solved(hr, codec, weight) for weight in (0.0, 2e-4, 5e-4)]
    sizes = [codec.roundtrip(result.lr)[1] for result in results]
    assert sizes[0] > sizes[1] > sizes[2]
    assert all(result.psnr[0] > result.plain_psnr[0] for result in results)


@pytest.mark.parametrize("name", CODECS)
def test_never_worse_than_the_plain_file_by_any_term(hr, name):
    """Even if the loop is led astray, and whatever a byte is worth."""
    codec, model, part = Codec(format=name, quality=60), hcd.load("bicubic-x2"), hr[..., 20:60, 30:80]
    for options in ({"steps_lr": 1, "epsilon_lr": 0.4 / 255}, {"steps_lr": 2, "epsilon_lr": 0.2}):
        result = solved(part, codec, **options)
        for channel in ("rgb", "y"):
            reached, plain = (
                hcd.psnr(restored(codec.roundtrip(lr)[0], part, model), part, channel=channel)
                for lr in (result.lr, result.plain_lr)
            )
            assert reached >= plain


def test_the_worth_of_a_bit_is_the_slope_between_two_qualities(hr):
    """A file takes about as many bytes as the plain one, and restores better."""
    codec = Codec(format="jpeg", quality=75)
    result = solved(hr, codec)
    sizes = [codec.roundtrip(lr)[1] for lr in (result.lr, result.plain_lr)]
    assert sizes[0] < 1.02 * sizes[1]
    assert result.psnr[0] > result.plain_psnr[0] + 0.2
