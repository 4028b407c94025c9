"""Colors under transparent pixels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hcd.image import fill_transparent


@given(height=st.integers(1, 19), width=st.integers(1, 19), seed=st.integers(0, 99), share=st.floats(0, 1))
def test_visible_pixels_stay_and_hidden_ones_are_between_them(height, width, seed, share):
    generator = torch.Generator().manual_seed(seed)
    rgb = torch.rand(1, 3, height, width, generator=generator)
    alpha = torch.rand(1, 1, height, width, generator=generator)
    alpha = torch.where(torch.rand(alpha.shape, generator=generator) < share, 0, alpha)
    filled = fill_transparent(rgb, alpha)
    visible = (alpha > 0).expand_as(rgb)
    assert torch.equal(filled[visible], rgb[visible])
    if visible.any():
        for channel in range(3):
            seen = rgb[:, channel][alpha[:, 0] > 0]
            assert filled[:, channel].min() >= seen.min() - 1e-5
            assert filled[:, channel].max() <= seen.max() + 1e-5


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_nothing_to_fill_or_nothing_to_fill_from(value):
    rgb = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fill_transparent(rgb, torch.full((1, 1, 5, 6), value)), rgb)


def test_the_color_next_to_a_hole_continues_into_it():
    rgb = torch.zeros(1, 3, 16, 16)
    rgb[:, 0, :, :8], rgb[:, 1, :, 8:] = 0.8, 1.0  # red is seen, a garish green is hidden
    alpha = torch.zeros(1, 1, 16, 16)
    alpha[..., :8] = 1
    filled = fill_transparent(rgb, alpha)
    torch.testing.assert_close(filled[:, :, :, 8:], torch.tensor([0.8, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 16, 8))
