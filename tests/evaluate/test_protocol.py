"""The protocol on a folder, checked against scikit-image and NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import skimage.color
import skimage.metrics
import torch
from PIL import Image

import hcd
from hcd.collab import get_settings
from hcd.errors import UsageError
from hcd.evaluate import Report, Row, evaluate_folder, settings_of
from hcd.image import Picture, encode_lr, read_picture
from hcd.pipeline import downscale_picture

SCALE = 4


def cropped(picture, scale):
    """Without what is right of and below the last multiple of the scale."""
    height, width = picture.height // scale * scale, picture.width // scale * scale
    return Picture(rgb=picture.rgb[..., :height, :width])


def imresize(image, size):
    """MATLAB's bicubic ``imresize`` of ``[H, W, C]`` to ``size`` on one axis after the other, written anew."""
    for axis, length in enumerate(size):
        image = np.moveaxis(image, axis, 0)
        ratio = length / len(image)
        width = max(1.0, 1 / ratio)
        out = np.zeros((length, *image.shape[1:]))
        for i in range(length):
            center = (i + 0.5) / ratio - 0.5
            taps = np.arange(math.floor(center - 2 * width), math.ceil(center + 2 * width) + 1)
            x = np.abs(center - taps) / width
            weights = np.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2) * (x < 2)
            mirrored = np.where(taps < 0, -1 - taps, np.where(taps >= len(image), 2 * len(image) - 1 - taps, taps))
            out[i] = np.tensordot(weights / weights.sum(), image[mirrored], 1)
        image = np.moveaxis(out, 0, axis)
    return image


def to_8_bits(image):
    return np.round(np.clip(image, 0, 1) * 255) / 255


def luma(image):
    return skimage.color.rgb2ycbcr(image)[..., 0] / 255


def inside(image):
    return image[SCALE:-SCALE, SCALE:-SCALE]


@pytest.fixture(scope="module")
def report(folder):
    return evaluate_folder(folder, hcd.load("bicubic-x4"), settings_of(["plain", "fast"]))


def test_rows_are_pictures_by_presets(report):
    assert [(row.image, row.preset) for row in report.rows] == [
        *(("eye.png", preset) for preset in ("plain", "fast")),
        *(("nose.bmp", preset) for preset in ("plain", "fast")),
    ]
    assert (report.model, report.scale, report.failed) == ("bicubic-x4", SCALE, ())


