"""``hcd models``: what can be loaded."""

from __future__ import annotations

import pytest

from hcd.zoo import model_entries, registry
from tests.cli.checks import assert_one_line, objects
from tests.zoo.packages import make_package


def test_every_model_is_listed(hcd):
    result = hcd("models")
    assert result.exit_code == 0
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert names == [*(entry.name for entry in model_entries()), "spandrel:FILE"]


@pytest.mark.parametrize("name", [entry.name for entry in model_entries() if entry.weights_file is not None])
def test_shipped_weights_show_their_measured_metrics(hcd, name):
    """The same values as in the card."""
    line = next(line for line in hcd("models").stdout.splitlines() if line.startswith(f"{name} "))
    metrics = registry.get_entry(name).metrics
    assert set(metrics) == {"Set5", "Set14", "BSD100"}
    card = registry.get_entry(name).card.read_text("utf-8")
    for place, means in metrics.items():
        assert f"{place} {means['plain']['psnr_y']:.2f}" in line
        assert f"| {place} | {means['plain']['psnr_y']:.2f} / {means['plain']['ssim_y']:.4f} |" in card


def test_json_lines(hcd):
    models = objects(hcd("models", "--json").stdout)
    assert [model["name"] for model in models] == [entry.name for entry in model_entries()]
    assert all(set(model) == {"name", "scale", "weights", "state"} for model in models)
    assert {"name": "bicubic-x4", "scale": 4, "weights": "", "state": "needs no weights"} in models


def test_models_of_other_packages_are_listed_without_their_code(hcd, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(make_package(tmp_path, "broken", "broken-x3 = broken:fails", "gone-x2 = nowhere:f"))
    result = hcd("models")
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()[-3:-1]] == [
        ["broken-x3", "from", "broken", "1.0"],
        ["gone-x2", "from", "broken", "1.0"],
    ]
    assert objects(hcd("models", "--json").stdout)[-1] == {
        "name": "gone-x2",
        "scale": None,
        "weights": "",
        "state": "from broken 1.0",
    }


def test_card_is_printed(hcd, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_WEIGHTS_FOLDERS", (tmp_path,))
    (tmp_path / "irn-x4-small.md").write_text("# irn-x4-small\n\nA card – with ×4.\n", "utf-8")
    assert hcd("models", "irn-x4-small").stdout == "# irn-x4-small\n\nA card – with ×4.\n"


def test_weights_that_are_not_installed(hcd, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_WEIGHTS_FOLDERS", (tmp_path,))
    assert "pip install 'hcd[weights]'" in hcd("models").stdout
    assert_one_line(hcd("models", "irn-x4"), 2, "irn-x4: its weights are in the package hcd-weights")


def test_model_without_a_card(hcd):
    assert_one_line(hcd("models", "bicubic-x2"), 2, "bicubic-x2", "no card")


@pytest.mark.parametrize(("given", "meant"), [("irnx4", "irn-x4"), ("bicubic-4", "bicubic-x4")])
def test_unknown_model(hcd, given, meant):
    assert_one_line(hcd("models", given), 2, f"Did you mean '{meant}'?")
