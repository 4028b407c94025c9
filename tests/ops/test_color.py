"""Luma against the independent implementation of scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr

from hcd.ops import rgb_to_y


def test_agrees_with_scikit_image(photo):
    wanted = rgb2ycbcr(photo[0].permute(1, 2, 0).double().numpy())[..., 0] / 255
    luma = rgb_to_y(photo.double())
    assert luma.shape == (1, 1, *photo.shape[-2:])
    np.testing.assert_allclose(luma[0, 0].numpy(), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("gray", "level"), [(0.0, 16), (1.0, 235), (0.5, 125.5)])
def test_studio_range(gray, level):
    assert float(rgb_to_y(torch.full((3, 1, 1), gray, dtype=torch.float64)) * 255) == pytest.approx(level)


def test_channels_are_red_green_blue():
    assert rgb_to_y(torch.eye(3).reshape(3, 3, 1, 1)).flatten().argsort().tolist() == [2, 0, 1]
