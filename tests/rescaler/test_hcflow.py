"""The HCFlow rescaler: what it puts in place of the details, and that the method works on it."""

from __future__ import annotations

import pytest
import torch

import hcd
from hcd.nets.hcflow import HCFlow
from hcd.ops import gaussian_field
from hcd.rescaler import LatentPolicy
from hcd.rescaler.hcflow import HCFlowRescaler
from tests import golden as gold
from tests.nets.hcflow_samples import NAME, TINY, golden_net, make_tiny_hcflow, make_tiny_net


def random_picture(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def assert_close(got, wanted, tolerance=1e-5):
    torch.testing.assert_close(got, wanted, rtol=0, atol=tolerance)


class TestGolden:
    @pytest.fixture
    def model(self, golden):
        return HCFlowRescaler(golden_net(golden), latent=LatentPolicy(), name="hcflow-x4").freeze()

    @pytest.fixture
    def arrays(self, golden):
        return gold.arrays(golden, NAME)

    @pytest.mark.parametrize("which", ["a", "b"])
    def test_both_ways(self, model, arrays, golden, which):
        tolerance = gold.spec(golden, NAME)["suggested_tolerance"]["forward_arrays_max_abs"]
        lr = model.downscale(gold.picture(arrays[f"{which}_hr_u8"]))
        assert_close(lr, gold.batch(arrays[f"{which}_lr_noclamp"]), tolerance)
        hr = model.upscale(gold.picture(arrays[f"{which}_lr_u8"]))
        assert_close(hr, gold.batch(arrays[f"{which}_up_eps0_noclamp"]), tolerance)


def test_downscale_is_the_main_flow():
    hr = random_picture(2, 3, 8, 12)
    assert_close(make_tiny_hcflow().downscale(hr), make_tiny_net(calm=True)(hr)[0])


def test_nothing_is_clamped():
    model = make_tiny_hcflow()
    flat = torch.tensor([-0.5, 0.5, 1.5])[None, :, None, None].expand(1, 3, 8, 12)
    lr = model.downscale(flat)
    for tensor in (lr, model.upscale(lr)):
        assert_close(tensor.mean(dim=(2, 3)), torch.tensor([[-0.5, 0.5, 1.5]]), 0.25)


class TestLatent:
    def test_zeros_are_the_mean(self):
        lr = random_picture(2, 3, 4, 5)
        wanted = make_tiny_net(calm=True).inverse(lr, [torch.zeros(2, 6, 8, 10), torch.zeros(2, 21, 4, 5)])
        assert_close(make_tiny_hcflow().upscale(lr), wanted)

    @pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
    def test_noise_is_the_field_of_the_seed_of_each_level(self, seed):
        lr = random_picture(2, 3, 4, 5)
        z1 = gaussian_field(seed, 6, 8, 10)
        z2 = gaussian_field((seed + 0x9E3779B9) % 2**32, 21, 4, 5)
        wanted = make_tiny_net(calm=True).inverse(lr, [z1.expand(2, -1, -1, -1), z2.expand(2, -1, -1, -1)])
        model = make_tiny_hcflow(latent=f"gaussian:{seed}")
        assert model.latent == f"gaussian:{seed}"
        for _ in range(2):
            assert_close(model.upscale(lr), wanted)

    def test_levels_draw_apart(self):
        first, second = gaussian_field(0, 6, 16, 16), gaussian_field(0x9E3779B9, 21, 16, 16)
        correlation = first.flatten(1) @ second.flatten(1).T / 256
        # Independent ones have a standard deviation of 1/16.
        assert float(correlation.abs().max()) < 5 / 16

    def test_sizes_alternate(self):
        """What is kept of one picture's noise does not reach another's."""
        model = make_tiny_hcflow(latent="gaussian:3")
        small, large = random_picture(1, 3, 4, 5), random_picture(1, 3, 6, 4)
        wanted = model.upscale(small)
        assert model.upscale(large).shape == (1, 3, 24, 16)
        assert torch.equal(model.upscale(small), wanted)

    def test_the_latent_matters(self):
        lr = torch.full((1, 3, 4, 4), 0.5)
        restored = [make_tiny_hcflow(latent=text).upscale(lr) for text in ("zeros", "gaussian:0", "gaussian:1")]
        for one, other in ((0, 1), (0, 2), (1, 2)):
            assert float((restored[one] - restored[other]).abs().max()) > 0.01

    def test_noise_from_inference_mode_serves_gradients(self):
        model = make_tiny_hcflow(latent="gaussian:11")
        lr = random_picture(1, 3, 3, 7)
        with torch.inference_mode():
            wanted = model.upscale(lr)
        lr.requires_grad_()
        restored = model.upscale(lr)
        assert torch.equal(restored, wanted)
        (gradient,) = torch.autograd.grad(restored.square().sum(), lr)
        assert bool((gradient != 0).all())


def test_scale_is_that_of_the_network():
    net = HCFlow(TINY)
    model = HCFlowRescaler(net, latent=LatentPolicy(), name="my-hcflow", weights_hash="0123456789abcdef")
    assert (model.scale, model.name, model.weights_hash, model.latent) == (4, "my-hcflow", "0123456789abcdef", "zeros")


def test_the_method_gains_on_it(smooth_picture):
    model = make_tiny_hcflow()
    plain = hcd.collaborate(smooth_picture, model, preset="plain")
    result = hcd.collaborate(smooth_picture, model, preset="fast", steps_hr=3, steps_lr=5)

    def psnr(lr):
        return hcd.psnr(model.upscale(lr), smooth_picture, channel="rgb")

    assert psnr(result.lr) > psnr(plain.lr) + 0.1
