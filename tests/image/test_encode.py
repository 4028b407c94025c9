"""Encoding pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from hcd.errors import OutputError, UsageError
from hcd.image import Picture, encode, read_picture
from tests.image.samples import noise


def tensor(samples):
    """uint8 ``[H, W, C]`` → float ``[1, C, H, W]``."""
    return torch.from_numpy(samples.astype(np.float32) / 255).permute(2, 0, 1)[None]


def round_trip(tmp_path, picture, suffix):
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(encode(picture, suffix))
    return read_picture(path)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".tiff", ".bmp"])
def test_lossless_formats_keep_every_pixel(tmp_path, suffix):
    picture = Picture(rgb=tensor(noise(6, 9)))
    back = round_trip(tmp_path, picture, suffix)
    torch.testing.assert_close(back.rgb, picture.rgb, rtol=0, atol=1e-6)
    assert back.alpha is None
    assert not back.gray


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".jpg"])
def test_gray_is_written_as_one_channel(tmp_path, suffix):
    gray = noise(2, 3, 1).repeat(8, axis=0).repeat(8, axis=1).repeat(3, axis=2)
    picture = Picture(rgb=tensor(gray), gray=True)
    data = encode(picture, suffix)
    assert Image.open(io.BytesIO(data)).mode == "L"
    back = round_trip(tmp_path, picture, suffix)
    torch.testing.assert_close(back.rgb, picture.rgb, rtol=0, atol=3 / 255 if suffix == ".jpg" else 1e-6)
    assert back.gray


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_alpha_and_the_colors_under_it_are_kept(tmp_path, suffix, gray):
    samples = noise(6, 9, 4)
    samples[:3, :, 3] = 0
    rgb = tensor(samples[..., :1].repeat(3, axis=2) if gray else samples[..., :3])
    back = round_trip(tmp_path, Picture(rgb=rgb, alpha=tensor(samples[..., 3:]), gray=gray), suffix)
    torch.testing.assert_close(back.rgb, rgb, rtol=0, atol=1e-6)
    torch.testing.assert_close(back.alpha, tensor(samples[..., 3:]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_formats_without_alpha_keep_the_colors(tmp_path, suffix, gray):
    samples = noise(1, 1).repeat(16, axis=0).repeat(16, axis=1)
    rgb = tensor(samples[..., :1].repeat(3, axis=2) if gray else samples)
    back = round_trip(tmp_path, Picture(rgb=rgb, alpha=torch.full((1, 1, 16, 16), 0.5), gray=gray), suffix)
    torch.testing.assert_close(back.rgb, rgb, rtol=0, atol=3 / 255)
    assert back.alpha is None


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".jpg"])
def test_color_profile_is_embedded(tmp_path, icc, suffix):
    assert round_trip(tmp_path, Picture(rgb=tensor(noise(6, 9)), icc=icc), suffix).icc == icc


def test_values_are_clamped_and_rounded(tmp_path):
    values = torch.tensor([-0.2, 0.4 / 255, 0.6 / 255, 254.4 / 255, 1.7])
    back = round_trip(tmp_path, Picture(rgb=values.expand(1, 3, 2, 5).clone()), ".png")
    assert (back.rgb[0, 0, 0] * 255).tolist() == pytest.approx([0, 0, 1, 254, 255])


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".jpg", ".bmp"])
def test_same_picture_same_bytes(suffix):
    picture = Picture(rgb=tensor(noise(6, 9)))
    assert encode(picture, suffix) == encode(picture, suffix)


def test_unknown_suffix_names_the_nearest():
    with pytest.raises(UsageError, match=r"'\.pgn'\. Did you mean '\.png'\?"):
        encode(Picture(rgb=tensor(noise(2, 2))), ".pgn")


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".bmp"])
def test_comment_needs_a_format_that_holds_it(suffix):
    with pytest.raises(UsageError, match=r"use \.png or \.webp"):
        encode(Picture(rgb=tensor(noise(2, 2))), suffix, comment=("hcd", "text"))


@pytest.mark.parametrize(("suffix", "side"), [(".webp", 16384), (".jpg", 65536)])
def test_picture_larger_than_the_format_allows(suffix, side):
    with pytest.raises(OutputError, match=f"{side}×1"):
        encode(Picture(rgb=torch.zeros(1, 3, 1, side)), suffix)
