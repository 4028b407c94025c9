"""More than eight bits: kept where the extra is installed, said where it is not."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from hcd.errors import ImageError, MissingDependencyError, UsageError
from hcd.image import LRInfo, Picture, check_depth, encode, encode_lr, read_lr, read_picture
from tests.image.kinds import XMP, bits16, exif, vips, waves
from tests.image.samples import png

INFO = LRInfo(model="irn-x4", weights="", scale=4, width=33, height=18, latent="zeros", depth=16)


@pytest.fixture
def without_vips(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvips", None)


def read(tmp_path, data):
    path = tmp_path / "deep"
    path.write_bytes(data)
    return read_picture(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_every_level_is_kept(tmp_path, suffix, channels):
    samples = np.random.default_rng(0).integers(0, 65536, (5, 7, channels), dtype=np.uint16)
    picture = read(tmp_path, vips(samples, suffix))
    parts = [picture.rgb[:, : 1 if picture.gray else 3]] + ([] if picture.alpha is None else [picture.alpha])
    np.testing.assert_allclose(torch.cat(parts, 1)[0].permute(1, 2, 0).numpy() * 65535, samples, atol=0.01)
    assert picture.depth == 16
    assert picture.warnings == ()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_without_the_extra_eight_bits_are_read_and_a_line_says_so(tmp_path, suffix, without_vips):
    picture = read(tmp_path, png(bits16().astype(">u2"), 2) if suffix == ".png" else vips(bits16(), ".tif"))
    assert picture.depth == 8
    (line,) = picture.warnings
    assert line == f"{tmp_path / 'deep'}: 16 bits per sample are read as 8; to keep them, pip install 'hcd[vips]'"
    np.testing.assert_allclose(picture.rgb[0].permute(1, 2, 0).numpy(), waves(), atol=1 / 255)


def test_floating_point_color_without_the_extra_is_refused(tmp_path, without_vips):
    with pytest.raises(ImageError, match=r"deep: .*'hcd\[vips\]'"):
        read(tmp_path, vips(waves().astype(np.float32), ".tif"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_that_are_no_numbers(tmp_path, value, channels):
    samples = waves(channels).astype(np.float32)
    samples[3, 4] = value
    with pytest.raises(ImageError, match="NaN or infinite samples"):
        read(tmp_path, vips(samples, ".tif"))


def test_samples_beyond_white_are_cut_and_a_line_says_so(tmp_path):
    picture = read(tmp_path, vips((waves() * 3 - 1).astype(np.float32), ".tif"))
    assert picture.rgb.min() == 0
    assert picture.rgb.max() == 1
    assert "are cut to 0 … 1" in picture.warnings[0]


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
def test_lr_file_of_sixteen_bits(tmp_path, icc, gray, alpha):
    samples = torch.rand(1, 4, 5, 9, generator=torch.Generator().manual_seed(0))
    rgb = samples[:, :1].expand(-1, 3, -1, -1) if gray else samples[:, :3]
    rgb = (rgb * 65535).round() / 65535
    made = exif()
    made[0x0112] = 1
    picture = Picture(rgb=rgb, alpha=samples[:, 3:] if alpha else None, gray=gray, icc=None if gray else icc,
                      exif=made.tobytes(), xmp=XMP.replace(b">6<", b">1<"))  # fmt: skip
    path = tmp_path / "photo.lr.png"
    path.write_bytes(encode_lr(picture, INFO))
    back, info = read_lr(path)
    assert info == INFO
    assert back.depth == 16
    torch.testing.assert_close(back.rgb, rgb, rtol=0, atol=1e-6)
    assert (back.icc, back.exif, back.xmp) == (picture.icc, picture.exif, picture.xmp)
    assert (back.alpha is not None) == alpha
    assert encode_lr(picture, INFO) == path.read_bytes()


def test_writing_sixteen_bits_needs_png_and_the_extra(tmp_path, monkeypatch):
    picture = Picture(rgb=torch.zeros(1, 3, 2, 2))
    with pytest.raises(UsageError, match="depth 16"):
        encode(picture, ".webp", depth=16)
    with pytest.raises(UsageError, match="depth 12"):
        encode(picture, ".png", depth=12)
    with pytest.raises(UsageError, match=r"only PNG files .*--depth 8"):
        check_depth(16, tmp_path / "a.webp")
    monkeypatch.setitem(sys.modules, "pyvips", None)
    with pytest.raises(MissingDependencyError, match=r"'hcd\[vips\]'"):
        check_depth(16, tmp_path / "a.png")
    with pytest.raises(MissingDependencyError, match=r"'hcd\[vips\]'"):
        encode(picture, ".png", depth=16)


@pytest.mark.parametrize(("module", "suffix", "extra"), [("pillow_heif", "heic", "heif"), ("pillow_jxl", "jxl", "jxl")])
def test_formats_that_are_extras(tmp_path, monkeypatch, module, suffix, extra):
    from tests.image.kinds import KINDS

    data = next(kind for kind in KINDS if kind.suffix == f".{suffix}").make()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImageError, match=rf"needs the extra '{extra}'; pip install 'hcd\[{extra}\]'"):
        read(tmp_path, data)
