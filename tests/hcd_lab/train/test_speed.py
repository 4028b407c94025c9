"""Measuring speed: what a step costs, and which way of running is taken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hcd.errors import TrainingError
from hcd.nets import IRN
from hcd_lab.train import Execution, IRNNetwork, Phase, get_recipe, prefers_bfloat16
from hcd_lab.train import speed as measuring
from hcd_lab.train.speed import fastest, flops_per_pixel, matrix_peak
from tests.hcd_lab.train.tiny import TINY


def macs_per_pixel(blocks):
    """Multiplications of all convolutions of one pass, per HR pixel: each weight acts once per pixel of its level."""
    level, total = 0, 0.0
    for operation in IRN(blocks).operations:
        convolutions = [p.numel() for name, p in operation.named_parameters() if name.endswith("weight")]
        level += not convolutions
        total += sum(convolutions) / 4**level
    return total


def test_cost_of_the_full_size_network_is_the_known_one():
    """584 thousand multiplications per HR pixel and pass; two passes, an addition each, twice as much for gradients."""
    assert macs_per_pixel((8, 8)) == pytest.approx(584e3, rel=0.01)
    assert flops_per_pixel(get_recipe("irn-x4")) == pytest.approx(584e3 * 2 * 2 * 3, rel=0.03)


@pytest.mark.parametrize("blocks", [(1,), (3,), (1, 2), (1, 1, 1)])
def test_cost_follows_the_network(blocks):
    """The first couplings pass no gradient on to the picture, so it is a little less than the whole."""
    cost = flops_per_pixel(replace(TINY, network=IRNNetwork(blocks=blocks), phases=(Phase(batch=1, patch=16),)))
    whole = macs_per_pixel(blocks) * 2 * 2 * 3
    assert 0.9 * whole < cost <= whole


@pytest.mark.slow
def test_cost_of_a_flow_follows_its_share_of_latents():
    """663,876 multiplications per HR pixel up, and 197,300 down, or as many with latents (the authors' network)."""
    recipe = get_recipe("hcflow-x4")
    for share in (0.0, 0.25, 1.0):
        down = 197_300 + share * (663_876 - 197_300)
        cost = flops_per_pixel(replace(recipe, latent_share=share))
        assert cost == pytest.approx((663_876 + down) * 2 * 3, rel=0.03)


def test_matrix_peak_is_a_speed():
    """No machine that runs these tests multiplies fewer than a hundred million numbers a second, or an exa of them."""
    assert 1e8 < matrix_peak("cpu") < 1e18


def test_preference_is_measured(recipe):
    assert prefers_bfloat16(recipe, "cpu") in (True, False)


@pytest.mark.parametrize(("half", "full", "preferred"), [(2.0, 1.0, True), (1.0, 2.0, False), (1.0, 1.0, False)])
def test_what_is_faster_is_preferred(recipe, monkeypatch, half, full, preferred):
    asked = []

    def pixels_per_second(recipe, execution, phase):
        asked.append(phase.batch)
        return half if execution.bfloat16 else full

    monkeypatch.setattr(measuring, "_pixels_per_second", pixels_per_second)
    assert prefers_bfloat16(recipe, "cpu") is preferred
    assert asked == [1, 1]


def test_fastest_measures_every_way_and_batch(recipe):
    lines = []
    found = fastest(recipe, "cpu", batches=(1, 2), report=lines.append)
    assert len(lines) == 4
    assert [line.split(":")[0] for line in lines] == [
        "cpu, float32, 1 × 16²",
        "cpu, float32, 2 × 16²",
        "cpu, bfloat16, 1 × 16²",
        "cpu, bfloat16, 2 × 16²",
    ]
    assert all("patches/s" in line for line in lines)
    assert found.execution.device == "cpu"
    assert found.phase.batch in (1, 2)
    assert found.pixels_per_second > 0
    assert found.flops_per_second == pytest.approx(found.pixels_per_second * flops_per_pixel(recipe))


def fixed(speeds, failing=()):
    """Speeds by bfloat16 and batch, without a measurement."""

    def pixels_per_second(recipe, execution, phase):
        key = (execution.bfloat16, phase.batch)
        if key in failing:
            raise RuntimeError("no such instruction\nand many more lines")
        return speeds[key]

    return pixels_per_second


@pytest.mark.parametrize(
    ("speeds", "chosen"),
    [
        # Clearly faster with the large batch.
        ({(False, 1): 1.0, (False, 2): 4.0, (True, 1): 1.5, (True, 2): 3.0}, (False, 2)),
        # Hardly faster with the large batch: the small one makes more steps of the same time.
        ({(False, 1): 9.0, (False, 2): 10.0, (True, 1): 1.0, (True, 2): 1.0}, (False, 1)),
        # Of one batch, the faster precision.
        ({(False, 1): 9.0, (False, 2): 9.0, (True, 1): 9.5, (True, 2): 10.0}, (True, 1)),
    ],
)
def test_smallest_batch_that_is_close_to_the_fastest_is_taken(recipe, monkeypatch, speeds, chosen):
    monkeypatch.setattr(measuring, "_pixels_per_second", fixed(speeds))
    found = fastest(recipe, "cpu", batches=(1, 2))
    assert (found.execution.bfloat16, found.phase.batch) == chosen
    assert found.pixels_per_second == speeds[chosen]


def test_broken_way_is_reported_and_left_out(recipe, monkeypatch):
    speeds = {(False, 2): 1.0}
    monkeypatch.setattr(measuring, "_pixels_per_second", fixed(speeds, failing={(True, 2)}))
    lines = []
    found = fastest(recipe, "cpu", report=lines.append)
    assert found.execution == Execution()
    assert found.phase == recipe.phases[0]
    assert lines[1] == "cpu, bfloat16, 2 × 16²: does not work here (no such instruction)"


def test_no_way_at_all_is_an_error(recipe, monkeypatch):
    monkeypatch.setattr(measuring, "_pixels_per_second", fixed({}, failing={(True, 2), (False, 2)}))
    lines = []
    with pytest.raises(TrainingError, match="tiny: training does not run on device 'cpu'"):
        fastest(recipe, "cpu", report=lines.append)
    assert len(lines) == 2
