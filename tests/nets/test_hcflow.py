"""HCFlow: the golden arrays of the official network, and what makes it invertible."""

from __future__ import annotations

import dataclasses
import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

import hcd
from hcd.errors import UsageError
from hcd.nets.hcflow import HCFlow, HCFlowShape
from tests import golden as gold
from tests.nets.hcflow_samples import NAME, TINY, golden_net, golden_state_dict, make_tiny_net

SHAPES = [
    TINY,
    HCFlowShape(steps=(1,), conditional_steps=(2,), growth=3, features=4, rrdb_growth=5, rrdb_blocks=(1, 2), hidden=6),
    HCFlowShape(
        steps=(2, 1, 3),
        conditional_steps=(1, 3, 2),
        growth=2,
        features=3,
        rrdb_growth=1,
        rrdb_blocks=(1, 1),
        hidden=4,
    ),
    dataclasses.replace(TINY, steps=(11, 12), conditional_steps=(11, 10), rrdb_blocks=(11, 12)),
]


@pytest.fixture(scope="module")
def net(golden):
    return golden_net(golden)


@pytest.fixture(scope="module")
def arrays(golden):
    return gold.arrays(golden, NAME)


@pytest.fixture(scope="module")
def tolerance(golden):
    return gold.spec(golden, NAME)["suggested_tolerance"]


