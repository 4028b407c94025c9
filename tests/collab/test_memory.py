"""Pictures that do not fit are refused before they are tried."""

from __future__ import annotations

import pytest
import torch

import hcd
from hcd.collab import memory
from hcd.errors import PictureTooLargeError
from tests.conftest import make_tiny_irn


def bytes_per_pixel(model, *, through_downscale):
    return memory._bytes_per_pixel(torch.rand(1, 3, 64, 64), model, through_downscale)


def test_estimate_follows_depth_and_stages():
    shallow, deep = make_tiny_irn(2), make_tiny_irn(4)
    assert bytes_per_pixel(deep, through_downscale=False) > bytes_per_pixel(shallow, through_downscale=False) > 100
    ratio = bytes_per_pixel(deep, through_downscale=True) / bytes_per_pixel(deep, through_downscale=False)
    assert 1.5 < ratio < 2.5


def test_picture_that_cannot_fit_is_refused(monkeypatch):
    model, hr = make_tiny_irn(2), torch.rand(1, 3, 128, 128)
    needed = 128 * 128 * bytes_per_pixel(model, through_downscale=False)
    monkeypatch.setattr(memory, "_memory", lambda device: int(needed))
    sides, downscale = [], model.downscale
    monkeypatch.setattr(model, "downscale", lambda picture: sides.append(picture.shape[-1]) or downscale(picture))
    with pytest.raises(PictureTooLargeError, match="128×128 pixels need about"):
        hcd.collaborate(hr, model, "fast")
    # Refused before anything was done at its full size.
    assert max(sides) < 128
    assert hcd.collaborate(hr, model, "plain").lr.shape == (1, 3, 64, 64)
    monkeypatch.setattr(memory, "_memory", lambda device: int(2 * needed))
    assert hcd.collaborate(hr, model, "fast", steps_lr=1).grad_evals == 1
    with pytest.raises(PictureTooLargeError):
        hcd.collaborate(hr, model, "paper")
