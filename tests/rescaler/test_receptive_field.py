"""Receptive fields: known distances are found, once per model, on no larger a piece than needed."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import hcd
from hcd.nets import IRN
from hcd.rescaler import GrayRescaler, InvertibleRescaler, LatentPolicy, Rescaler, receptive_field_of
from tests.tiny_grain import make_tiny_grain


class Shifted(Rescaler):
    """Averages and repeats; moves the picture by so many LR pixels, ``up`` one way and ``down`` one way.

    ``strength`` is the share of the moved picture in what comes out.
    """

    def __init__(self, *, up=0, down=0, strength=1.0, scale=2):
        super().__init__(name="shifted", scale=scale)
        self.shifts, self.strength = (up, down), strength
        self.sides = []

    def _downscale(self, hr):
        lr = F.avg_pool2d(hr, self.scale)
        return lr + self.strength * lr.roll(self.shifts[1], dims=3)

    def _upscale(self, lr, top, left):
        self.sides.append(lr.shape[-1])
        moved = lr + self.strength * lr.roll(self.shifts[0], dims=2)
        return moved.repeat_interleave(self.scale, dim=2).repeat_interleave(self.scale, dim=3)


class Mean(Shifted):
    """Adds the mean of the whole picture to every pixel."""

    def _upscale(self, lr, top, left):
        return super()._upscale(lr + lr.mean(dim=(2, 3), keepdim=True), top, left)


class Blurred(Shifted):
    """Adds the mean of a square around every pixel."""

    def __init__(self, radius):
        super().__init__()
        self.radius = radius

    def _upscale(self, lr, top, left):
        return super()._upscale(lr + F.avg_pool2d(lr, 2 * self.radius + 1, stride=1, padding=self.radius), top, left)


@pytest.mark.parametrize("scale", [2, 4])
def test_bicubic_looks_as_far_as_its_kernel(scale):
    """Four LR pixels across, stretched when shrinking: two beside the one in the middle."""
    assert receptive_field_of(hcd.load(f"bicubic-x{scale}")) == 2


@pytest.mark.parametrize("shift", [0, 1, 7, -15, 20])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_known_distances(direction, shift):
    assert receptive_field_of(Shifted(**{direction: shift}), side=48) == abs(shift)


def test_what_changes_less_than_a_quarter_of_a_gray_level_does_not_count():
    for strength, reach in ((0.3 / 255, 5), (0.2 / 255, 0)):
        # The random signs of a block of one sum up; those of 2 × 2 pixels may partly cancel.
        assert receptive_field_of(Shifted(down=5, strength=strength)) == reach


def test_a_model_that_looks_everywhere():
    assert receptive_field_of(Mean()) == 24


def deep_irn(couplings):
    """Couplings from one row of seeds: those of a shallow network are in the deep one, too."""
    net = IRN((couplings,))
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            generator = torch.Generator().manual_seed(sum(map(ord, name)))
            gain = 0.5 if "conv5" in name else 0.8
            parameter.copy_(gain * torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5)
    return InvertibleRescaler(net, latent=LatentPolicy(), name="deep-irn-x2").freeze()


def test_deeper_networks_look_farther():
    reaches = [receptive_field_of(deep_irn(couplings)) for couplings in (1, 2, 4)]
    assert 2 < reaches[0] <= reaches[1] <= reaches[2]
    assert reaches[2] > reaches[0]


def test_a_model_is_measured_once():
    model = Shifted(up=3)
    assert receptive_field_of(model) == receptive_field_of(model) == receptive_field_of(model, side=48) == 3
    assert model.sides == [24]


@pytest.mark.parametrize(("radius", "sides"), [(8, [24]), (10, [24, 30]), (20, [24, 36, 48])])
def test_the_piece_grows_as_far_as_needed(radius, sides):
    model = Blurred(radius)
    assert receptive_field_of(model) == radius
    assert model.sides == sides


def test_a_gray_model_is_measured_with_the_one_inside():
    model = Shifted(up=3)
    # A wrapper is made for every gray picture.
    assert (
        receptive_field_of(GrayRescaler(model))
        == receptive_field_of(GrayRescaler(model))
        == receptive_field_of(model)
        == 3
    )
    assert model.sides == [24]


def test_inside_inference_without_gradients():
    with torch.no_grad():
        assert receptive_field_of(Shifted(up=4)) == 4


def test_weights_get_no_gradient():
    model = deep_irn(1)
    receptive_field_of(model)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_of_one_size_is_not_asked():
    with pytest.raises(hcd.HcdError):
        receptive_field_of(make_tiny_grain())