def random_picture(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def assert_close(got, wanted, tolerance):
    assert got.shape == wanted.shape
    assert float((got - wanted).detach().abs().max()) <= tolerance


@pytest.mark.parametrize("which", ["a", "b"])
class TestGoldenArrays:
    def test_forward(self, net, arrays, tolerance, which):
        lr, latents = net(gold.picture(arrays[f"{which}_hr_u8"]))
        atol = tolerance["forward_arrays_max_abs"]
        assert_close(lr, gold.batch(arrays[f"{which}_lr_noclamp"]), atol)
        assert_close(lr.clamp(0, 1), gold.batch(arrays[f"{which}_lr"]), atol)
        for latent, name in zip(latents, ("z1", "z2"), strict=True):
            assert_close(latent, gold.batch(arrays[f"{which}_{name}"]), atol)

    def test_downscale(self, net, arrays, tolerance, which):
        lr = net.downscale(gold.picture(arrays[f"{which}_hr_u8"]))
        assert_close(lr, gold.batch(arrays[f"{which}_lr_noclamp"]), tolerance["forward_arrays_max_abs"])

    def test_quantized_lr(self, net, arrays, which):
        lr = net.downscale(gold.picture(arrays[f"{which}_hr_u8"]))
        distance = (hcd.quantize(lr) * 255 - gold.picture(arrays[f"{which}_lr_u8"]) * 255).abs()
        # A value that lies on a rounding boundary may go either kernel.
        on_boundary = ((lr * 255).frac() - 0.5).abs() < 1e-4
        assert float(distance[~on_boundary].max()) < 1e-3
        assert float(distance.max()) < 1 + 1e-3

    def test_inverse_at_the_mean(self, net, arrays, tolerance, which):
        lr = gold.picture(arrays[f"{which}_lr_u8"])
        hr = net.inverse(lr)
        atol = tolerance["forward_arrays_max_abs"]
        assert_close(hr, gold.batch(arrays[f"{which}_up_eps0_noclamp"]), atol)
        assert_close(hr.clamp(0, 1), gold.batch(arrays[f"{which}_up_eps0"]), atol)
        zeros = [torch.zeros(1, *arrays[f"{which}_{name}"].shape) for name in ("z1", "z2")]
        assert_close(net.inverse(lr, zeros), hr, 1e-6)

    def test_inverse_of_noise(self, net, arrays, tolerance, which):
        latents = [gold.batch(arrays[f"{which}_{name}"]) for name in ("eps1", "eps2")]
        hr = net.inverse(gold.picture(arrays[f"{which}_lr_u8"]), latents)
        assert_close(hr, gold.batch(arrays[f"{which}_up_eps_noclamp"]), tolerance["forward_arrays_max_abs"])

    def test_inverse_undoes_forward(self, net, arrays, which):
        hr = gold.picture(arrays[f"{which}_hr_u8"])
        assert_close(net.inverse(*net(hr)), hr, 5e-6)


@pytest.mark.parametrize("clamp", ["official", "none"])
@pytest.mark.slow
class TestGoldenGradients:
    @staticmethod
    def of(arrays, name, clamp):
        return gold.batch(arrays[name if clamp == "official" else f"{name}_noclamp"])

    @staticmethod
    def down(net, hr, clamp):
        lr = net.downscale(hr)
        return lr.clamp(0, 1) if clamp == "official" else lr

    @staticmethod
    def up(net, lr, clamp):
        hr = net.inverse(lr)
        return hr.clamp(0, 1) if clamp == "official" else hr

    @staticmethod
    def assert_gradient(got, wanted, tolerance):
        assert got.shape == wanted.shape
        assert float((got - wanted).abs().max() / wanted.abs().max()) <= tolerance["gradients_relative_to_max_abs"]

    def test_loss_and_restored_picture(self, net, arrays, tolerance, clamp):
        hr = gold.picture(arrays["g_hr_u8"])
        lr = self.down(net, hr, clamp)
        restored = self.up(net, lr, clamp)
        atol = tolerance["forward_arrays_max_abs"]
        assert_close(lr, self.of(arrays, "g_lr", clamp), atol)
        assert_close(restored, self.of(arrays, "g_up", clamp), atol)
        wanted = float(self.of(arrays, "g_loss", clamp))
        assert float((restored - hr).square().mean()) == pytest.approx(wanted, rel=1e-5)

    def test_of_lr(self, net, arrays, tolerance, clamp):
        hr = gold.picture(arrays["g_hr_u8"])
        lr = self.down(net, hr, clamp).requires_grad_()
        (gradient,) = torch.autograd.grad((self.up(net, lr, clamp) - hr).square().mean(), lr)
        self.assert_gradient(gradient, self.of(arrays, "g_dL_dLR", clamp), tolerance)

    @pytest.mark.parametrize("array", ["g_dL_dHR_path", "g_dL_dHR_total"])
    def test_of_hr(self, net, arrays, tolerance, array, clamp):
        hr = gold.picture(arrays["g_hr_u8"]).requires_grad_()
        target = hr.detach() if array == "g_dL_dHR_path" else hr
        restored = self.up(net, self.down(net, hr, clamp), clamp)
        (gradient,) = torch.autograd.grad((restored - target).square().mean(), hr)
        self.assert_gradient(gradient, self.of(arrays, array, clamp), tolerance)


@pytest.mark.slow
class TestOfficialCheckpoint:
    def test_names_and_shapes(self, golden):
        official = {entry["key"]: tuple(entry["shape"]) for entry in gold.spec(golden, NAME)["tensors"]}
        own = {key: tuple(tensor.shape) for key, tensor in HCFlow().state_dict().items()}
        assert own == official
        assert len(own) == gold.spec(golden, NAME)["checkpoint"]["n_entries"]

    def test_what_is_trained(self, golden):
        official = {entry["key"] for entry in gold.spec(golden, NAME)["tensors"] if entry["trainable"]}
        assert {name for name, _ in HCFlow().named_parameters()} == official

    def test_only_the_haar_filters_are_fixed(self, golden):
        filters = golden_state_dict(golden)
        fixed = dict(HCFlow().named_buffers())
        assert len(fixed) == 2
        assert all(filters[name].equal(value) for name, value in fixed.items())

    @pytest.mark.parametrize("change", ["missing", "surplus", "other shape"])
    def test_loading_is_strict(self, golden, change):
        state = golden_state_dict(golden)
        key = "flow.level0_condFlow.additional_flow_steps.5.permute.weight"
        if change == "missing":
            del state[key]
        elif change == "surplus":
            state["flow.level2_condFlow.f.bias"] = torch.zeros(1)
        else:
            state[key] = torch.zeros(6, 5)
        with pytest.raises(RuntimeError):
            HCFlow().load_state_dict(state)

    def test_work(self, golden):
        """Multiplications per HR pixel, of the published network."""
        wanted = gold.spec(golden, NAME)["macs_per_hr_pixel"]
        # The official count takes the Haar transforms for convolutions of 2×2 taps: 12 per 4 pixels and 24 per 16.
        haar = 12 * 4 / 4 + 24 * 4 / 16
        with torch.device("meta"):
            net, hr, lr = HCFlow().eval(), torch.empty(1, 3, 32, 48), torch.empty(1, 3, 8, 12)
        for run, expected in (
            (lambda: net(hr), wanted["down"]),
            (lambda: net.downscale(hr), wanted["down"] - wanted["down_conditional_part_only"]),
            (lambda: net.inverse(lr), wanted["up"]),
        ):
            with FlopCounterMode(display=False) as counter:
                run()
            assert counter.get_total_flops() / 2 / (32 * 48) == expected - haar


class TestShapeOf:
    def test_golden(self, golden):
        assert HCFlow.shape_of(golden_state_dict(golden)) == HCFlowShape()

    @pytest.mark.parametrize("shape", SHAPES)
    def test_reads_back_what_was_built(self, shape):
        state = HCFlow(shape).state_dict()
        assert HCFlow.shape_of(state) == shape
        # As a file may sort them: "layers.10" before "layers.2".
        assert HCFlow.shape_of(dict(sorted(state.items()))) == shape

    @pytest.mark.parametrize("keys", [(), ("conv.weight",), ("flow.layers.0.haar_weights",)])
    def test_is_none_for_other_networks(self, keys):
        assert HCFlow.shape_of(dict.fromkeys(keys, torch.zeros(1))) is None

    @pytest.mark.parametrize(
        "key",
        [
            "flow.layers.0.haar_weights",
            "flow.layers.1.affine.f.conv1.weight",
            "flow.level0_condFlow.conv_first.weight",
            "flow.level0_condFlow.RRDB_trunk0.0.RDB1.conv1.weight",
            "flow.level0_condFlow.RRDB_trunk1.0.RDB1.conv1.weight",
            "flow.level0_condFlow.additional_flow_steps.0.affine.f.conv1.weight",
        ],
    )
    def test_is_none_or_another_where_a_part_is_missing(self, key):
        state = HCFlow(TINY).state_dict()
        del state[key]
        assert HCFlow.shape_of(state) != TINY

    @pytest.mark.parametrize("shape", [(), (0, 3, 3, 3), (2, 2), (2**31, 0, 3, 3)])
    def test_is_none_where_a_tensor_has_no_such_shape(self, shape):
        state = HCFlow(TINY).state_dict()
        state["flow.level0_condFlow.conv_first.weight"] = torch.zeros(shape)
        assert HCFlow.shape_of(state) is None

    @pytest.mark.parametrize("filters", [12, 48])
    def test_is_none_where_the_filters_do_not_grow_with_the_levels(self, filters):
        state = HCFlow(TINY).state_dict()
        (second,) = [key for key in state if key.endswith("haar_weights") and not key.startswith("flow.layers.0.")]
        state[second] = torch.zeros(filters, 1, 2, 2)
        assert HCFlow.shape_of(state) is None

    def test_irn_is_none(self):
        assert HCFlow.shape_of(hcd.nets.IRN((1, 1)).state_dict()) is None


class TestShape:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"steps": ()},
            {"steps": (8, 8, 8)},
            {"steps": (8, 0)},
            {"conditional_steps": (0, 6)},
            {"rrdb_blocks": (2, 0)},
            {"growth": 0},
            {"hidden": -1},
        ],
    )
    def test_what_cannot_be_is_refused(self, wrong):
        with pytest.raises(UsageError, match=r"HCFlow: got .*; needs"):
            HCFlowShape(**wrong)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_latents(self, shape):
        net = make_tiny_net(shape)
        assert net.scale == shape.scale == 2 ** len(shape.steps)
        lr, latents = net(random_picture(2, 3, 2 * shape.scale, 3 * shape.scale))
        assert lr.shape == (2, 3, 2, 3)
        assert [latent.shape[1] for latent in latents] == list(shape.latent_channels)
        # As many numbers out as in.
        assert lr.numel() + sum(latent.numel() for latent in latents) == 2 * 3 * 6 * shape.scale**2


