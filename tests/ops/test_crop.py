"""The center of a picture."""

from __future__ import annotations

import pytest
import torch

from hcd.ops import center_crop

IMAGE = torch.arange(61 * 80).reshape(1, 1, 61, 80)


@pytest.mark.parametrize(
    ("side", "multiple", "rows", "columns"),
    [
        (32, 1, slice(14, 46), slice(24, 56)),
        (64, 1, slice(0, 61), slice(8, 72)),
        (None, 4, slice(0, 60), slice(0, 80)),
        (45, 4, slice(8, 52), slice(18, 62)),
    ],
)
def test_is_the_center(side, multiple, rows, columns):
    assert torch.equal(center_crop(IMAGE, side, multiple=multiple), IMAGE[..., rows, columns])


def test_of_everything_is_everything():
    assert torch.equal(center_crop(IMAGE, None), IMAGE)
