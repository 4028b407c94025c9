"""Validation: which pictures, how much of them, and the figure that it gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import hcd
from hcd.errors import TrainingError
from hcd.image import read_picture
from hcd_lab.train import IRNNetwork, Validation
from hcd_lab.train.networks import RoundTrip, build_network
from tests.hcd_lab.train.tiny import TINY


@pytest.fixture
def round_trip():
    """An untrained network: the Haar transform, whose details are lost on the way."""
    return RoundTrip(build_network(TINY))


@torch.no_grad()
def test_figure_is_that_of_a_receiver(files, round_trip):
    expected = []
    for file in files:
        rgb = read_picture(file).rgb
        height, width = (side - side % 2 for side in rgb.shape[-2:])
        # The middle, on whole pixels.
        top, left = (rgb.shape[-2] - height) // 2, (rgb.shape[-1] - width) // 2
        hr = rgb[..., top : top + height, left : left + width]
        _, _, hr_hat = round_trip(hr)
        expected.append(hcd.psnr(hcd.quantize(hr_hat), hr, channel="y", border=2))
    value = Validation(files, scale=2)(round_trip)
    assert value == pytest.approx(float(sum(expected) / len(expected)), abs=1e-4)


@pytest.mark.parametrize(("limit", "taken"), [(None, 5), (5, 5), (9, 5), (2, 2), (1, 1)])
def test_limit_takes_pictures_from_everywhere(files, limit, taken, round_trip):
    validation = Validation(files, scale=2, limit=limit)
    assert len(validation._pictures) == taken
    if limit == 2:
        both = Validation([files[0], files[2]], scale=2)
        assert validation(round_trip) == both(round_trip)


def test_only_the_middle_of_large_pictures_counts(tmp_path, round_trip):
    noise = np.random.default_rng(0).integers(0, 256, (300, 280, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    Image.fromarray(noise[22:278, 12:268]).save(tmp_path / "middle.png")
    large, middle = (Validation([tmp_path / f"{name}.png"], scale=2)(round_trip) for name in ("large", "middle"))
    assert large == pytest.approx(middle, abs=1e-6)


def test_better_weights_have_a_higher_figure(files):
    """At scale 4, more is lost than at 2."""
    deep = RoundTrip(build_network(replace(TINY, network=IRNNetwork(blocks=(1, 1)))))
    shallow = RoundTrip(build_network(TINY))
    assert Validation(files, scale=4)(deep) < Validation(files, scale=4)(shallow)


def test_no_picture_is_an_error(tmp_path):
    Image.new("RGB", (4, 40)).save(tmp_path / "small.png")
    for files in ([], [tmp_path / "small.png"]):
        with pytest.raises(TrainingError, match="no picture to validate on"):
            Validation(files, scale=2)
