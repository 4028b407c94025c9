"""Latent policies: their text and what they put in."""

from __future__ import annotations

import pytest
import torch

from hcd.errors import UsageError
from hcd.ops import gaussian_field
from hcd.rescaler import LatentPolicy
from tests.conftest import make_tiny_irn


@pytest.mark.parametrize("text", ["zeros", "gaussian:0", "gaussian:7", "gaussian:4294967295"])
def test_text_goes_both_ways(text):
    assert str(LatentPolicy.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "Zeros", "gaussian", "gaussian:", "gaussian:1.5", "gaussian:4294967296", "zeros\n"]
)
def test_other_texts_are_wrong(text):
    with pytest.raises(UsageError, match="use zeros or gaussian:SEED"):
        LatentPolicy.parse(text)


def test_zeros():
    latent = LatentPolicy().latent(torch.ones(2, 3, 4, 5, dtype=torch.float64), 9)
    assert latent.shape == (2, 9, 4, 5)
    assert latent.dtype == torch.float64
    assert not latent.any()


def test_noise_is_the_field_of_its_seed_for_every_picture():
    latent = LatentPolicy(seed=5).latent(torch.ones(2, 3, 4, 5), 9)
    for picture in latent:
        assert torch.equal(picture, gaussian_field(5, 9, 4, 5))


def test_the_latent_matters():
    lr = torch.full((1, 3, 4, 4), 0.5)
    restored = [make_tiny_irn(2, latent=text).upscale(lr) for text in ("zeros", "gaussian:0", "gaussian:1")]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert float((restored[one] - restored[other]).abs().max()) > 0.01
