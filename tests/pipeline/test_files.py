"""Files in, files out: ``hcd.downscale_file`` and ``hcd.upscale_file``."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from PIL import Image

import hcd
from hcd.errors import ImageError, MetadataError, ModelError, OutputError, UsageError
from hcd.image import encode, read_lr, read_picture

BICUBIC = {"model": "bicubic-x2", "preset": "plain"}


@pytest.fixture
def photo(tmp_path, make_picture):
    """A picture file of 41×30 pixels, with resolution and transparency."""
    path = tmp_path / "photo.png"
    path.write_bytes(encode(dataclasses.replace(make_picture(30, 41, alpha=True), dpi=(300, 300)), ".png"))
    return path


def test_there_and_back(tmp_path, photo):
    small, big = tmp_path / "photo.lr.png", tmp_path / "big.webp"
    done = hcd.downscale_file(photo, small, model="bicubic-x2", preset="fast")
    assert (done.source, done.path, done.model) == (photo, small, "bicubic-x2")
    assert (done.hr_width, done.hr_height, done.width, done.height) == (41, 30, 21, 15)
    assert done.lr_bytes == small.stat().st_size
    assert done.psnr > done.plain_psnr
    assert done.grad_evals == hcd.PRESETS["fast"].evaluations
    assert done.warnings == ()
    back = hcd.upscale_file(str(small), str(big))
    assert (back.source, back.path, back.width, back.height, back.warnings) == (small, big, 41, 30, ())
    restored = read_picture(big)
    assert restored.alpha is not None
    assert restored.dpi is None or restored.dpi == pytest.approx((300, 300), abs=1)


def test_records_are_frozen(tmp_path, photo):
    done = hcd.downscale_file(photo, tmp_path / "a.png", **BICUBIC)
    with pytest.raises(dataclasses.FrozenInstanceError):
        done.psnr = 99.0
    assert done.psnr is None


def test_a_loaded_model_and_settings(tmp_path, photo):
    model, settings = hcd.load("bicubic-x2"), hcd.PRESETS["fast"].replace(steps_lr=2)
    by_object = hcd.downscale_file(photo, tmp_path / "a.png", model=model, preset=settings)
    by_name = hcd.downscale_file(photo, tmp_path / "b.png", model="bicubic-x2", preset="fast", steps_lr=2)
    assert by_object.grad_evals == by_name.grad_evals == 2
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    for name, chosen in (("c", model), ("d", "bicubic-x2"), ("e", None)):
        hcd.upscale_file(tmp_path / "a.png", tmp_path / f"{name}.png", model=chosen)
    assert len({(tmp_path / f"{name}.png").read_bytes() for name in "cde"}) == 1


def test_progress_is_handed_on(tmp_path, photo):
    seen = []
    hcd.downscale_file(photo, tmp_path / "a.png", model="bicubic-x2", preset="fast", on_evaluation=seen.append)
    assert [entry.step for entry in seen] == list(range(1, hcd.PRESETS["fast"].evaluations + 1))


@pytest.mark.parametrize(("format", "suffix"), [(None, ".png"), ("webp", ".webp"), ("jpeg", ".jpg"), ("avif", ".avif")])
def test_a_folder_as_target(tmp_path, make_picture, format, suffix):
    source, folder = tmp_path / "photo.png", tmp_path / "out"
    source.write_bytes(encode(make_picture(20, 20), ".png"))
    folder.mkdir()
    done = hcd.downscale_file(source, folder, format=format, **BICUBIC)
    assert done.path == folder / f"photo.lr{suffix}"
    back = hcd.upscale_file(done.path, folder, format=format)
    assert back.path == folder / f"photo{suffix}"
    with Image.open(done.path) as small, Image.open(back.path) as big:
        assert small.format == big.format


def test_quality_decides_the_size(tmp_path, make_picture):
    source = tmp_path / "photo.png"
    source.write_bytes(encode(make_picture(64, 64), ".png"))
    for suffix in (".jpg", ".webp", ".avif"):
        sizes, big = [], []
        for quality in (20, 90):
            small, out = tmp_path / f"{quality}.lr{suffix}", tmp_path / f"{quality}{suffix}"
            sizes.append(hcd.downscale_file(source, small, quality=quality, **BICUBIC).lr_bytes)
            hcd.upscale_file(small, out, quality=quality)
            big.append(out.stat().st_size)
        assert sizes[0] < sizes[1]
        assert big[0] < big[1]


def test_sixteen_bits(tmp_path, photo):
    small = tmp_path / "small.png"
    hcd.downscale_file(photo, small, depth=16, **BICUBIC)
    assert read_lr(small)[1].depth == 16
    hcd.upscale_file(small, tmp_path / "big.png")
    assert read_picture(tmp_path / "big.png").depth == 16


def test_what_a_file_cannot_hold_is_in_the_record(tmp_path, photo):
    heard = []
    hcd.downscale_file(photo, tmp_path / "small.png", **BICUBIC)
    done = hcd.upscale_file(tmp_path / "small.png", tmp_path / "big.jpg", on_warning=heard.append)
    assert heard == list(done.warnings)
    assert "transparency is left out" in heard[0]
    frames = [Image.new("RGB", (24, 20), (value, 0, 0)) for value in (10, 200)]
    frames[0].save(tmp_path / "moves.png", save_all=True, append_images=frames[1:])
    done = hcd.downscale_file(tmp_path / "moves.png", tmp_path / "a.png", on_warning=heard.append, **BICUBIC)
    assert "more than one picture" in done.warnings[0]
    assert heard[-1] == done.warnings[0]


@pytest.mark.parametrize(
    ("error", "told", "options"),
    [
        (UsageError, "an LR file is .png, .webp, .jpg or .avif", {"target": "a.tif"}),
        (UsageError, "PNG is lossless", {"quality": 50}),
        (UsageError, "quality 0: out of range", {"target": "a.jpg", "quality": 0}),
        (UsageError, "is not the name of a jpeg file", {"format": "jpeg"}),
        (UsageError, r"unknown format 'jpg'.*Did you mean 'jpeg'", {"format": "jpg"}),
        (UsageError, "only PNG", {"target": "a.webp", "depth": 16}),
        (UsageError, "depth 12", {"depth": 12}),
        (UsageError, "overwritten by its own result", {"target": "photo.png"}),
        (UsageError, r"unknown preset 'fsat'", {"preset": "fsat"}),
        (UsageError, r"unknown setting 'step_lr'", {"step_lr": 3}),
        (ModelError, r"unknown model 'bicubic-x3'", {"model": "bicubic-x3"}),
        (OutputError, "transparency", {"target": "a.jpg"}),
        (ImageError, "no such file", {"source": "nowhere.png"}),
        (ImageError, "--max-pixels", {"max_pixels": 100}),
        (OutputError, "cannot be written", {"target": "photo.png/a.png"}),
    ],
)
def test_errors_of_downscaling(tmp_path, photo, error, told, options):
    before = photo.read_bytes()
    options = {**BICUBIC, "source": "photo.png", "target": "a.png", **options}
    source, target = (tmp_path / options.pop(name) for name in ("source", "target"))
    with pytest.raises(error, match=told):
        hcd.downscale_file(source, target, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
    assert photo.read_bytes() == before


@pytest.mark.parametrize(
    ("error", "told", "options"),
    [
        (UsageError, "unknown picture suffix", {"target": "a.heic"}),
        (UsageError, "is lossless and has no quality", {"quality": 50}),
        (UsageError, "is not the name of a jpeg file", {"format": "jpeg"}),
        (UsageError, "only PNG", {"target": "a.jpg", "depth": 16}),
        (UsageError, "overwritten by its own result", {"target": "photo.png", "model": "bicubic-x2"}),
        (MetadataError, "has no hcd metadata", {}),
        (ModelError, r"unknown model 'bicubic-x3'", {"model": "bicubic-x3"}),
    ],
)
def test_errors_of_upscaling(tmp_path, photo, error, told, options):
    options = {"target": "a.png", **options}
    target = tmp_path / options.pop("target")
    with pytest.raises(error, match=told):
        hcd.upscale_file(photo, target, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_weights_are_for_names(tmp_path, photo):
    model = hcd.load("bicubic-x2")
    with pytest.raises(UsageError, match="'bicubic-x2' is loaded already"):
        hcd.downscale_file(photo, tmp_path / "a.png", model=model, weights="w.pth")
    (tmp_path / "w.pth").touch()
    with pytest.raises(UsageError, match="'bicubic-x2' is loaded already"):
        hcd.upscale_file(photo, tmp_path / "a.png", model=model, weights=tmp_path / "w.pth")


def test_a_model_of_your_own_reads_what_it_wrote(tmp_path, photo, tiny_irn):
    """A name that is in no registry: the file says which, and the model is handed over."""
    model = tiny_irn(2)
    hcd.downscale_file(photo, tmp_path / "a.png", model=model, preset="plain")
    with pytest.raises(ModelError, match="'tiny-irn-x2', which is not installed"):
        hcd.upscale_file(tmp_path / "a.png", tmp_path / "b.png")
    hcd.upscale_file(tmp_path / "a.png", tmp_path / "b.png", model=model)
    lr = read_lr(tmp_path / "a.png")[0].rgb
    with torch.no_grad():
        expected = hcd.quantize(model.upscale(lr))[..., :30, :41]
    assert torch.equal(read_picture(tmp_path / "b.png").rgb, expected)