@pytest.fixture(scope="module")
def untrained():
    return HCFlow(TINY).eval()


class TestUntrained:
    def test_lr_is_the_mean_of_each_block(self, untrained):
        hr = random_picture(2, 3, 16, 8, seed=1)
        assert_close(untrained.downscale(hr), torch.nn.functional.avg_pool2d(hr, 4), 1e-6)

    def test_upscaling_repeats_pixels(self, untrained):
        lr = random_picture(2, 3, 4, 5, seed=2)
        assert_close(untrained.inverse(lr), lr.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3), 1e-6)

    def test_latents_have_the_size_of_the_details(self, untrained):
        # The matrices start orthogonal and everything else at the identity: lengths are kept.
        hr = random_picture(1, 3, 8, 8, seed=3)
        _, (z1, z2) = untrained(hr)
        a, b, c, d = hr[..., ::2, ::2], hr[..., ::2, 1::2], hr[..., 1::2, ::2], hr[..., 1::2, 1::2]
        bands = torch.cat([a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d], dim=1) / 4
        assert float(z1.detach().norm()) == pytest.approx(float(bands[:, 6:].norm()), rel=1e-5)
        assert 0 < float(z2.detach().norm()) < float(hr.norm())


@pytest.mark.slow
class TestInvertible:
    @settings(max_examples=25)
    @given(
        shape=st.sampled_from(SHAPES[:3]),
        rows=st.integers(1, 3),
        columns=st.integers(1, 3),
        count=st.integers(1, 2),
        seed=st.integers(0, 1000),
    )
    def test_inverse_undoes_forward(self, shape, rows, columns, count, seed):
        net = make_tiny_net(shape).double()
        hr = random_picture(count, 3, rows * net.scale, columns * net.scale, seed=seed, dtype=torch.float64)
        assert_close(net.inverse(*net(hr)), hr, 1e-11)

    def test_forward_undoes_inverse(self):
        net = make_tiny_net().double()
        lr = random_picture(1, 3, 3, 5, dtype=torch.float64)
        generator = torch.Generator().manual_seed(4)
        latents = [torch.randn(1, c, 3 * s, 5 * s, generator=generator).double() for c, s in ((6, 2), (21, 1))]
        got_lr, got_latents = net(net.inverse(lr, latents))
        for got, wanted in zip((got_lr, *got_latents), (lr, *latents), strict=True):
            assert_close(got, wanted, 1e-10)

    def test_downscale_is_the_lr_of_forward(self):
        net = make_tiny_net()
        hr = random_picture(2, 3, 8, 12)
        assert torch.equal(net.downscale(hr), net(hr)[0])

    def test_every_part_matters(self):
        """Guards the tests above: no part of the tiny network is an identity that a wrong inverse would pass."""
        net = make_tiny_net().double()
        hr = random_picture(1, 3, 4, 8, dtype=torch.float64)
        lr, latents = net(hr)
        restored = net.inverse(lr)
        for name, parameter in net.named_parameters():
            kept = parameter.clone()
            parameter.add_(0.3 * torch.ones_like(parameter).cumsum(-1))
            other_lr, other_latents = net(hr)
            pairs = zip((other_lr, *other_latents), (lr, *latents), strict=True)
            assert max(float((other - wanted).abs().max()) for other, wanted in pairs) > 1e-7, name
            assert float((net.inverse(lr) - restored).abs().max()) > 1e-7, name
            parameter.copy_(kept)
        assert torch.equal(net.inverse(lr), restored)


