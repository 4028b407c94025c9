"""PSNR and SSIM: the golden values of the official protocol, and scikit-image as a second opinion."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import hcd
from hcd.errors import ShapeError, UsageError
from tests import golden as gold

METRICS = {"psnr": hcd.psnr, "ssim": hcd.ssim}


@pytest.fixture
def pair(smooth_picture):
    """A picture and a disturbed one."""
    noise = torch.randn(smooth_picture.shape, generator=torch.Generator().manual_seed(0))
    return smooth_picture, (smooth_picture + 0.03 * noise).clamp(0, 1)


@pytest.mark.parametrize("cut", ["cropped", "uncropped (as for the LR image)"])
@pytest.mark.parametrize("pair", range(6))
def test_golden_values(golden, pair, cut):
    described, arrays = gold.spec(golden, "metrics"), gold.arrays(golden, "metrics")
    values = described["pairs"][pair]
    a, b = (gold.picture(arrays[f"pair{pair}_{kind}_u8"]) for kind in ("gt", "sr"))
    border = values["crop_border"] if cut == "cropped" else 0
    for name, metric in METRICS.items():
        for channel, key in (("rgb", name), ("y", f"{name}_y")):
            measured = metric(a, b, channel=channel, border=border)
            # Single-precision pictures, so v/255 is off by up to 3e-8 from the official float64.
            assert measured == pytest.approx(values[cut][key], abs=2e-6), (name, channel)


@pytest.mark.parametrize("cut", ["cropped", "uncropped (as for the LR image)"])
@pytest.mark.parametrize("pair", range(6))
def test_golden_values_in_double_precision(golden, pair, cut):
    described, arrays = gold.spec(golden, "metrics"), gold.arrays(golden, "metrics")
    values = described["pairs"][pair]
    a, b = (torch.from_numpy(arrays[f"pair{pair}_{kind}_u8"] / 255.0).permute(2, 0, 1)[None] for kind in ("gt", "sr"))
    border = values["crop_border"] if cut == "cropped" else 0
    for name, metric in METRICS.items():
        for channel, key in (("rgb", name), ("y", f"{name}_y")):
            measured = metric(a, b, channel=channel, border=border)
            assert measured == pytest.approx(values[cut][key], abs=described["metric_tolerance"]), (name, channel)


def as_image(picture, channel):
    image = picture[0].permute(1, 2, 0).double().numpy()
    return rgb2ycbcr(image)[..., :1] / 255 if channel == "y" else image


@pytest.mark.parametrize("border", [0, 3])
@pytest.mark.parametrize("channel", ["y", "rgb"])
class TestAgainstScikitImage:
    def images(self, pair, channel, border):
        return [
            as_image(picture, channel)[border : picture.shape[-2] - border, border : picture.shape[-1] - border]
            for picture in pair
        ]

    def test_psnr(self, pair, channel, border):
        wanted = peak_signal_noise_ratio(*self.images(pair, channel, border), data_range=1)
        assert hcd.psnr(*pair, channel=channel, border=border) == pytest.approx(wanted, abs=1e-9)

    def test_ssim(self, pair, channel, border):
        _, values = structural_similarity(
            *self.images(pair, channel, border),
            data_range=1,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        # scikit-image pads; the protocol takes the region where the window fits.
        wanted = values[5:-5, 5:-5].mean()
        assert hcd.ssim(*pair, channel=channel, border=border) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("channel", ["y", "rgb"])
def test_equal_pictures(photo, channel):
    assert hcd.psnr(photo, photo.clone(), channel=channel) == math.inf
    assert hcd.ssim(photo, photo.clone(), channel=channel) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_symmetric(pair, name):
    metric = METRICS[name]
    assert metric(*pair) == pytest.approx(metric(*reversed(pair)), rel=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_a_batch_has_the_mean_of_its_pictures(pair, name):
    a, b = pair
    worse = (b + 0.1 * (b - a)).clamp(0, 1)
    metric = METRICS[name]
    wanted = (metric(a, b) + metric(a, worse)) / 2
    assert metric(torch.cat([a, a]), torch.cat([b, worse])) == pytest.approx(wanted, rel=1e-12)


def test_defaults_are_luma_and_no_border(pair):
    assert hcd.psnr(*pair) == hcd.psnr(*pair, channel="y", border=0)
    assert hcd.psnr(*pair) != hcd.psnr(*pair, channel="rgb")


def test_the_border_is_cut_on_every_side(pair):
    a, _ = pair
    for index in (
        (..., slice(0, 2), slice(None)),
        (..., slice(-2, None)),
        (..., slice(0, 2)),
        (..., slice(-2, None), slice(None)),
    ):
        spoiled = a.clone()
        spoiled[index] = 0
        assert hcd.psnr(a, spoiled) < math.inf
        assert hcd.psnr(a, spoiled, border=2) == math.inf


@pytest.mark.parametrize("name", METRICS)
def test_pictures_with_a_gradient(pair, name):
    a, b = pair
    assert METRICS[name](a, b.clone().requires_grad_()) == METRICS[name](a, b)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("shapes", [((1, 3, 20, 20), (1, 3, 20, 24)), ((3, 20, 20),) * 2, ((1, 1, 20, 20),) * 2])
def test_shapes_are_checked(name, shapes):
    with pytest.raises(ShapeError, match=r"metrics: got shapes .* need two equal \[N, 3, H, W\]"):
        METRICS[name](*(torch.zeros(shape) for shape in shapes))


@pytest.mark.parametrize(
    ("name", "side", "border"), [("psnr", 8, 4), ("ssim", 18, 4), ("ssim", 10, 0), ("psnr", 8, -1)]
)
def test_something_must_be_left_inside_the_border(name, side, border):
    with pytest.raises(ShapeError, match="border"):
        METRICS[name](torch.zeros(1, 3, side, side), torch.zeros(1, 3, side, side), border=border)


def test_the_smallest_pictures_that_can_be_measured():
    assert hcd.psnr(torch.zeros(1, 3, 9, 9), torch.ones(1, 3, 9, 9), border=4, channel="rgb") == 0
    assert hcd.ssim(torch.ones(1, 3, 19, 19), torch.ones(1, 3, 19, 19), border=4) == pytest.approx(1)


@pytest.mark.parametrize("name", METRICS)
def test_integer_pictures_are_refused(name):
    # Taken as they are they would give a wrong figure without a word.
    pixels = torch.from_numpy(np.full((1, 3, 16, 16), 7, dtype=np.uint8))
    with pytest.raises(ShapeError, match="uint8"):
        METRICS[name](pixels, pixels + 1)


@pytest.mark.parametrize("name", METRICS)
def test_an_empty_batch_is_refused(name):
    with pytest.raises(ShapeError, match="metrics"):
        METRICS[name](torch.zeros(0, 3, 16, 16), torch.zeros(0, 3, 16, 16))


@pytest.mark.parametrize("name", METRICS)
def test_an_unknown_channel_names_the_known_ones(pair, name):
    with pytest.raises(UsageError, match=r"unknown channel 'Y'.*Known: y, rgb"):
        METRICS[name](*pair, channel="Y")
