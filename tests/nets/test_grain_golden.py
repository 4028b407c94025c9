"""GRAIN at full size: every stage against the golden arrays of the official network, computed once for all tests."""

from __future__ import annotations

import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import hcd
from hcd.nets.grain import GRAIN, GRAINConfig
from tests import golden as gold

# The full-size network takes seconds to build and to run.
pytestmark = pytest.mark.slow
NAME = "grain_x64"
PREFIXES = {"invRRDB": "invRRDB.", "codeStyleGAN": "codeStyleGAN.", "Fusion": "Fusion.", "stylegan2-ffhq": ""}


def own_names(described):
    """Official key → its name in GRAIN's state_dict."""
    return {entry["key"]: PREFIXES[entry["file"]] + entry["key"] for entry in described["tensors"]}


def hr_pixels(source):
    """The HR picture that the arrays belong to, rebuilt by the formula of the description."""
    rows, columns = np.ogrid[:1024, :1024]
    texture = (37 * rows[..., None] + 101 * columns[..., None] + 53 * np.arange(3)) % 17 - 8
    return np.clip(np.kron(source.astype(np.int64), np.ones((8, 8, 1), dtype=np.int64)) + texture, 0, 255).astype(
        np.uint8
    )


def network_input(pixels):
    return 2 * gold.picture(pixels).contiguous(memory_format=torch.channels_last) - 1


@pytest.fixture(scope="module")
def arrays(golden):
    return gold.arrays(golden, NAME)


@pytest.fixture(scope="module")
def tolerance(golden):
    return gold.spec(golden, NAME)["suggested_tolerance"]["max_abs"]


@pytest.fixture(scope="module")
def stages(golden, arrays):
    """Every stage's result. About a minute on one thread: the fusion alone takes 0.6 · 10¹² multiplications."""
    names = own_names(gold.spec(golden, NAME))
    net = GRAIN()
    net.load_state_dict({names[key]: tensor for key, tensor in gold.state_dict(golden, NAME).items()}, strict=True)
    net.eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    generator = net.codeStyleGAN.decoder
    with torch.no_grad():
        lr = net.downscale(network_input(hr_pixels(arrays["src_u8"])))
        features = net.invRRDB.dec.features(network_input(arrays["lr_u8"]))
        w = net.codes(features)
        generated = generator.features(w)
        return SimpleNamespace(
            net=net,
            lr=lr,
            features=features,
            img2=net.invRRDB.dec.out(features[-1]),
            w=w,
            codes=w - net.latent_avg,
            generated=generated,
            stylegan=generator.image(generated, w),
            fused=net.Fusion(features, generated[-3:]),
            mapped=generator.mapping(torch.from_numpy(arrays["mapping_z"])),
        )


@pytest.fixture(scope="module")
def empty():
    """The published network without any numbers in it."""
    with torch.device("meta"):
        return GRAIN()


def assert_close(got, wanted, tolerance):
    wanted = torch.from_numpy(wanted)
    assert got.shape == wanted.shape
    assert float((got - wanted).abs().max()) <= tolerance


def test_input_is_that_of_the_arrays(arrays):
    pixels = hr_pixels(arrays["src_u8"])
    assert [int(pixels.sum(dtype=np.int64)), zlib.crc32(pixels.tobytes())] == arrays["hr_check"].tolist()


def test_lr(stages, arrays, tolerance):
    assert_close(stages.lr[0], arrays["lr"], tolerance)


def test_quantized_lr(stages, arrays):
    # No value lies within a thousandth of a gray level of a rounding boundary.
    rounded = (hcd.quantize((stages.lr + 1) / 2) * 255).round()
    assert torch.equal(rounded[0].permute(1, 2, 0).to(torch.uint8), torch.from_numpy(arrays["lr_u8"]))