@pytest.fixture(scope="module")
def double():
    return make_tiny_net(seed=1).double()


class TestGradients:
    """Against finite differences, in float64."""

    @pytest.fixture
    def check(self):
        return functools.partial(torch.autograd.gradcheck, fast_mode=True)

    def test_of_forward(self, double, check):
        hr = random_picture(1, 3, 4, 8, dtype=torch.float64).requires_grad_()

        def flat(x):
            lr, latents = double(x)
            return lr, *latents

        assert check(flat, hr)
        assert check(double.downscale, hr)

    def test_of_inverse(self, double, check):
        lr, z1, z2 = (
            random_picture(1, c, s, 2 * s, seed=c, dtype=torch.float64).requires_grad_()
            for c, s in ((3, 1), (6, 2), (21, 1))
        )
        assert check(double.inverse, lr)
        assert check(lambda x, a, b: double.inverse(x, (a, b)), (lr, z1, z2))

    def test_passes_outside_of_the_range_of_pictures(self, double):
        lr = (random_picture(1, 3, 2, 2, dtype=torch.float64) * 8 - 4).requires_grad_()
        hr = double.inverse(lr)
        assert float(hr.detach().min()) < 0
        assert float(hr.detach().max()) > 1
        (gradient,) = torch.autograd.grad(hr.sum(), lr)
        assert bool((gradient != 0).all())


