"""Where contours and corners are, and whether something gathers there."""

from __future__ import annotations

import math

import pytest
import torch

from hcd_lab.report.contours import enrichment, largest, rank_correlation, share_on, structure


def step_picture(side=40):
    """Dark at the left, bright at the right; the step lies between two columns."""
    picture = torch.full((1, 3, side, side), 0.2)
    picture[..., side // 2 :] = 0.8
    return picture


def square_picture(side=40):
    picture = torch.full((1, 3, side, side), 0.2)
    picture[..., 10:30, 10:30] = 0.8
    return picture


def test_a_straight_edge_has_a_gradient_and_no_corner():
    gradient, bend = structure(step_picture())
    assert gradient.argmax(dim=1).sub(20).abs().max() <= 1
    assert float(bend.max()) < 1e-12


def test_corners_of_a_square_are_found():
    _, bend = structure(square_picture())
    row, column = divmod(int(bend.argmax()), bend.shape[1])
    assert min(abs(row - 10), abs(row - 29)) <= 1
    assert min(abs(column - 10), abs(column - 29)) <= 1
    assert float(bend[row, column]) > 20 * float(bend[20, 10])


def test_a_perturbation_on_the_edge_is_enriched_there_and_a_uniform_one_is_not():
    gradient, _ = structure(step_picture())
    edges = largest(gradient, 0.2)
    on_edge = torch.zeros(40, 40)
    on_edge[:, 19:21] = 1
    assert share_on(on_edge, edges) == 1
    assert enrichment(on_edge, edges) == pytest.approx(5)
    assert enrichment(torch.ones(40, 40), edges) == pytest.approx(1)


def test_an_energy_of_nothing_has_no_share():
    assert math.isnan(enrichment(torch.zeros(8, 8), largest(torch.rand(8, 8), 0.2)))


def test_largest_marks_exactly_its_share_also_of_equal_values():
    mask = largest(torch.zeros(10, 10), 0.2)
    assert mask.flatten().nonzero().flatten().tolist() == list(range(20))


def test_rank_correlation_sees_order_alone():
    values = torch.arange(12.0).view(3, 4)
    assert rank_correlation(values, values.exp()) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert math.isnan(rank_correlation(values, torch.ones(3, 4)))