@pytest.mark.parametrize("level", range(7))
def test_decoder_features(stages, arrays, tolerance, level):
    feature = stages.features[level]
    step = 2**level
    assert feature.shape == (1, 64, 16 * step, 16 * step)
    assert_close(feature[0, ::8, ::step, ::step], arrays[f"dec_feature{level}_sub"], tolerance)
    assert_statistics(feature, arrays[f"dec_feature{level}_stats"])


@pytest.mark.parametrize("which", [0, 1, 2])
def test_generator_features(stages, arrays, tolerance, which):
    feature = stages.generated[which - 3]
    step = 16 * 2**which
    assert feature.shape == (1, 128 // 2**which, 16 * step, 16 * step)
    assert_close(feature[0, ::8, ::step, ::step], arrays[f"gen_feature{which}_sub"], tolerance)
    assert_statistics(feature, arrays[f"gen_feature{which}_stats"])


def assert_statistics(tensor, wanted):
    values = tensor.double()
    found = [values.mean(), values.std(correction=0), values.min(), values.max()]
    assert [float(value) for value in found[: len(wanted)]] == pytest.approx(wanted.tolist(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", ["codes", "w"])
def test_codes(stages, arrays, tolerance, name):
    assert_close(getattr(stages, name)[0], arrays[name], tolerance)


@pytest.mark.parametrize("name", ["img2", "stylegan", "fused"])
def test_pictures(stages, arrays, tolerance, name):
    picture = getattr(stages, name)
    assert picture.shape == (1, 3, 1024, 1024)
    assert_close(picture[0, :, ::8, ::8], arrays[f"{name}_sub"], tolerance)
    assert_close(picture[0, :, 480:544, 448:512], arrays[f"{name}_crop"], tolerance)
    assert_statistics(picture, arrays[f"{name}_stats"])


def test_mapping_network(stages, arrays, tolerance):
    assert_close(stages.mapped, arrays["mapping_w"], tolerance)


class TestAgainstTheDescription:
    def test_names_and_shapes_are_the_official_ones(self, golden, empty):
        described = gold.spec(golden, NAME)
        names = own_names(described)
        official = {names[entry["key"]]: tuple(entry["shape"]) for entry in described["tensors"]}
        assert {key: tuple(tensor.shape) for key, tensor in empty.state_dict().items()} == official

    def test_number_of_parameters(self, golden, empty):
        def count(module):
            return sum(parameter.numel() for parameter in module.parameters())

        wanted = gold.spec(golden, NAME)["parameter_count"]
        generator = empty.codeStyleGAN.decoder
        assert count(empty.invRRDB.enc) == wanted["invRRDB.enc"]
        assert count(empty.invRRDB.dec) == wanted["invRRDB.dec"]
        assert count(empty.codeStyleGAN.encoder) == wanted["codeStyleGAN.encoder"]
        assert count(generator) == wanted["codeStyleGAN.decoder (StyleGAN2 1024, incl. mapping)"]
        assert count(generator.style) == wanted["of which mapping network"]
        assert count(empty.Fusion) == wanted["Fusion"]
        buffers = sum(buffer.numel() for buffer in generator.buffers())
        assert buffers == wanted["noise and blur buffers of the generator (not parameters)"]

    def test_configuration_is_read_from_the_shapes(self, empty):
        assert GRAINConfig.of(empty.state_dict()) == GRAINConfig()

    def test_filters_are_the_official_ones(self, golden):
        names = own_names(gold.spec(golden, NAME))
        constants = {
            names[entry["key"]]: entry["value"]
            for entry in gold.spec(golden, NAME)["tensors"]
            if entry["rule"] == "constant"
        }
        own = GRAIN(GRAINConfig(size=64, channels=2, growth=1, style_dim=1, generator_channels=(1,) * 5)).state_dict()
        filters = {name: tensor for name, tensor in own.items() if name.endswith(".kernel")}
        assert len(filters) == 8
        for name, tensor in filters.items():
            assert tensor.tolist() == constants[name]
