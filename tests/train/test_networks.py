"""Networks of recipes: built from a seed, grown from smaller ones without a change of what they compute."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hcd.errors import UsageError
from hcd.nets import IRN
from hcd.nets.haar import Haar
from hcd.ops import quantize
from hcd.train import IRNNetwork
from hcd.train.networks import RoundTrip, build_network, grow, trained_pixels
from hcd.train.recipe import HCFlowNetwork
from hcd.zoo import registry
from tests.train.tiny import TINY


def trained(blocks, seed=0):
    """An IRN none of whose couplings is the identity."""
    torch.manual_seed(seed)
    net = IRN(blocks)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "conv5" in name:
                nn.init.normal_(parameter, std=0.02)
    return net


def pixels(side=16, seed=0):
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def weights_folder(tmp_path, monkeypatch):
    """An empty folder in place of the shipped weights."""
    monkeypatch.setattr(registry, "_WEIGHTS_FOLDER", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("few", "many"),
    [((1, 2), (3, 2)), ((1, 2), (1, 2)), ((2, 1), (4, 4)), ((2,), (3,)), ((1, 1), (8, 1)), ((3,), (5,))],
)
@torch.no_grad()
def test_grown_network_computes_what_the_smaller_did(few, many):
    smaller, grown = trained(few), IRN(many)
    grow(grown, smaller.state_dict())
    hr = pixels()
    y = smaller(hr)
    assert not torch.allclose(y, IRN(few)(hr))
    assert torch.equal(grown(hr), y)
    assert torch.equal(grown.inverse(y), smaller.inverse(y))


@pytest.mark.parametrize(("few", "many"), [((1,), (2, 1)), ((1, 2), (2, 3, 1)), ((1,), (1, 1, 1))])
@torch.no_grad()
def test_added_levels_do_nothing_but_the_haar_transform(few, many):
    smaller, grown = trained(few), IRN(many)
    grow(grown, smaller.state_dict())
    hr = pixels()
    y = smaller(hr)
    for level in range(len(few), len(many)):
        y = Haar(3 * 4**level)(y)
    assert torch.equal(grown(hr), y)
    torch.testing.assert_close(grown.inverse(y), hr, rtol=0, atol=1e-5)


@torch.no_grad()
def test_couplings_are_spread_evenly():
    smaller, grown = trained((2,)), IRN((6,))
    grow(grown, smaller.state_dict())
    trained_ones = [i for i, op in enumerate(grown.operations) if i and op.F.conv5.weight.abs().max() > 0]
    assert trained_ones == [1, 4]


@pytest.mark.parametrize("larger", [(3, 2), (2, 3), (2, 2, 1)])
def test_networks_do_not_shrink(larger):
    with pytest.raises(UsageError, match="cannot grow"):
        grow(IRN((2, 2)), IRN(larger).state_dict())


@pytest.mark.parametrize("alien", [{}, {"body.0.weight": torch.zeros(3, 3)}])
def test_weights_of_something_else_are_refused(alien):
    with pytest.raises(UsageError, match=r"cannot grow from one of blocks none"):
        grow(IRN((2, 2)), alien)


def test_first_weights_come_from_the_seed():
    first, again, other = (build_network(replace(TINY, seed=seed)).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@torch.no_grad()
def test_start_is_taken_from_the_shipped_weights(weights_folder):
    source = trained((1, 2))
    save_file(source.state_dict(), weights_folder / "irn-x4-small.safetensors")
    recipe = replace(TINY, network=IRNNetwork(blocks=(2, 2)), start="irn-x4-small")
    hr = pixels()
    assert torch.equal(build_network(recipe)(hr), source(hr))


def test_start_without_shipped_weights(weights_folder):
    with pytest.raises(UsageError, match=r"recipe tiny: no weights ship for its start 'irn-x2'"):
        build_network(replace(TINY, start="irn-x2"))


def test_start_that_is_deeper(weights_folder):
    save_file(trained((3,)).state_dict(), weights_folder / "irn-x2.safetensors")
    with pytest.raises(UsageError, match="cannot grow"):
        build_network(replace(TINY, start="irn-x2"))


@pytest.mark.parametrize("latent_std", [0.0, 0.5])
@torch.no_grad()
def test_round_trip_is_down_round_and_up_again(latent_std):
    net = trained((1, 1))
    hr = pixels()
    torch.manual_seed(5)
    lr, square, hr_hat = RoundTrip(net, latent_std)(hr)
    y = net(hr)
    assert torch.equal(lr, y[:, :3])
    torch.testing.assert_close(square, y[:, 3:].square().mean())
    torch.manual_seed(5)
    latent = torch.randn_like(y[:, 3:]) * latent_std
    torch.testing.assert_close(hr_hat, net.inverse(torch.cat([quantize(lr), latent], dim=1)), rtol=0, atol=1e-6)


@torch.no_grad()
def test_hcflow_makes_the_round_trip_too():
    recipe = replace(TINY, network=HCFlowNetwork(steps=(1, 1), conditional_steps=(1, 1)))
    hr = pixels()
    lr, square, hr_hat = RoundTrip(build_network(recipe), latent_std=1.0)(hr)
    assert lr.shape == (2, 3, 4, 4)
    assert hr_hat.shape == hr.shape
    assert square.shape == ()
    assert square > 0


@pytest.mark.parametrize(
    ("share", "count"), [(0.0, 0), (0.25, 1), (0.26, 2), (1.0, 4)], ids=["none", "a quarter", "rounded up", "all"]
)
@torch.no_grad()
def test_round_trip_draws_latents_for_its_share_of_the_patches(share, count):
    """The others are rebuilt from zeros, and a flow looks at the latents of none of them."""
    flow = build_network(replace(TINY, network=HCFlowNetwork(steps=(1, 1), conditional_steps=(1, 1))))
    hr = torch.cat([pixels(), pixels(seed=1)])
    flow.initialize(hr, torch.nn.functional.avg_pool2d(hr, 4))
    for net in (flow, trained((1, 1))):
        torch.manual_seed(5)
        lr, square, hr_hat = RoundTrip(net, latent_std=1.0, latent_share=share)(hr)
        torch.manual_seed(5)
        whole_lr, whole_square, sampled = RoundTrip(net, latent_std=1.0)(hr[:count])
        rest_lr, _, from_zeros = RoundTrip(net)(hr[count:])
        torch.testing.assert_close(lr, torch.cat([whole_lr, rest_lr]))
        torch.testing.assert_close(square, whole_square)
        torch.testing.assert_close(hr_hat, torch.cat([sampled, from_zeros]), rtol=0, atol=1e-4)
        assert (square > 0) == (count > 0)


def test_pixels_that_weights_have_seen(weights_folder):
    """As they tell themselves: in a sum, or, the first that shipped, by their schedule."""
    assert trained_pixels("") == 0
    assert trained_pixels("irn-x2") == 0
    weights = {"weight": torch.zeros(1)}
    save_file(weights, weights_folder / "irn-x2.safetensors", metadata={"pixels": "12345"})
    assert trained_pixels("irn-x2") == 12345
    schedule = json.dumps({"batch": 4, "patch": 96, "name": "irn-x4"})
    save_file(weights, weights_folder / "irn-x4.safetensors", metadata={"steps": "10", "recipe": schedule})
    assert trained_pixels("irn-x4") == 10 * 4 * 96**2


def test_shipped_starts_have_seen_pixels():
    """The steps of a campaign are fitted to them, so none may be mistaken for untrained."""
    assert trained_pixels("irn-x2-small") > 10**8
    assert trained_pixels("irn-x4-small") > 10**8
