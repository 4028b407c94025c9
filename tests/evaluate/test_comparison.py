"""The page that shows plain against collaborative: its files, its metrics, its text."""

from __future__ import annotations

import html
import json
import math
import re

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import hcd
from hcd.errors import OutputError, UsageError
from hcd.evaluate import compare
from hcd.image import Picture, read_lr, read_picture
from hcd.jsontext import json_text

NAMES = {
    *("original.png", "perturbation.png", "figures.json", "index.html"),
    *(f"{preset}{kind}" for preset in ("plain", "fast") for kind in (".lr.png", ".png", ".error.png")),
}


def compared_with(picture, title, out, preset, **changes):
    settings = hcd.PRESETS[preset].replace(**changes)
    return compare(picture, title, hcd.load("bicubic-x4"), out, settings, preset=preset)


def levels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def mode_and_profile(path):
    with Image.open(path) as image:
        return image.mode, image.info.get("icc_profile")


@pytest.fixture(scope="module")
def picture(folder):
    return read_picture(folder / "nose.bmp")


@pytest.fixture(scope="module")
def compared(picture, tmp_path_factory):
    out = tmp_path_factory.mktemp("page")
    return out, compared_with(picture, "nose.bmp", out, "fast")


def test_files(compared):
    out, comparison = compared
    assert {path.name for path in out.iterdir()} == NAMES
    assert comparison.page == out / "index.html"
    assert [row.preset for row in (comparison.plain, comparison.ours)] == ["plain", "fast"]


def test_page_holds_all_that_it_shows(compared):
    """Everything is beside the page, and nothing is fetched from elsewhere."""
    out, comparison = compared
    text = comparison.page.read_text("utf-8")
    sources = re.findall(r'src="([^"]+)"', text)
    assert set(sources) == {name for name in NAMES if name.endswith(".png")}
    assert all((out / source).is_file() for source in sources)
    assert not re.search(r'https?://|href=|@import|url\(|src="/', text)


def test_pictures_are_what_they_are_called(compared, picture):
    out, comparison = compared
    original = levels(out / "original.png")
    np.testing.assert_array_equal(original, (picture.rgb[0].permute(1, 2, 0) * 255).round().int().numpy())
    for row in (comparison.plain, comparison.ours):
        restored = levels(out / f"{row.preset}.png")
        error = np.minimum(8 * np.abs(restored - original), 255)
        np.testing.assert_array_equal(levels(out / f"{row.preset}.error.png"), error)
        mse = np.mean((restored - original)[4:-4, 4:-4] ** 2.0)
        assert row.psnr_rgb == pytest.approx(10 * math.log10(255**2 / mse), abs=1e-3)
        lr, info = read_lr(out / f"{row.preset}.lr.png")
        assert (info.width, info.height) == (picture.width, picture.height)
        assert row.lr_bytes == (out / f"{row.preset}.lr.png").stat().st_size
        np.testing.assert_allclose(
            levels(out / f"{row.preset}.lr.png") / 255, lr.rgb[0].permute(1, 2, 0).numpy(), atol=1e-6
        )


def test_perturbation_is_gray_where_the_lr_pictures_agree(compared):
    out, comparison = compared
    change = levels(out / "fast.lr.png") - levels(out / "plain.lr.png")
    shown = levels(out / "perturbation.png")
    assert (shown[change == 0] == 128).all()
    assert (shown[change > 0] > 128).all()
    assert (shown[change < 0] < 128).all()
    assert comparison.max_change == np.abs(change).max() > 0


def test_no_change_at_all_is_all_gray(tmp_path, picture):
    compared_with(picture, "still", tmp_path, "fast", max_change=0)
    assert (levels(tmp_path / "perturbation.png") == 128).all()


def test_metrics_are_on_the_page_and_beside_it(compared, picture):
    out, comparison = compared
    beside = json.loads((out / "figures.json").read_text())
    assert (beside["title"], beside["model"], beside["scale"]) == ("nose.bmp", "bicubic-x4", 4)
    assert (beside["width"], beside["height"]) == (picture.width, picture.height)
    text = comparison.page.read_text("utf-8")
    for entry, row in zip(beside["presets"], (comparison.plain, comparison.ours), strict=True):
        assert entry["psnr_y"] == row.psnr_y
        assert f"{row.psnr_y:.2f} dB" in text
        assert f"<td>{row.lr_bytes}</td>" in text
    assert [entry["max_change"] for entry in beside["presets"]] == [0, comparison.max_change]
    assert f"{comparison.gain} dB" in text
    assert comparison.ours.psnr_rgb > comparison.plain.psnr_rgb


