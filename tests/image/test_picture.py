"""Pictures in memory: sizes, Pillow modes, alpha there and back."""

from __future__ import annotations

import pytest
import torch

from hcd.image import Picture, downscale_alpha, upscale_alpha


@pytest.mark.parametrize(
    ("gray", "alpha", "mode"), [(False, False, "RGB"), (False, True, "RGBA"), (True, False, "L"), (True, True, "LA")]
)
def test_to_pillow_has_the_mode_of_its_content(gray, alpha, mode):
    picture = Picture(
        rgb=torch.full((1, 3, 2, 5), 0.5), alpha=torch.full((1, 1, 2, 5), 0.25) if alpha else None, gray=gray
    )
    image = picture.to_pillow()
    assert image.mode == mode
    assert image.size == (picture.width, picture.height) == (5, 2)
    assert image.getpixel((4, 1)) == {"RGB": (128,) * 3, "RGBA": (128,) * 3 + (64,), "L": 128, "LA": (128, 64)}[mode]


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 7), (16, 12)])
def test_alpha_there_and_back_has_the_size_of_the_picture(scale, height, width):
    alpha = torch.linspace(0, 1, height * width).reshape(1, 1, height, width)
    small = downscale_alpha(alpha, scale)
    assert small.shape == (1, 1, -(-height // scale), -(-width // scale))
    assert upscale_alpha(small, scale, height=height, width=width).shape == alpha.shape


@pytest.mark.parametrize("value", [0.0, 1.0, 128 / 255])
def test_flat_alpha_stays_as_it_is(value):
    alpha = torch.full((1, 1, 9, 6), value)
    small = downscale_alpha(alpha, 4)
    torch.testing.assert_close(small, torch.full_like(small, value))
    torch.testing.assert_close(upscale_alpha(small, 4, height=9, width=6), alpha)


def test_alpha_is_in_8_bit_levels_and_inside_the_unit_range():
    alpha = (torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    small = downscale_alpha(alpha, 2)
    for result in (small, upscale_alpha(small, 2, height=16, width=16)):
        assert result.min() >= 0
        assert result.max() <= 1
        torch.testing.assert_close((result * 255).round() / 255, result)
