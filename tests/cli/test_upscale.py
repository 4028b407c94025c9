"""``hcd upscale``: LR files back to large pictures, and what it says of files that cannot be."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import pytest

from hcd import memory
from hcd.image import encode, read_lr, read_picture
from tests.cli.checks import assert_one_line, files_in, objects


def with_metadata(path, **fields):
    """Rewrite an LR file with some of its metadata changed."""
    picture, info = read_lr(path)
    text = json.dumps({"version": 1, **asdict(info), **fields})
    path.write_bytes(encode(picture, path.suffix, comment=("hcd", text)))


def without_metadata(path):
    path.write_bytes(encode(read_picture(path), path.suffix))


def assert_refused(hcd, path, tmp_path, *parts):
    """One line, exit code 1, nothing written."""
    result = hcd("upscale", path, "-o", tmp_path / "out" / "big.png")
    assert_one_line(result, 1, path, *parts)
    assert result.stdout == ""
    assert files_in(tmp_path / "out") == []


def test_the_model_is_found(hcd, lr_file, tmp_path):
    result = hcd("upscale", lr_file, "-o", tmp_path / "big.png")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "24×20" in result.stdout
    restored = read_picture(tmp_path / "big.png")
    assert (restored.width, restored.height) == (24, 20)
    difference = restored.rgb - read_picture(tmp_path / "photo.png").rgb
    assert difference.abs().mean() < 0.05


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".bmp", ".jpg", ".PNG"])
def test_the_suffix_decides_the_format(hcd, lr_file, tmp_path, suffix):
    assert hcd("upscale", lr_file, "-o", tmp_path / f"big{suffix}").exit_code == 0
    assert read_picture(tmp_path / f"big{suffix}").width == 24


def test_a_folder_of_lr_files(hcd, lr_file, photo_file, tmp_path):
    result = hcd("upscale", lr_file.parent, photo_file("b.png"), "-o", tmp_path / "out", "--model", "bicubic-x2")
    assert result.exit_code == 0
    assert files_in(tmp_path / "out") == ["b.png", "photo.png"]


def test_json_lines(hcd, lr_file, tmp_path):
    (facts,) = objects(hcd("upscale", lr_file, "-o", tmp_path / "big.png", "--json").stdout)
    assert set(facts) == {"input", "output", "width", "height", "seconds"}
    assert (facts["input"], facts["output"]) == (str(lr_file), str(tmp_path / "big.png"))
    assert (facts["width"], facts["height"]) == (24, 20)


def test_truncated_png(hcd, lr_file, tmp_path):
    lr_file.write_bytes(lr_file.read_bytes()[:-40])
    assert_refused(hcd, lr_file, tmp_path, "damaged or truncated")


def test_text_renamed_to_png(hcd, lr_file, tmp_path):
    lr_file.write_text("This is a letter.\nIt has two lines.\n")
    assert_refused(hcd, lr_file, tmp_path, "not a picture")


def test_missing_file(hcd, tmp_path):
    assert_refused(hcd, tmp_path / "nowhere.png", tmp_path, "no such file")


def test_one_pixel(hcd, photo_file, tmp_path):
    dot = photo_file("dot.png", width=1, height=1)
    assert_refused(hcd, dot, tmp_path, "has no hcd metadata", "--model")
    assert hcd("upscale", dot, "-o", tmp_path / "big.png", "--model", "bicubic-x4").exit_code == 0
    assert read_picture(tmp_path / "big.png").rgb.shape == (1, 3, 4, 4)


def test_no_metadata(hcd, lr_file, tmp_path):
    without_metadata(lr_file)
    assert_refused(hcd, lr_file, tmp_path, "has no hcd metadata", "--model")
    assert hcd("upscale", lr_file, "-o", tmp_path / "big.png", "--model", "bicubic-x2").exit_code == 0


def test_model_that_is_not_there(hcd, lr_file, tmp_path):
    with_metadata(lr_file, model="irn-x3")
    assert_refused(hcd, lr_file, tmp_path, "'irn-x3'", "not installed", "--model")
    assert hcd("upscale", lr_file, "-o", tmp_path / "big.png", "--model", "bicubic-x2").exit_code == 0


def test_weights_that_are_not_there(hcd, lr_file, tmp_path):
    with_metadata(lr_file, model="irn-x2", weights="0" * 16)
    assert_refused(hcd, lr_file, tmp_path, "0" * 16, "--weights")


def test_damaged_metadata(hcd, lr_file, tmp_path):
    with_metadata(lr_file, scale="two")
    assert_refused(hcd, lr_file, tmp_path, "metadata are damaged", "--model")


def test_later_version(hcd, lr_file, tmp_path):
    with_metadata(lr_file, version=2)
    assert_refused(hcd, lr_file, tmp_path, "later hcd")


def test_resized_by_another_program(hcd, lr_file, tmp_path):
    with_metadata(lr_file, width=240)
    assert_refused(hcd, lr_file, tmp_path, "resized", "--model")


def test_unwritable_folder(hcd, lr_file, tmp_path):
    # Below a regular file: not even root can write there.
    (tmp_path / "file").write_bytes(b"kept")
    result = hcd("upscale", lr_file, "-o", tmp_path / "file" / "big.png")
    assert_one_line(result, 1, tmp_path / "file" / "big.png", "cannot be written")
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_output_that_is_a_broken_link_target(hcd, lr_file, tmp_path):
    target = tmp_path / "big.png"
    target.symlink_to(tmp_path / "missing" / "folder" / "big.png")
    assert hcd("upscale", lr_file, "-o", target).exit_code == 0
    assert read_picture(target).width == 24


def test_bad_file_among_good_ones(hcd, lr_file, tmp_path):
    (tmp_path / "bad.lr.png").write_bytes(lr_file.read_bytes()[:60])
    other = tmp_path / "other.lr.png"
    other.write_bytes(lr_file.read_bytes())
    result = hcd("upscale", lr_file, tmp_path / "bad.lr.png", other, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert files_in(tmp_path / "out") == ["other.png", "photo.png"]
    first, last = result.stderr.splitlines()
    assert str(tmp_path / "bad.lr.png") in first
    assert last == "1 of 3 inputs failed; the others are done"


def test_output_onto_input(hcd, lr_file):
    before = lr_file.read_bytes()
    assert_one_line(hcd("upscale", lr_file, "-o", lr_file), 2, lr_file)
    assert lr_file.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--model", "bicubic-x3"), ("Did you mean 'bicubic-x4'?",)),
        (("--weights", "file.pth"), ("file.pth", "no such weights file")),
        (("--device", "gpu"), ("device 'gpu'",)),
    ],
)
def test_value_that_cannot_be_used(hcd, lr_file, tmp_path, arguments, parts):
    assert_one_line(hcd("upscale", lr_file, "-o", tmp_path / "big.png", *arguments), 2, *parts)
    assert not (tmp_path / "big.png").exists()


def test_gray_picture_with_alpha_to_a_format_without(hcd, lr_file, tmp_path):
    picture, info = read_lr(lr_file)
    with_alpha = type(picture)(rgb=picture.rgb, alpha=picture.rgb[:, :1])
    text = json.dumps({"version": 1, **asdict(info), "gray": True})
    lr_file.write_bytes(encode(with_alpha, ".png", comment=("hcd", text)))
    result = hcd("upscale", lr_file, "-o", tmp_path / "big.bmp")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(f"Warning: {lr_file}: {tmp_path / 'big.bmp'}: its transparency is left out")
    assert len(result.stderr.splitlines()) == 1
    assert read_picture(tmp_path / "big.bmp").width == 24


@pytest.fixture
def larger_lr_file(tmp_path, hcd, photo_file):
    """An LR file whose original has 400×320 pixels, made by bicubic-x2."""
    path = tmp_path / "small" / "large.lr.png"
    source = photo_file("large.png", width=400, height=320)
    assert hcd("downscale", source, "-o", path, "--model", "bicubic-x2", "--preset", "plain").exit_code == 0
    return path


def test_too_little_memory_names_the_least(hcd, larger_lr_file, tmp_path):
    result = hcd("upscale", larger_lr_file, "-o", tmp_path / "big.png", "--memory", "10MiB")
    assert_one_line(result, 1, larger_lr_file, "400×320 pixels do not fit")
    assert not (tmp_path / "big.png").exists()
    least = re.search(r"allow at least ([\d.]+) ?GiB", result.stderr)[1]
    result = hcd("upscale", larger_lr_file, "-o", tmp_path / "big.png", "--memory", f"{least}GiB")
    assert result.exit_code == 0, result.output
    assert read_picture(tmp_path / "big.png").width == 400


def test_little_memory_changes_no_pixel_by_more_than_rounding(hcd, larger_lr_file, tmp_path, monkeypatch):
    assert hcd("upscale", larger_lr_file, "-o", tmp_path / "whole.png").exit_code == 0
    # What is kept of the picture, and less than the whole.
    small = memory._FRAGMENTATION + 36 * 400 * 320 + 2**20
    monkeypatch.setattr(memory, "_spare", lambda device, limit: small)
    tiles = []
    tiled = memory.TiledRescaler
    monkeypatch.setattr(memory, "TiledRescaler", lambda *args, **more: tiles.append(1) or tiled(*args, **more))
    assert hcd("upscale", larger_lr_file, "-o", tmp_path / "tiled.png").exit_code == 0
    assert tiles == [1]
    change = read_picture(tmp_path / "tiled.png").rgb - read_picture(tmp_path / "whole.png").rgb
    assert (change * 255).round().abs().max() <= 1


def test_memory_that_is_no_size(hcd, lr_file, tmp_path):
    result = hcd("upscale", lr_file, "-o", tmp_path / "big.png", "--memory", "much")
    assert result.exit_code == 2
    assert "is not a size" in result.stderr
    assert not (tmp_path / "big.png").exists()


def test_suffix_that_is_not_written_is_refused_before_the_work(hcd, lr_file, tmp_path):
    result = hcd("upscale", lr_file, "-o", tmp_path / "big.heic")
    assert_one_line(result, 2, ".heic", "Known: ")
    assert not (tmp_path / "big.heic").exists()


@pytest.mark.parametrize("depth", ["8", "16"])
def test_depth_of_the_result(hcd, lr_file, tmp_path, depth):
    assert hcd("upscale", lr_file, "-o", tmp_path / "big.png", "--depth", depth).exit_code == 0
    assert read_picture(tmp_path / "big.png").depth == int(depth)


def test_claims_of_a_giant_original(hcd, lr_file, tmp_path):
    with_metadata(lr_file, width=10**9, height=10**9, scale=10**8)
    assert_refused(hcd, lr_file, tmp_path, "1000000000×1000000000 pixels", "--max-pixels", "--model")
    result = hcd("upscale", lr_file, "-o", tmp_path / "big.png", "--model", "bicubic-x2", "--max-pixels", "479")
    assert_one_line(result, 1, lr_file, "would become 24×20 pixels")


@pytest.mark.parametrize("model", ["../../etc/passwd", "spandrel:/etc/passwd", "a\nb"])
def test_model_that_is_a_path(hcd, lr_file, tmp_path, model):
    with_metadata(lr_file, model=model)
    assert_refused(hcd, lr_file, tmp_path, "--model")