@pytest.mark.parametrize("title", ["<script>alert(1)</script>", "a\"b'c & {{ 7 * 7 }}\n写真"])
def test_title_is_text(tmp_path, picture, title):
    page = compared_with(picture, title, tmp_path, "fast", steps_lr=1).page
    text = page.read_text("utf-8")
    (heading,) = re.findall(r"<h1>(.*?)</h1>", text, re.DOTALL)
    assert "<" not in heading
    assert html.unescape(heading) == title
    assert text.count("<script>") == 1


def test_title_of_bytes_that_are_no_text(tmp_path, picture):
    page = compared_with(picture, "latin-\udce9.png", tmp_path, "fast", steps_lr=1).page
    assert "latin-" in page.read_text("utf-8")


def test_settings_are_for_the_preset_alone(tmp_path, picture):
    found = compared_with(picture, "t", tmp_path, "fast", steps_lr=2)
    assert [row.grad_evals for row in (found.plain, found.ours)] == [0, 2]


@pytest.mark.parametrize("size", [(1, 1), (10, 40), (16, 16), (19, 20)])
def test_small_pictures(tmp_path, size):
    rgb = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    rgb = (rgb * 255).round() / 255
    found = compared_with(Picture(rgb=rgb), "t", tmp_path, "fast")
    assert math.isnan(found.plain.ssim_y) == math.isnan(found.ours.ssim_y) == (min(size) < 11)
    text = (tmp_path / "index.html").read_text("utf-8")
    assert "nan" not in text
    json.loads((tmp_path / "figures.json").read_text(), parse_constant=lambda name: pytest.fail(name))


def test_border_that_the_page_states_is_the_one_that_was_cut(tmp_path):
    """A picture too small for a border is measured whole, and the page must say so."""
    rgb = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    compared_with(Picture(rgb=rgb), "t", tmp_path, "fast", steps_lr=1)
    assert "border of 4 pixels cut" not in (tmp_path / "index.html").read_text("utf-8")


def test_gray_picture_is_shown_gray(tmp_path, picture):
    gray = Picture(rgb=picture.rgb[:, :1].expand(-1, 3, -1, -1), gray=True)
    compared_with(gray, "t", tmp_path, "fast", steps_lr=1)
    for name in ("original.png", "plain.png", "fast.png"):
        assert mode_and_profile(tmp_path / name) == ("L", None)


def test_original_and_restored_are_shown_in_the_same_color_space(tmp_path, picture):
    """With the profile on one side only, a browser would show a difference that is none."""
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    compared_with(Picture(rgb=picture.rgb, icc=icc), "t", tmp_path, "fast", steps_lr=1)
    assert mode_and_profile(tmp_path / "original.png") == mode_and_profile(tmp_path / "plain.png")


def test_transparent_picture_is_compared_by_its_colors(tmp_path, picture):
    transparent = Picture(rgb=picture.rgb, alpha=picture.rgb[:, :1])
    found = compared_with(transparent, "t", tmp_path / "a", "fast")
    opaque = compared_with(Picture(rgb=picture.rgb), "t", tmp_path / "b", "fast")
    assert (found.plain.psnr_y, found.ours.psnr_y) == (opaque.plain.psnr_y, opaque.ours.psnr_y)


def test_plain_has_nothing_to_be_compared_with(tmp_path, picture):
    with pytest.raises(UsageError, match="nothing to compare"):
        compared_with(picture, "t", tmp_path / "out", "plain")
    assert not (tmp_path / "out").exists()


def test_folder_that_cannot_be_written(tmp_path, picture):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        compared_with(picture, "t", tmp_path / "file", "fast", steps_lr=1)


def test_json_text_is_standard():
    value = {"a": math.inf, "b": [math.nan, -math.inf, 1.5], "c": (1, None), "d": {"e": True}, "ü": "\udcff"}
    back = json.loads(json_text(value), parse_constant=lambda name: pytest.fail(name))
    assert back == {"a": None, "b": [None, None, 1.5], "c": [1, None], "d": {"e": True}, "ü": "\udcff"}
