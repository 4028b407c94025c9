"""The loss of recipes, against its formula."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hcd_lab.train.step import losses
from tests.hcd_lab.train.tiny import TINY

SHAPE = (2, 3, 8, 8)
BICUBIC = torch.full((2, 3, 4, 4), 0.5)


def loss(recipe, error, *, lr_error=0.0, latent=0.0):
    hr = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0))
    results = (BICUBIC + lr_error, torch.tensor(latent), hr + error)
    return float(losses(recipe, hr, BICUBIC, results).loss)


def of_channels(*values):
    return torch.tensor(values).view(1, 3, 1, 1).expand(SHAPE)


def test_terms_add_up():
    recipe = replace(TINY, distance="l1", hr_weight=2.0, luma_weight=3.0, lr_weight=5.0, latent_weight=7.0)
    expected = 2 * 0.1 + 3 * 0.1 + 5 * 0.2**2 + 7 * 0.3
    assert loss(recipe, of_channels(0.1, 0.1, 0.1), lr_error=0.2, latent=0.3) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("distance", "expected"), [("l1", 0.1), ("l2", 0.01), ("charbonnier", (0.01 + 0.5**2) ** 0.5)])
def test_luma_of_gray_errors_counts_as_a_channel_does(distance, expected):
    recipe = replace(TINY, distance=distance, charbonnier_epsilon=0.5)
    gray = of_channels(-0.1, -0.1, -0.1)
    assert loss(recipe, gray) == pytest.approx(expected, rel=1e-4)
    assert loss(replace(recipe, hr_weight=0.0, luma_weight=1.0), gray) == pytest.approx(expected, rel=1e-4)


def test_luma_does_not_see_errors_of_color():
    """0.299, 0.587 and 0.114 are the luma of red, green and blue."""
    recipe = replace(TINY, distance="l1", hr_weight=0.0, luma_weight=1.0)
    assert loss(recipe, of_channels(0.1, 0.0, 0.0)) == pytest.approx(0.0299, rel=1e-3)
    assert loss(recipe, of_channels(0.587 * 0.1, -0.299 * 0.1, 0.0)) == pytest.approx(0, abs=1e-4)


def test_what_is_measured_beside_the_loss_is_of_rgb():
    hr = torch.zeros(SHAPE)
    recipe = replace(TINY, luma_weight=9.0)
    measured = losses(recipe, hr, BICUBIC, (BICUBIC + 0.3, torch.tensor(0.0), hr + of_channels(0.2, 0.0, 0.0)))
    assert float(measured.hr) == pytest.approx(0.04 / 3)
    assert float(measured.lr) == pytest.approx(0.09)