@pytest.mark.parametrize("name", ["eye.png", "nose.bmp"])
def test_plain_metrics_agree_with_other_libraries(folder, report, name):
    with Image.open(folder / name) as image:
        hr = np.asarray(image) / 255
    height, width = (side - side % SCALE for side in hr.shape[:2])
    hr = hr[:height, :width]
    lr = to_8_bits(imresize(hr, (height // SCALE, width // SCALE)))
    restored = to_8_bits(imresize(lr, (height, width)))
    row = next(row for row in report.rows if (row.image, row.preset) == (name, "plain"))
    psnr_y = skimage.metrics.peak_signal_noise_ratio(inside(luma(hr)), inside(luma(restored)), data_range=1)
    assert row.psnr_y == pytest.approx(psnr_y, abs=0.01)
    psnr_rgb = skimage.metrics.peak_signal_noise_ratio(inside(hr), inside(restored), data_range=1)
    assert row.psnr_rgb == pytest.approx(psnr_rgb, abs=0.01)
    ssim_y = skimage.metrics.structural_similarity(
        inside(luma(hr)),
        inside(luma(restored)),
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert row.ssim_y == pytest.approx(ssim_y, abs=1e-3)
    assert row.lr_psnr == math.inf


def test_collaborative_lr_is_compared_with_the_bicubic_one(folder, report):
    picture = cropped(read_picture(folder / "eye.png"), SCALE)
    small = downscale_picture(picture, hcd.load("bicubic-x4"), "fast")
    hr = picture.rgb[0].permute(1, 2, 0).double().numpy()
    bicubic = to_8_bits(imresize(hr, (picture.height // SCALE, picture.width // SCALE)))
    lr = small.picture.rgb[0].permute(1, 2, 0).double().numpy()
    row = report.rows[1]
    expected = skimage.metrics.peak_signal_noise_ratio(luma(bicubic), luma(lr), data_range=1)
    assert row.lr_psnr == pytest.approx(expected, abs=0.02)
    assert row.lr_bytes == len(encode_lr(small.picture, small.info))


def test_effort_is_counted(report):
    fast = get_settings("fast").evaluations
    assert [row.grad_evals for row in report.rows] == [0, fast, 0, fast]
    assert all(row.seconds >= 0 for row in report.rows)


def test_collaborative_is_better_than_plain(report):
    for plain, fast in zip(report.rows[::2], report.rows[1::2], strict=True):
        assert fast.psnr_rgb > plain.psnr_rgb + 0.05


def test_mean_is_the_mean(report):
    mean = report.mean()
    assert list(mean) == ["plain", "fast"]
    for preset in mean:
        rows = [row for row in report.rows if row.preset == preset]
        for name in ("psnr_y", "ssim_y", "psnr_rgb", "lr_bytes", "grad_evals", "seconds"):
            assert mean[preset][name] == pytest.approx(sum(getattr(row, name) for row in rows) / 2)


def test_mean_of_nothing_is_empty():
    assert Report(model="m", scale=2, rows=()).mean() == {}


def test_json_structure():
    row = Row(
        image="a.png",
        preset="plain",
        psnr_y=30.0,
        ssim_y=0.9,
        psnr_rgb=29.0,
        lr_psnr=math.inf,
        lr_bytes=100,
        grad_evals=0,
        seconds=0.5,
    )
    report = Report(model="m", scale=2, rows=(row,), failed=(("b.png", "damaged"),)).as_json()
    assert list(report) == ["model", "scale", "rows", "mean", "failed"]
    assert list(report["rows"][0]) == [
        *("image", "preset", "psnr_y", "ssim_y", "psnr_rgb"),
        *("lr_psnr", "lr_bytes", "grad_evals", "seconds"),
    ]
    assert report["mean"] == {"plain": {k: v for k, v in report["rows"][0].items() if k not in ("image", "preset")}}
    assert report["failed"] == [{"image": "b.png", "error": "damaged"}]


def test_progress_is_handed_on(folder):
    started, rows, evaluations = [], [], []
    report = evaluate_folder(
        folder,
        hcd.load("bicubic-x4"),
        settings_of(["plain", "fast"], steps_lr=2),
        on_start=lambda *what: started.append(what),
        on_row=rows.append,
        on_evaluation=evaluations.append,
    )
    assert started == [(row.image, row.preset) for row in report.rows]
    assert tuple(rows) == report.rows
    assert len(evaluations) == 4


@pytest.mark.parametrize(("width", "height"), [(20, 20), (19, 40), (40, 19), (3, 3)])
def test_smallest_picture(tmp_path, width, height):
    """A border of 4 and a window of 11 need 19 pixels at scale 4; 19 are first cut to 16, so 20 it is."""
    Image.effect_noise((width, height), 50).convert("RGB").save(tmp_path / "small.png")
    report = evaluate_folder(tmp_path, hcd.load("bicubic-x4"), settings_of(["plain"]))
    enough = min(width, height) >= 20
    assert len(report.rows) == enough
    assert [name for name, _ in report.failed] == ([] if enough else ["small.png"])


def test_broken_pictures_are_named_and_the_others_measured(tmp_path, folder):
    (tmp_path / "broken.png").write_text("not a picture")
    (tmp_path / "cut.PNG").write_bytes((folder / "eye.png").read_bytes()[:500])
    (tmp_path / "eye.png").write_bytes((folder / "eye.png").read_bytes())
    Image.new("RGB", (6, 6)).save(tmp_path / "small.png")
    report = evaluate_folder(tmp_path, hcd.load("bicubic-x4"), settings_of(["plain"]))
    assert [row.image for row in report.rows] == ["eye.png"]
    assert [name for name, _ in report.failed] == ["broken.png", "cut.PNG", "small.png"]
    assert all(str(tmp_path / name) in error for name, error in report.failed)


def test_gray_and_alpha_are_measured_as_color(tmp_path, folder):
    with Image.open(folder / "eye.png") as image:
        gray = image.convert("L")
    gray.save(tmp_path / "gray.png")
    gray.convert("RGB").save(tmp_path / "color.png")
    Image.merge("LA", (gray, gray)).save(tmp_path / "transparent.png")
    rows = evaluate_folder(tmp_path, hcd.load("bicubic-x4"), settings_of(["plain"])).rows
    assert len({(row.psnr_y, row.psnr_rgb, row.ssim_y) for row in rows}) == 1


@pytest.mark.parametrize(
    ("presets", "changes"), [(["plain", "fsat"], {}), (["fast"], {"steps": 3}), (["plain"], {"steps_lr": -1}), ([], {})]
)
def test_wrong_settings(presets, changes):
    with pytest.raises(UsageError):
        settings_of(presets, **changes)


def test_folder_that_is_not_one(tmp_path):
    with pytest.raises(UsageError, match="nowhere: cannot be listed"):
        evaluate_folder(tmp_path / "nowhere", hcd.load("bicubic-x4"), settings_of(["plain"]))
    with pytest.raises(UsageError, match="holds no picture"):
        evaluate_folder(tmp_path, hcd.load("bicubic-x4"), settings_of(["plain"]))


def test_metrics_are_those_of_the_file_not_of_the_solver(folder, tiny_irn):
    """A network's LR leaves [0, 1] and lies between the levels; only the rounded one may be measured."""
    model = tiny_irn(4)
    report = evaluate_folder(folder, model, settings_of(["plain"]))
    picture = cropped(read_picture(folder / "eye.png"), 4)
    with torch.no_grad():
        restored = hcd.quantize(model.upscale(hcd.quantize(model.downscale(picture.rgb))))
        unrounded = model.upscale(model.downscale(picture.rgb))
    psnr = hcd.psnr(restored, picture.rgb, border=4)
    assert report.rows[0].psnr_y == pytest.approx(psnr, abs=1e-6)
    assert psnr != pytest.approx(hcd.psnr(unrounded, picture.rgb, border=4), abs=1e-6)
