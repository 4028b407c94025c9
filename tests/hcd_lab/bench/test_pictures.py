"""Pictures that benchmarks make: photographs with their mirror images."""

from __future__ import annotations

import skimage.data
import torch

from hcd_lab.bench.pictures import mirrored_photographs


def test_any_size_in_whole_gray_levels():
    picture = mirrored_photographs(61, 1000)
    assert picture.shape == (1, 3, 61, 1000)
    assert picture.dtype == torch.float32
    assert 0 <= picture.min() < 0.2 < 0.8 < picture.max() <= 1
    torch.testing.assert_close((picture * 255).round() / 255, picture, rtol=0, atol=1e-6)


def test_a_field_is_a_photograph_and_its_reflections():
    picture = mirrored_photographs(600, 900)
    photograph = torch.from_numpy(skimage.data.chelsea()[:300, :450].copy()).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(picture[..., :300, :450], photograph)
    torch.testing.assert_close(picture.flip(-1), picture)
    torch.testing.assert_close(picture.flip(-2), picture)


def test_the_next_field_is_of_another_photograph():
    picture = mirrored_photographs(1200, 3600)
    fields = [picture[..., :600, left : left + 900] for left in range(0, 3600, 900)]
    assert len({float(field.mean()) for field in fields}) == 4
    # Below the first lies the second.
    torch.testing.assert_close(picture[..., 600:, :900], fields[1])
