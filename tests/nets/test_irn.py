"""IRN: the golden arrays of the official network, and what makes it invertible."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hcd
from hcd.nets import IRN
from tests import golden as gold
from tests.conftest import make_tiny_irn

PUBLISHED = {"irn_x2": (8,), "irn_x4": (8, 8), "irn_x8": (8, 8, 8)}


@pytest.fixture(
    scope="module",
    # All three run the same code.
    params=[name if name == "irn_x4" else pytest.param(name, marks=pytest.mark.slow) for name in PUBLISHED],
)
def case(request, golden):
    """A golden network, its arrays and its tolerances."""
    name = request.param
    net = IRN(PUBLISHED[name])
    net.load_state_dict(gold.state_dict(golden, name), strict=True)
    tolerance = gold.spec(golden, name)["suggested_tolerance"]
    return net.eval().requires_grad_(False), gold.arrays(golden, name), tolerance


def assert_close(got, wanted, tolerance):
    assert got.shape == wanted.shape
    assert float((got - wanted).detach().abs().max()) <= tolerance


@pytest.mark.parametrize("which", ["a", "b"])
class TestGoldenArrays:
    def test_forward(self, case, which):
        net, arrays, tolerance = case
        latent = net(gold.picture(arrays[f"{which}_hr_u8"]))
        assert_close(latent, gold.batch(arrays[f"{which}_latent"]), tolerance["forward_arrays_max_abs"])
        assert_close(latent[:, :3], gold.batch(arrays[f"{which}_lr"]), tolerance["forward_arrays_max_abs"])

    def test_quantized_lr(self, case, which):
        net, arrays, _ = case
        lr = net(gold.picture(arrays[f"{which}_hr_u8"]))[:, :3]
        gray_levels = hcd.quantize(lr) * 255
        wanted = gold.picture(arrays[f"{which}_lr_u8"]) * 255
        distance = (gray_levels - wanted).abs()
        # A value that lies on a rounding boundary may go either kernel.
        on_boundary = ((lr * 255).frac() - 0.5).abs() < 1e-4
        assert float(distance[~on_boundary].max()) < 1e-3
        assert float(distance.max()) < 1 + 1e-3

    @pytest.mark.parametrize("latent", ["zeros", "given"])
    def test_inverse(self, case, which, latent):
        net, arrays, tolerance = case
        lr = gold.picture(arrays[f"{which}_lr_u8"])
        z = gold.batch(arrays[f"{which}_z"])
        wanted = gold.batch(arrays[f"{which}_up_z0" if latent == "zeros" else f"{which}_up_z"])
        hr = net.inverse(torch.cat([lr, torch.zeros_like(z) if latent == "zeros" else z], dim=1))
        assert_close(hr, wanted, tolerance["forward_arrays_max_abs"])


class TestGoldenGradients:
    def assert_gradient(self, got, wanted, tolerance):
        wanted = gold.batch(wanted)
        assert got.shape == wanted.shape
        relative = (got - wanted).abs().max() / wanted.abs().max()
        assert float(relative) <= tolerance["gradients_relative_to_max_abs"]

    @staticmethod
    def up(net, lr):
        return net.inverse(torch.cat([lr, lr.new_zeros(1, 3 * net.scale**2 - 3, *lr.shape[-2:])], dim=1))

    def test_loss_and_restored_picture(self, case):
        net, arrays, tolerance = case
        hr = gold.picture(arrays["g_hr_u8"])
        restored = self.up(net, net(hr)[:, :3])
        assert_close(restored, gold.batch(arrays["g_up"]), tolerance["forward_arrays_max_abs"])
        assert float((restored - hr).square().mean()) == pytest.approx(float(arrays["g_loss"][0]), rel=1e-5)

    def test_of_lr(self, case):
        net, arrays, tolerance = case
        hr = gold.picture(arrays["g_hr_u8"])
        lr = net(hr)[:, :3].requires_grad_()
        (gradient,) = torch.autograd.grad((self.up(net, lr) - hr).square().mean(), lr)
        self.assert_gradient(gradient, arrays["g_dL_dLR"], tolerance)

    @pytest.mark.parametrize("array", ["g_dL_dHR_path", "g_dL_dHR_total"])
    def test_of_hr(self, case, array):
        net, arrays, tolerance = case
        hr = gold.picture(arrays["g_hr_u8"]).requires_grad_()
        target = hr.detach() if array == "g_dL_dHR_path" else hr
        (gradient,) = torch.autograd.grad((self.up(net, net(hr)[:, :3]) - target).square().mean(), hr)
        self.assert_gradient(gradient, arrays[array], tolerance)


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_shapes_are_the_official_ones(golden, name):
    official = {entry["key"]: tuple(entry["shape"]) for entry in gold.spec(golden, name)["tensors"]}
    own = {key: tuple(tensor.shape) for key, tensor in IRN(PUBLISHED[name]).state_dict().items()}
    assert own == official


@pytest.mark.parametrize("name", PUBLISHED)
def test_number_of_trained_parameters(golden, name):
    wanted = gold.spec(golden, name)["parameter_count"]["trainable"]
    assert sum(parameter.numel() for parameter in IRN(PUBLISHED[name]).parameters()) == wanted


class TestBlocksOf:
    @pytest.mark.parametrize("blocks", [(1,), (4,), (2, 3), (3, 1, 2), (1, 0)])
    def test_reads_back_what_was_built(self, blocks):
        assert IRN.blocks_of(IRN(blocks).state_dict()) == blocks

    def test_counts_levels_of_more_than_ten_operations(self):
        # "operations.10" sorts before "operations.2" as text.
        assert IRN.blocks_of(IRN((12, 2)).state_dict()) == (12, 2)

    @pytest.mark.parametrize("keys", [(), ("conv.weight",), ("operations.1.F.conv1.weight",)])
    def test_is_empty_for_other_networks(self, keys):
        assert IRN.blocks_of(dict.fromkeys(keys, torch.zeros(1))) == ()


class TestUntrained:
    def test_is_a_haar_transform(self):
        hr = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(1))
        latent = IRN((2,))(hr)
        a, b, c, d = hr[..., ::2, ::2], hr[..., ::2, 1::2], hr[..., 1::2, ::2], hr[..., 1::2, 1::2]
        bands = [a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d]
        assert_close(latent, torch.cat(bands, dim=1) / 4, 1e-6)

    def test_couplings_change_nothing(self):
        hr = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
        assert torch.equal(IRN((3, 2))(hr), IRN((0, 0))(hr))

    def test_lr_is_the_mean_of_each_block(self):
        hr = torch.rand(1, 3, 16, 8, generator=torch.Generator().manual_seed(3))
        assert_close(IRN((1, 1))(hr)[:, :3], torch.nn.functional.avg_pool2d(hr, 4), 1e-6)


@pytest.mark.slow
class TestInvertible:
    @given(
        scale=st.sampled_from([2, 4, 8]),
        rows=st.integers(1, 4),
        columns=st.integers(1, 4),
        count=st.integers(1, 2),
        seed=st.integers(0, 1000),
    )
    def test_inverse_undoes_forward(self, scale, rows, columns, count, seed):
        net = make_tiny_irn(scale).net
        generator = torch.Generator().manual_seed(seed)
        hr = torch.rand(count, 3, rows * scale, columns * scale, generator=generator)
        latent = net(hr)
        assert latent.shape == (count, 3 * scale**2, rows, columns)
        assert_close(net.inverse(latent), hr, 2e-5)

    def test_forward_undoes_inverse(self):
        net = make_tiny_irn(4).net
        latent = torch.randn(1, 48, 3, 5, generator=torch.Generator().manual_seed(4))
        assert_close(net(net.inverse(latent)), latent, 5e-5)

    def test_couplings_of_these_tests_are_no_identity(self):
        hr = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(5))
        assert float((make_tiny_irn(4).net(hr) - IRN((0, 0))(hr)).abs().max()) > 0.05
