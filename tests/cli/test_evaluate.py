"""``hcd evaluate``: the figures as a table and as JSON."""

from __future__ import annotations

import json

import pytest

from tests.cli.checks import assert_one_line

FIGURES = {"psnr_y", "ssim_y", "psnr_rgb", "lr_psnr", "lr_bytes", "grad_evals", "seconds"}


@pytest.fixture
def folder(photo_file):
    """A folder of two pictures."""
    photo_file("set/a.png", width=40, height=32, seed=1)
    return photo_file("set/b.png", width=33, height=35, seed=2).parent


def test_json_has_the_published_structure(hcd, folder, tmp_path):
    out = tmp_path / "figures.json"
    result = hcd("evaluate", folder, "--model", "bicubic-x2", "--presets", "plain, fast", "--json", out)
    assert result.exit_code == 0
    assert result.stderr == ""
    report = json.loads(out.read_text())
    assert set(report) == {"model", "scale", "rows", "mean", "failed"}
    assert (report["model"], report["scale"], report["failed"]) == ("bicubic-x2", 2, [])
    assert [(row["image"], row["preset"]) for row in report["rows"]] == [
        *(("a.png", preset) for preset in ("plain", "fast")),
        *(("b.png", preset) for preset in ("plain", "fast")),
    ]
    assert all(set(row) == {"image", "preset"} | FIGURES for row in report["rows"])
    assert list(report["mean"]) == ["plain", "fast"]
    assert all(set(mean) == FIGURES for mean in report["mean"].values())
    # The plain LR of the bicubic rescaler is the bicubic LR: no finite PSNR, and JSON has no infinity.
    assert report["mean"]["plain"]["lr_psnr"] is None
    assert report["mean"]["fast"]["psnr_y"] > report["mean"]["plain"]["psnr_y"]


def test_table_and_rows_are_printed(hcd, folder):
    result = hcd("evaluate", folder, "--model", "bicubic-x2", "--presets", "plain")
    assert result.exit_code == 0
    assert [line.split()[:2] for line in result.stdout.splitlines()[:2]] == [["a.png", "plain"], ["b.png", "plain"]]
    assert "mean of 2 pictures" in result.stdout
    assert "\x1b" not in result.stdout


def test_bad_pictures_are_named_and_the_others_measured(hcd, folder, photo_file, tmp_path):
    (folder / "c.png").write_text("not a picture")
    photo_file("set/d.png", width=5, height=5)
    out = tmp_path / "figures.json"
    result = hcd("evaluate", folder, "--model", "bicubic-x2", "--presets", "plain", "--json", out)
    assert result.exit_code == 1
    broken, small = result.stderr.splitlines()
    assert str(folder / "c.png") in broken
    assert "too small" in small
    report = json.loads(out.read_text())
    assert [row["image"] for row in report["rows"]] == ["a.png", "b.png"]
    assert [entry["image"] for entry in report["failed"]] == ["c.png", "d.png"]


def test_settings_leave_plain_alone(hcd, folder, tmp_path):
    out = tmp_path / "figures.json"
    arguments = ("--model", "bicubic-x2", "--presets", "plain,fast", "--set", "steps_lr=2", "--json", out)
    assert hcd("evaluate", folder, *arguments).exit_code == 0
    assert [row["grad_evals"] for row in json.loads(out.read_text())["rows"]] == [0, 2, 0, 2]


def test_unwritable_json_costs_no_figures(hcd, folder, tmp_path):
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "figures.json"
    result = hcd("evaluate", folder, "--model", "bicubic-x2", "--presets", "plain", "--json", target)
    assert_one_line(result, 1, target, "cannot be written")
    assert "mean of 2 pictures" in result.stdout


@pytest.mark.parametrize("presets", ["", ",", " , "])
def test_no_preset_at_all(hcd, folder, presets):
    assert_one_line(hcd("evaluate", folder, "--model", "bicubic-x2", "--presets", presets), 2, "preset")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--presets", "plain,fsat"), ("Did you mean 'fast'?",)),
        (("--model", "bicubic-x3"), ("Did you mean 'bicubic-x4'?",)),
        (("--set", "steps_lr=-1"), ("steps_lr -1",)),
    ],
)
def test_value_that_cannot_be_used(hcd, folder, arguments, parts):
    assert_one_line(hcd("evaluate", folder, "--model", "bicubic-x2", *arguments), 2, *parts)


def test_folder_that_is_not_one(hcd, photo_file, tmp_path):
    bicubic = ("--model", "bicubic-x2")
    assert_one_line(hcd("evaluate", tmp_path / "nowhere", *bicubic), 2, tmp_path / "nowhere")
    assert_one_line(hcd("evaluate", photo_file("only.png"), *bicubic), 2, tmp_path / "only.png")
    (tmp_path / "empty").mkdir()
    assert_one_line(hcd("evaluate", tmp_path / "empty", *bicubic), 2, tmp_path / "empty", "no picture")
