"""Reading pictures of every kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from hcd.errors import ImageError
from hcd.image import read_picture
from tests.image.samples import chunk, noise, png, saved


def read(tmp_path, data, name="picture"):
    path = tmp_path / name
    path.write_bytes(data)
    return read_picture(path)


def levels(tensor):
    """``[1, C, H, W]`` in [0, 1] → float64 ``[H, W, C]`` in 8-bit levels."""
    return tensor[0].permute(1, 2, 0).double().numpy() * 255


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
def test_rgb_pixels_are_exact(tmp_path, kind):
    samples = noise(5, 7)
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = read(tmp_path, saved(Image.fromarray(samples), kind, **options))
    assert picture.rgb.shape == (1, 3, 5, 7)
    assert picture.rgb.dtype == torch.float32
    assert (picture.width, picture.height) == (7, 5)
    np.testing.assert_allclose(levels(picture.rgb), samples, atol=1e-4)
    assert picture.alpha is None
    assert not picture.gray
    assert picture.icc is None


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_gray_has_three_equal_channels(tmp_path, kind):
    samples = noise(5, 7, 1)
    picture = read(tmp_path, saved(Image.fromarray(samples[..., 0]), kind))
    np.testing.assert_allclose(levels(picture.rgb), samples.repeat(3, axis=2), atol=1e-4)
    assert picture.gray
    assert picture.alpha is None


def test_jpeg_color_and_gray_are_close(tmp_path):
    flat = np.zeros((16, 16, 3), np.uint8) + np.array([200, 40, 90], np.uint8)
    color = read(tmp_path, saved(Image.fromarray(flat), "JPEG", quality=95, subsampling=0))
    np.testing.assert_allclose(levels(color.rgb), flat, atol=3)
    gray = read(tmp_path, saved(Image.fromarray(flat[..., 0]), "JPEG", quality=95))
    np.testing.assert_allclose(levels(gray.rgb), np.full((16, 16, 3), 200), atol=1)
    assert gray.gray
    assert not color.gray


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_palette_is_looked_up(tmp_path, kind):
    indices, palette = noise(5, 7, 1)[..., 0] % 16, noise(16, 3, 1, seed=1)[..., 0]
    image = Image.fromarray(indices).convert("P")
    image.putpalette(palette.tobytes())
    picture = read(tmp_path, saved(image, kind))
    np.testing.assert_allclose(levels(picture.rgb), palette[indices], atol=1e-4)
    assert picture.alpha is None
    assert not picture.gray


def test_palette_with_an_alpha_per_entry(tmp_path):
    indices, palette, alpha = noise(5, 7, 1)[..., 0] % 16, noise(16, 3, 1, seed=1)[..., 0], noise(16, 1, 1, seed=2)
    image = Image.fromarray(indices).convert("P")
    image.putpalette(palette.tobytes())
    picture = read(tmp_path, saved(image, "PNG", transparency=alpha.tobytes()))
    np.testing.assert_allclose(levels(picture.rgb), palette[indices], atol=1e-4)
    np.testing.assert_allclose(levels(picture.alpha)[..., 0], alpha[indices, 0, 0], atol=1e-4)


def test_palette_with_one_transparent_entry(tmp_path):
    indices = noise(5, 7, 1)[..., 0] % 16
    image = Image.fromarray(indices).convert("P")
    image.putpalette(noise(16, 3, 1, seed=1).tobytes())
    picture = read(tmp_path, saved(image, "PNG", transparency=3))
    np.testing.assert_allclose(levels(picture.alpha)[..., 0], np.where(indices == 3, 0, 255), atol=1e-4)


def test_transparent_color_of_an_rgb_png(tmp_path):
    samples = noise(5, 7) // 128
    picture = read(tmp_path, saved(Image.fromarray(samples), "PNG", transparency=(1, 0, 1)))
    transparent = (samples == [1, 0, 1]).all(axis=2)
    assert transparent.any()
    np.testing.assert_allclose(levels(picture.alpha)[..., 0], np.where(transparent, 0, 255), atol=1e-4)
    np.testing.assert_allclose(levels(picture.rgb), samples, atol=1e-4)


def test_transparent_level_of_a_gray_png(tmp_path):
    samples = noise(5, 7, 1)[..., 0] // 64
    picture = read(tmp_path, saved(Image.fromarray(samples), "PNG", transparency=2))
    np.testing.assert_allclose(levels(picture.alpha)[..., 0], np.where(samples == 2, 0, 255), atol=1e-4)
    assert picture.gray


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_straight(tmp_path, kind):
    samples = noise(5, 7, 4)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    picture = read(tmp_path, saved(Image.fromarray(samples), kind, **options))
    assert picture.alpha.shape == (1, 1, 5, 7)
    np.testing.assert_allclose(levels(picture.rgb), samples[..., :3], atol=1e-4)
    np.testing.assert_allclose(levels(picture.alpha), samples[..., 3:], atol=1e-4)
    assert not picture.gray


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_gray_with_alpha(tmp_path, kind):
    samples = noise(5, 7, 2)
    picture = read(tmp_path, saved(Image.fromarray(samples), kind))
    np.testing.assert_allclose(levels(picture.rgb), samples[..., :1].repeat(3, axis=2), atol=1e-4)
    np.testing.assert_allclose(levels(picture.alpha), samples[..., 1:], atol=1e-4)
    assert picture.gray


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_one_bit_is_black_and_white_gray(tmp_path, kind):
    samples = noise(5, 7, 1)[..., 0] > 127
    picture = read(tmp_path, saved(Image.fromarray(samples), kind))
    np.testing.assert_array_equal(levels(picture.rgb), (samples * 255.0)[..., None].repeat(3, axis=2))
    assert picture.gray


@pytest.mark.parametrize(("kind", "tolerance"), [("JPEG", 4), ("TIFF", 1)])
def test_cmyk_becomes_rgb_without_its_profile(tmp_path, icc, kind, tolerance):
    ink = np.zeros((16, 16, 4), np.uint8) + np.array([10, 120, 200, 60], np.uint8)
    options = {"quality": 95} if kind == "JPEG" else {}
    picture = read(tmp_path, saved(Image.fromarray(ink, "CMYK"), kind, icc_profile=icc, **options))
    expected = (255 - ink[..., :3].astype(float)) * (255 - ink[..., 3:]) / 255
    np.testing.assert_allclose(levels(picture.rgb), expected, atol=tolerance)
    assert picture.icc is None


def test_sixteen_bit_gray_png_keeps_its_precision(tmp_path):
    samples = np.random.default_rng(0).integers(0, 65536, (5, 7), dtype=np.uint16)
    picture = read(tmp_path, png(samples.astype(">u2"), 0))
    np.testing.assert_allclose(picture.rgb[0, 1].double().numpy() * 65535, samples, atol=0.01)
    assert picture.gray


@pytest.mark.parametrize("order", ["I;16", "I;16B"])
def test_sixteen_bit_gray_tiff_of_either_byte_order(tmp_path, order):
    samples = np.random.default_rng(0).integers(0, 65536, (5, 7), dtype=np.uint16)
    kind = ">u2" if order == "I;16B" else "<u2"
    image = Image.frombytes(order, (7, 5), samples.astype(kind).tobytes())
    picture = read(tmp_path, saved(image, "TIFF"))
    np.testing.assert_allclose(picture.rgb[0, 2].double().numpy() * 65535, samples, atol=0.01)


def test_sixteen_bit_color_png_is_read_as_eight_bits(tmp_path):
    samples = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    picture = read(tmp_path, png(samples.astype(">u2"), 2))
    np.testing.assert_allclose(levels(picture.rgb), samples / 257, atol=1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_color_profile_is_carried(tmp_path, icc, kind):
    assert read(tmp_path, saved(Image.fromarray(noise(5, 7)), kind, icc_profile=icc)).icc == icc


# From upright to stored, so that the tag brings it back.
_STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_gives_the_upright_pixels(tmp_path, orientation, kind):
    # Blocks of 16 pixels, which JPEG keeps nearly flat.
    upright = noise(2, 3, seed=4).repeat(16, axis=0).repeat(16, axis=1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(_STORED[orientation](upright)))
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    picture = read(tmp_path, saved(stored, kind, exif=exif, **options))
    assert (picture.width, picture.height) == (48, 32)
    np.testing.assert_allclose(levels(picture.rgb), upright, atol=4 if kind == "JPEG" else 1e-4)


def test_orientation_turns_alpha_too(tmp_path):
    upright = noise(4, 6, 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = read(tmp_path, saved(Image.fromarray(np.ascontiguousarray(np.rot90(upright))), "PNG", exif=exif))
    np.testing.assert_allclose(levels(picture.alpha), upright[..., 3:], atol=1e-4)


def test_lab_tiff_is_read(tmp_path):
    picture = read(tmp_path, saved(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF"))
    assert picture.rgb.shape == (1, 3, 4, 4)


def test_format_is_found_by_content_not_by_name(tmp_path):
    samples = noise(5, 7)
    picture = read(tmp_path, saved(Image.fromarray(samples), "BMP"), "picture.png")
    np.testing.assert_allclose(levels(picture.rgb), samples, atol=1e-4)


def test_integers_of_more_than_16_bits_are_refused_with_a_remedy(tmp_path):
    with pytest.raises(ImageError, match=r"picture: .*not supported; convert"):
        read(tmp_path, saved(Image.new("I", (4, 4), 70000), "TIFF"))


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(ImageError, match="known are PNG, JPEG, WebP, BMP, TIFF"):
        read(tmp_path, saved(Image.fromarray(noise(5, 7)[..., 0]), "GIF"), "animation.png")


def test_text_chunks_do_not_disturb_the_pixels(tmp_path):
    samples = noise(5, 7)
    picture = read(tmp_path, png(samples, 2, chunk(b"tEXt", b"Comment\0anything")))
    np.testing.assert_allclose(levels(picture.rgb), samples, atol=1e-4)
