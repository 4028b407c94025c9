"""Fixtures that the pipeline tests share."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from hcd.image import Picture
from hcd.zoo import registry


@pytest.fixture
def weights(tmp_path, tiny_irn):
    """``weights(scale, seed=0)`` is a weights file of a tiny IRN, as training leaves it."""

    def save(scale, seed=0):
        path = tmp_path / f"tiny-x{scale}-{seed}.safetensors"
        tensors = {name: tensor.contiguous() for name, tensor in tiny_irn(scale, seed=seed).net.state_dict().items()}
        save_file(tensors, path, metadata={"architecture": "irn", "latent": "zeros"})
        return path

    return save


@pytest.fixture
def shipped(tmp_path, monkeypatch, weights):
    """A tiny IRN that ships, for this test, as ``irn-x2``: its weights file."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    path = weights(2).rename(folder / "irn-x2.safetensors")
    monkeypatch.setattr(registry, "_WEIGHTS_FOLDERS", (folder,))
    return path


@pytest.fixture
def make_picture():
    """``make_picture(height, width, gray=False, alpha=False, icc=None)``: waves and noise, in 8-bit levels."""

    def make(height, width, *, gray=False, alpha=False, icc=None):
        generator = torch.Generator().manual_seed(height * 1000 + width)
        rows, columns = torch.arange(height)[:, None], torch.arange(width)
        phases = torch.arange(3)[:, None, None]
        rgb = 0.5 + 0.4 * torch.sin(rows / 5 + phases) * torch.cos(columns / 7 - phases)
        rgb = rgb + 0.03 * torch.randn(3, height, width, generator=generator)
        if gray:
            rgb = rgb[:1].expand(3, -1, -1)
        rgb = (rgb.clamp(0, 1) * 255).round()[None] / 255
        opacity = torch.linspace(0, 1, height * width).mul(255).round().div(255).reshape(1, 1, height, width)
        return Picture(rgb=rgb, alpha=opacity if alpha else None, gray=gray, icc=icc)

    return make
