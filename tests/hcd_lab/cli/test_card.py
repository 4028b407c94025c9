"""``hcd card``: the card and the figures of a weights file."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from hcd_lab.train import Patches, picture_files, train
from tests.cli.checks import assert_one_line, files_in
from tests.hcd_lab.train.tiny import TINY

MEANS = {"psnr_y": 41.256, "ssim_y": 0.98765, "psnr_rgb": 39.0, "lr_psnr": 45.0}


@pytest.fixture
def weights(photo_file, tmp_path):
    """What a tiny run leaves behind, alone in a folder."""
    data = photo_file("data/a.png").parent
    path = train(TINY, Patches(picture_files([data]), scale=2, smallest=16), tmp_path / "run")
    (tmp_path / "run" / "tiny.checkpoint.pt").unlink()
    return path


def result_file(path, mean):
    path.write_text(json.dumps({"model": "tiny", "scale": 2, "rows": [], "mean": mean}), "utf-8")
    return path


def test_card_alone(hcd, weights):
    result = hcd("card", weights)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"card: {weights.with_suffix('.md')}\n"
    assert files_in(weights.parent) == ["tiny.md", "tiny.safetensors"]
    assert weights.with_suffix(".md").read_text("utf-8").startswith("# tiny\n")


def test_card_with_figures(hcd, weights, tmp_path):
    """Presets of one set may come from several files."""
    plain = result_file(tmp_path / "plain.json", {"plain": MEANS})
    balanced = result_file(tmp_path / "balanced.json", {"balanced": {**MEANS, "psnr_y": 42.0}})
    other = result_file(tmp_path / "other.json", {"plain": {**MEANS, "psnr_y": 30.0}})
    results = ("--result", "Set5", plain, "--result", "Set14", other, "--result", "Set5", balanced)
    result = hcd("card", weights, *results, "--note", "Of two pictures.")
    assert result.exit_code == 0, result.output
    assert files_in(weights.parent) == ["tiny.figures.json", "tiny.md", "tiny.safetensors"]
    assert f"metrics: {weights.with_suffix('.figures.json')}" in result.stdout
    figures = json.loads(weights.with_suffix(".figures.json").read_text("utf-8"))
    assert figures["Set5"] == {"plain": MEANS, "balanced": {**MEANS, "psnr_y": 42.0}}
    assert figures["Set14"]["plain"]["psnr_y"] == 30.0
    card = weights.with_suffix(".md").read_text("utf-8")
    assert "Of two pictures." in card
    assert "| Set5 | 41.26 / 0.9877 | 42.00 / 0.9877 |" in card
    assert "| Set14 | 30.00 / 0.9877 | not measured |" in card


def test_card_takes_what_evaluate_writes(hcd, weights, photo_file, tmp_path):
    pictures = photo_file("set/a.png").parent
    measured = hcd(
        "evaluate", pictures, "--model", "irn-x2", "--weights", weights, "--presets", "plain", "--json", tmp_path / "r"
    )
    assert measured.exit_code == 0, measured.output
    assert hcd("card", weights, "--result", "Mine", tmp_path / "r").exit_code == 0
    mean = json.loads((tmp_path / "r").read_text("utf-8"))["mean"]["plain"]
    card = weights.with_suffix(".md").read_text("utf-8")
    assert f"| Mine | {mean['psnr_y']:.2f} / {mean['ssim_y']:.4f} | {mean['lr_psnr']:.1f} |" in card


def test_card_is_written_anew(hcd, weights):
    weights.with_suffix(".md").write_text("old", "utf-8")
    hcd("card", weights)
    assert "old" not in weights.with_suffix(".md").read_text("utf-8")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"mean": 3}', '{"mean": [1]}', "\x00"])
def test_result_that_is_none(hcd, weights, tmp_path, content):
    (tmp_path / "r.json").write_text(content, "utf-8")
    result = hcd("card", weights, "--result", "Set5", tmp_path / "r.json")
    assert_one_line(result, 2, tmp_path / "r.json", "not a result of 'hcd evaluate --json'")
    assert files_in(weights.parent) == ["tiny.safetensors"]


def test_result_that_is_not_there(hcd, weights, tmp_path):
    result = hcd("card", weights, "--result", "Set5", tmp_path / "r.json")
    assert_one_line(result, 2, tmp_path / "r.json", "not a result of 'hcd evaluate --json'")


def test_file_of_somebody_else(hcd, tmp_path):
    foreign = tmp_path / "foreign" / "weights.safetensors"
    foreign.parent.mkdir()
    save_file({"weight": torch.zeros(2, 2)}, foreign, metadata={"format": "pt"})
    assert_one_line(hcd("card", foreign), 2, foreign, "has no metadata of its training")
    assert files_in(foreign.parent) == ["weights.safetensors"]


def test_file_that_is_not_there(hcd, tmp_path):
    assert_one_line(hcd("card", tmp_path / "none.safetensors"), 2, tmp_path / "none.safetensors")