@torch.no_grad()
def test_latents_of_some_pictures():
    """They are what they are among those of all."""
    net, hr = make_tiny_net(), random_picture(3, 3, 16, 16)
    lr, latents = net(hr)
    for count in range(4):
        some_lr, some = net(hr, latents_of=count)
        assert torch.equal(some_lr, lr)
        assert len(some) == (len(latents) if count else 0)
        for part, whole in zip(some, latents, strict=False):
            assert_close(part, whole[:count], 1e-5)


class TestInitialize:
    """A fresh network begins at the statistics of some pictures, and with an LR picture that is one."""

    @pytest.fixture
    def pictures(self):
        """Dark, of little contrast, and with details: nothing that normalized channels have."""
        return 0.2 + 0.1 * random_picture(2, 3, 32, 32) ** 3

    def fresh(self):
        torch.manual_seed(0)
        return HCFlow(TINY)

    def test_lr_is_the_mean_of_squares(self, pictures):
        net, lr = self.fresh(), torch.nn.functional.avg_pool2d(pictures, 4)
        net.initialize(pictures, lr)
        assert_close(net.downscale(pictures), lr, 1e-3)

    def test_lr_takes_the_statistics_that_it_is_given(self, pictures):
        net, lr = self.fresh(), 0.5 + 0.3 * random_picture(2, 3, 8, 8, seed=1)
        net.initialize(pictures, lr)
        made = net.downscale(pictures)
        for of in (torch.mean, torch.std):
            torch.testing.assert_close(of(made, dim=(0, 2, 3)), of(lr, dim=(0, 2, 3)), rtol=0.05, atol=1e-3)

    def test_details_are_normalized(self, pictures):
        net = self.fresh()
        net.initialize(pictures, torch.nn.functional.avg_pool2d(pictures, 4))
        with torch.no_grad():
            _, latents = net(pictures)
        for latent in latents:
            assert float(latent.std()) == pytest.approx(1, abs=0.05)
            assert float(latent.mean()) == pytest.approx(0, abs=0.05)

    @pytest.mark.parametrize("contrast", [0.0, 1e-4])
    @pytest.mark.parametrize("channels", [slice(0, 3), slice(1, 3)], ids=["all", "green and blue"])
    @pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
    def test_channels_that_hardly_vary(self, pictures, level, channels, contrast):
        """A night, a wall, a red cloth: nothing that the half precision of a file cannot hold, and LR is right."""
        pictures[:, channels] = level + contrast * (pictures[:, channels] - 0.2)
        net, lr = self.fresh(), torch.nn.functional.avg_pool2d(pictures, 4)
        net.initialize(pictures, lr)
        assert all(tensor.half().isfinite().all() for tensor in net.state_dict().values())
        with torch.no_grad():
            assert_close(net.downscale(pictures), lr, 2e-3)

    @pytest.mark.parametrize("state", ["initialized", "loaded", "frozen"])
    def test_other_networks_are_left_as_they_are(self, pictures, state):
        net, lr = self.fresh(), torch.nn.functional.avg_pool2d(pictures, 4)
        if state == "initialized":
            net.initialize(pictures, lr)
        elif state == "loaded":
            net.load_state_dict(net.state_dict())
        else:
            net.eval()
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        net.initialize(random_picture(2, 3, 32, 32, seed=2), lr + 0.1)
        assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
