"""StyleGAN2's layers against their definitions, written out plainly."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from hcd.nets.grain.stylegan2 import Blur, EqualLinear, Generator, ModulatedConv, StyledConv, ToRGB, Upsample
from tests.tiny_grain import make_tiny_net


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def generator():
    return make_tiny_net().codeStyleGAN.decoder


def assert_close(got, wanted, tolerance=1e-5):
    assert got.shape == wanted.shape
    assert float((got - wanted).detach().abs().max()) <= tolerance


def filtered(x, before, after):
    """Zeros around, then the binomial filter by its definition, sample by sample."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps) / taps.sum() ** 2 * 4
    x = F.pad(x, (before, after, before, after))
    height, width = x.shape[-2] - 3, x.shape[-1] - 3
    return sum(kernel[i, j] * x[..., i : i + height, j : j + width] for i in range(4) for j in range(4))


def zeros_between(x):
    spread = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    spread[..., ::2, ::2] = x
    return spread


class TestFilters:
    def test_upsample(self):
        x = randn(2, 3, 5, 6)
        assert_close(Upsample()(x), filtered(zeros_between(x), 2, 1))

    def test_blur(self):
        x = randn(2, 3, 9, 11)
        assert_close(Blur()(x), filtered(x, 1, 1))

    def test_upsampling_keeps_a_constant(self):
        assert_close(Upsample()(torch.full((1, 2, 6, 6), 0.7))[..., 2:-2, 2:-2], torch.full((1, 2, 8, 8), 0.7))


class TestEqualLinear:
    @pytest.mark.parametrize("rate", [1.0, 0.01])
    def test_weights_are_scaled_when_used(self, rate):
        layer = EqualLinear(16, 4, rate=rate, bias=0.5)
        x = randn(3, 16)
        assert_close(layer(x), x @ (layer.weight * rate / 4).T + 0.5 * rate)

    def test_starts_at_unit_variance_whatever_its_rate(self):
        torch.manual_seed(0)
        assert float((EqualLinear(256, 256, rate=0.01).weight.detach() * 0.01).std()) == pytest.approx(1, rel=0.02)


class TestModulatedConv:
    @staticmethod
    def by_weights(conv, x, code):
        """As the paper writes it: a set of weights for each picture."""
        results = []
        for picture, style in zip(x, conv.modulation(code), strict=True):
            weight = conv.weight[0] * style[:, None, None] / math.sqrt(conv.weight[0, 0].numel())
            if conv.demodulate:
                weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
            if conv.blur is None:
                results.append(F.conv2d(picture[None], weight, padding=weight.shape[-1] // 2))
            else:
                spread = F.conv_transpose2d(picture[None], weight.transpose(0, 1), stride=2)
                results.append(filtered(spread, 1, 1))
        return torch.cat(results)

    @pytest.mark.parametrize("demodulate", [False, True])
    @pytest.mark.parametrize(("kernel_size", "upsample"), [(1, False), (3, False), (3, True)])
    def test_is_a_convolution_with_modulated_weights(self, kernel_size, upsample, demodulate):
        torch.manual_seed(0)
        conv = ModulatedConv(5, 7, 6, kernel_size=kernel_size, demodulate=demodulate, upsample=upsample)
        x, code = randn(2, 5, 4, 6), randn(2, 6, seed=1)
        assert_close(conv(x, code), self.by_weights(conv, x, code))

    def test_demodulated_output_does_not_depend_on_the_size_of_the_code(self):
        torch.manual_seed(0)
        conv = ModulatedConv(5, 7, 6)
        torch.nn.init.zeros_(conv.modulation.bias)
        x, code = randn(1, 5, 4, 4), randn(1, 6, seed=1)
        assert_close(conv(x, 10 * code), conv(x, code), 1e-4)


class TestStyledConv:
    def test_noise_bias_and_activation(self):
        torch.manual_seed(0)
        layer = StyledConv(4, 5, 6)
        torch.nn.init.constant_(layer.noise.weight, 0.3)
        torch.nn.init.normal_(layer.activate.bias)
        x, code, noise = randn(2, 4, 4, 4), randn(2, 6, seed=1), randn(1, 1, 4, 4, seed=2)
        wanted = layer.conv(x, code) + 0.3 * noise + layer.activate.bias[None, :, None, None]
        assert_close(layer(x, code, noise), torch.where(wanted > 0, wanted, 0.2 * wanted) * 2**0.5)


class TestToRGB:
    def test_adds_to_the_enlarged_picture_below(self):
        torch.manual_seed(0)
        layer = ToRGB(4, 6)
        torch.nn.init.normal_(layer.bias)
        x, code, below = randn(1, 4, 8, 8), randn(1, 6, seed=1), randn(1, 3, 4, 4, seed=2)
        wanted = layer.conv(x, code) + layer.bias + filtered(zeros_between(below), 2, 1)
        assert_close(layer(x, code, below), wanted)


class TestGenerator:
    def test_sides_and_widths(self, generator):
        features = generator.features(randn(2, 10, 12))
        assert [tuple(feature.shape) for feature in features] == [
            (2, width, side, side) for width, side in zip((16, 14, 12, 10, 8), (4, 8, 16, 32, 64), strict=True)
        ]

    def test_noise_is_fixed(self, generator):
        codes = randn(1, 10, 12)
        torch.manual_seed(1)
        first = generator(codes)
        torch.manual_seed(2)
        assert torch.equal(generator(codes), first)

    @pytest.mark.parametrize("layer", range(9))
    def test_every_noise_map_counts(self, layer):
        generator = make_tiny_net().codeStyleGAN.decoder
        codes = randn(1, 10, 12)
        before = generator(codes)
        generator.noises.get_buffer(f"noise_{layer}").add_(1)
        assert float((generator(codes) - before).abs().max()) > 1e-3

    @pytest.mark.parametrize("row", range(10))
    def test_every_code_counts(self, generator, row):
        codes = randn(1, 10, 12)
        changed = codes.clone()
        changed[:, row] += 0.5
        assert float((generator(changed) - generator(codes)).abs().max()) > 1e-3

    def test_pictures_of_a_batch_do_not_mix(self, generator):
        codes = randn(3, 10, 12)
        together = generator(codes)
        for index in range(3):
            assert_close(generator(codes[index : index + 1]), together[index : index + 1], 1e-4)

    def test_mapping_ignores_the_length_of_its_input(self, generator):
        z = randn(2, 12)
        mapped = generator.mapping(z)
        assert_close(generator.mapping(3 * z), mapped, 1e-4)
        assert float((mapped[0] - mapped[1]).abs().max()) > 0.1

    def test_an_untrained_one_has_features_of_unit_size(self):
        torch.manual_seed(0)
        features = Generator(style_dim=32, channels=(64, 64, 32)).features(randn(1, 6, 32))
        for feature in features:
            assert 0.3 < float(feature.detach().square().mean().sqrt()) < 2
