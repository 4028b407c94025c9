"""``hcd compare`` and ``hcd demo``."""

from __future__ import annotations

import json
import sys

import pytest

from tests.cli.checks import assert_one_line, files_in

FAST = ("--model", "bicubic-x2", "--preset", "fast")


def test_page_and_pictures_are_written(hcd, photo_file, tmp_path):
    result = hcd("compare", photo_file(), "-o", tmp_path / "page", *FAST)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "fast against plain: +" in result.stdout
    assert "index.html" in files_in(tmp_path / "page")


def test_json(hcd, photo_file, tmp_path):
    result = hcd("compare", photo_file(), "-o", tmp_path / "page", *FAST, "--set", "steps_lr=3", "--json")
    report = json.loads(result.stdout)
    assert report["page"] == str(tmp_path / "page" / "index.html")
    assert [entry["preset"] for entry in report["presets"]] == ["plain", "fast"]
    assert [entry["grad_evals"] for entry in report["presets"]] == [0, 3]


def test_perfect_restoration_needs_no_nan(hcd, photo_file, tmp_path):
    result = hcd("compare", photo_file(width=1, height=1), "-o", tmp_path / "page", *FAST)
    assert result.exit_code == 0
    assert "nan" not in result.stdout
    assert "nan" not in (tmp_path / "page" / "index.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--preset", "plain"), ("nothing to compare",)),
        (("--preset", "fsat"), ("Did you mean 'fast'?",)),
        (("--model", "bicubic-x3"), ("Did you mean 'bicubic-x4'?",)),
    ],
)
def test_value_that_cannot_be_used(hcd, photo_file, tmp_path, arguments, parts):
    arguments = ("--model", "bicubic-x2", *arguments)
    assert_one_line(hcd("compare", photo_file(), "-o", tmp_path / "page", *arguments), 2, *parts)
    assert not (tmp_path / "page").exists()


def test_damaged_picture(hcd, photo_file, tmp_path):
    source = photo_file()
    source.write_text("not a picture")
    assert_one_line(hcd("compare", source, "-o", tmp_path / "page", *FAST), 1, source)
    assert not (tmp_path / "page").exists()


def test_unwritable_folder(hcd, photo_file, tmp_path):
    (tmp_path / "file").touch()
    result = hcd("compare", photo_file(), "-o", tmp_path / "file", *FAST)
    assert_one_line(result, 1, tmp_path / "file", "cannot be written")


def test_demo_goes_the_whole_way(hcd, tmp_path):
    result = hcd("demo", "-o", tmp_path / "demo", "--model", "bicubic-x4")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert "hcd upscale" in result.stdout
    restored = tmp_path / "back.png"
    assert hcd("upscale", tmp_path / "demo" / "balanced.lr.png", "-o", restored).exit_code == 0
    assert restored.read_bytes() == (tmp_path / "demo" / "balanced.png").read_bytes()


def test_demo_without_its_extra(hcd, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    assert_one_line(
        hcd("demo", "-o", tmp_path / "demo", "--model", "bicubic-x4"), 2, "'skimage'", "pip install 'hcd[demo]'"
    )
