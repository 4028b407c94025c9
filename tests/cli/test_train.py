"""``hcd train``: a tiny recipe from the command line."""

from __future__ import annotations

import importlib

import pytest

import hcd as package
from hcd.train import Recipe
from tests.cli.checks import assert_one_line, files_in


@pytest.fixture
def tiny(monkeypatch):
    recipe = Recipe(name="tiny", blocks=(1,), steps=2, patch=16, batch=1)
    monkeypatch.setattr(importlib.import_module("hcd.train"), "get_recipe", lambda name: recipe)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("limit", [(), ("--time-limit", "0")])
def test_weights_are_left_behind(hcd, photo_file, tmp_path, limit):
    data = photo_file("data/a.png").parent
    result = hcd("train", "tiny", "--data", data, "-o", tmp_path / "run", *limit)
    assert result.exit_code == 0, result.output
    assert "tiny: 1 pictures, 2 steps" in result.stdout
    assert f"weights: {tmp_path / 'run' / 'tiny.safetensors'}" in result.stdout
    assert result.stderr == ""
    assert package.load("irn-x2", weights=tmp_path / "run" / "tiny.safetensors").latent == "zeros"


def test_unknown_recipe(hcd, tmp_path):
    result = hcd("train", "irn-x4-smal", "--data", tmp_path, "-o", tmp_path / "run")
    assert_one_line(result, 2, "Did you mean 'irn-x4-small'?")


@pytest.mark.usefixtures("tiny")
def test_folder_without_pictures(hcd, tmp_path):
    (tmp_path / "data").mkdir()
    result = hcd("train", "tiny", "--data", tmp_path / "data", "-o", tmp_path / "run")
    assert_one_line(result, 1, tmp_path / "data", "no picture")
    assert files_in(tmp_path / "run") == []


@pytest.mark.usefixtures("tiny")
def test_damaged_picture_is_named(hcd, photo_file, tmp_path):
    data = photo_file("data/a.png").parent
    (data / "b.png").write_text("not a picture")
    assert_one_line(hcd("train", "tiny", "--data", data, "-o", tmp_path / "run"), 1, data / "b.png")


def test_data_is_required(hcd, tmp_path):
    assert hcd("train", "irn-x4-small", "-o", tmp_path / "run").exit_code == 2
