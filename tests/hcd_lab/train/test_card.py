"""Model cards: what they say of a weights file, and what they do with files that say nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from hcd.errors import WeightsError
from hcd.zoo import read_metadata
from hcd_lab.train import Phase, render_card, train
from tests.hcd_lab.train.tiny import TINY

MEANS = {"psnr_y": 36.19, "ssim_y": 0.9451, "lr_psnr": 44.444, "psnr_rgb": 34.0}


@pytest.fixture(scope="module")
def weights(tmp_path_factory, patches):
    """A file that a tiny run of two phases left behind."""
    phases = (Phase(share=0.5, batch=2, patch=16), Phase(share=0.5, batch=1, patch=8))
    return train(replace(TINY, phases=phases, optimizer="adamw"), patches, tmp_path_factory.mktemp("run"))


def rows(card):
    """First cell → the others, of every row of every table."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if line.startswith("|")
    ]
    return {first: rest for first, *rest in cells}


def test_card_has_every_row(weights):
    card = render_card(weights)
    assert card.startswith("# tiny\n")
    assert "Family irn, blocks [1]" in card
    assert "Latent for upscaling: zeros." in card
    table = rows(card)
    metadata = read_metadata(weights)
    assert table["Start"] == ["random weights"]
    schedule = table["Schedule"][0]
    assert schedule.startswith("6 of 6 steps: 50% with 2 patches of 16², then 50% with 1 patches of 8²; adamw")
    assert "0.0005" in schedule
    assert "EMA 0.998" in schedule
    assert table["Loss"] == ["1 · charbonnier of HR + 1 · squared error of LR against bicubic + 0.1 · z²"]
    assert table["Pixels"][0].startswith(f"{int(metadata['pixels']) / 1e9:.3g} billion of HR")
    assert table["Machine"] == [metadata["machine"]]
    assert table["Time"][0].startswith(f"{metadata['seconds']} s")
    assert "PSNR" not in card


@pytest.mark.parametrize(
    ("entries", "loss"),
    [
        (
            {"luma_weight": 2.0},
            "1 · l1 of HR + 2 · l1 of its luma + 1 · squared error of LR against bicubic + 0.1 · z²",
        ),
        (
            {"latent_std": 1.0, "latent_share": 0.125},
            "1 · l1 of HR + 1 · squared error of LR against bicubic + 0.1 · z² of 0.125 of the patches; latents are "
            "drawn there, with deviation 1",
        ),
        (
            {"latent_share": 0.5},
            "1 · l1 of HR + 1 · squared error of LR against bicubic + 0.1 · z² of 0.5 of the patches",
        ),
    ],
)
def test_card_names_the_terms_that_few_recipes_have(tmp_path, patches, entries, loss):
    weights = train(replace(TINY, distance="l1", steps=1, **entries), patches, tmp_path)
    assert rows(render_card(weights))["Loss"] == [loss]


def test_card_of_weights_older_than_a_term(tmp_path, weights):
    metadata = read_metadata(weights)
    recipe = {
        key: value
        for key, value in json.loads(metadata["recipe"]).items()
        if key not in ("luma_weight", "latent_share")
    }
    file = tmp_path / "old.safetensors"
    save_file({"a": torch.zeros(1)}, file, metadata={**metadata, "recipe": json.dumps(recipe)})
    assert rows(render_card(file))["Loss"] == rows(render_card(weights))["Loss"]


def test_card_counts_values(tmp_path, weights):
    """Half precision, so two bytes each."""
    tensors = {"a": torch.zeros(1200, 1000).half(), "b": torch.zeros(300_000).half()}
    save_file(tensors, tmp_path / "big.safetensors", metadata=read_metadata(weights))
    assert "; 1.5 million values" in render_card(tmp_path / "big.safetensors")


def test_card_takes_a_note(weights):
    assert "\nBoats, mostly.\n" in render_card(weights, note="Boats, mostly.")


def test_card_shows_figures_beside_the_published_ones(weights):
    figures = {"Set5": {"plain": MEANS, "balanced": {**MEANS, "psnr_y": 37.0}}, "Mine": {"plain": MEANS}}
    card = render_card(weights, metrics=figures)
    table = rows(card)
    assert table["PSNR-Y (dB) / SSIM-Y"] == [
        "`plain`",
        "`balanced`",
        "LR PSNR-Y: `plain` / `balanced`",
        "published network, plain",
    ]
    # The tiny network is an IRN of scale 2; table 1 of its publication.
    assert table["Set5"] == ["36.19 / 0.9451", "37.00 / 0.9451", "44.4 / 44.4", "43.99 / 0.9871"]
    assert table["Mine"] == ["36.19 / 0.9451", "not measured", "44.4 / –", "–"]
    assert "hcd evaluate DIR --model tiny --presets plain,balanced" in card


def test_scale_without_a_publication_has_no_column_for_it(tmp_path, weights):
    metadata = read_metadata(weights)
    recipe = json.loads(metadata["recipe"])
    recipe["network"]["blocks"] = [1, 1, 1]
    file = tmp_path / "x8.safetensors"
    save_file({"a": torch.zeros(1)}, file, metadata={**metadata, "recipe": json.dumps(recipe)})
    card = render_card(file, metrics={"Set5": {"plain": MEANS}})
    assert "ublished" not in card
    assert rows(card)["Set5"] == ["36.19 / 0.9451", "44.4"]


@pytest.mark.parametrize("lost", ["recipe", "latent", "pixels", "machine", "seconds", "steps"])
def test_file_that_says_nothing_of_its_training(tmp_path, weights, lost):
    metadata = read_metadata(weights)
    del metadata[lost]
    file = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, file, metadata=metadata)
    with pytest.raises(WeightsError, match=rf"foreign\.safetensors: has no metadata of its training .*{lost}"):
        render_card(file)


@pytest.mark.parametrize("recipe", ["", "[]", "3", "{}", '{"name": "x", "network": 3}'])
def test_recipe_that_is_none(tmp_path, weights, recipe):
    file = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, file, metadata={**read_metadata(weights), "recipe": recipe})
    with pytest.raises(WeightsError, match=r"foreign\.safetensors: has no metadata of its training"):
        render_card(file)


def test_file_without_metadata(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(WeightsError, match=r"bare\.safetensors: has no metadata of its training"):
        render_card(tmp_path / "bare.safetensors")


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(WeightsError, match=r"nowhere\.safetensors: "):
        render_card(tmp_path / "nowhere.safetensors")
