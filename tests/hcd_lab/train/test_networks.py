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
from hcd.nets.hcflow import ConditionalFlow
from hcd.ops import quantize
from hcd.zoo import registry
from hcd_lab.train import IRNNetwork
from hcd_lab.train.networks import RoundTrip, build_network, grow, trained_pixels
from hcd_lab.train.recipe import HCFlowNetwork
from tests.hcd_lab.train.tiny import TINY


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
    monkeypatch.setattr(registry, "_WEIGHTS_FOLDERS", (tmp_path,))
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


def fresh_flow(hr):
    net = build_network(replace(TINY, network=HCFlowNetwork(steps=(1, 1), conditional_steps=(1, 1))))
    net.initialize(hr, torch.nn.functional.avg_pool2d(hr, 4))
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(("conv5.weight", "conv3.weight", "condFlow.f.weight")):
                nn.init.normal_(parameter, std=0.02)
    return net


FOUR = torch.cat([pixels(), pixels(seed=1)])
SHARES = [(0.0, 0), (0.25, 1), (0.26, 2), (1.0, 4)]


@pytest.mark.parametrize(("share", "count"), SHARES)
@torch.no_grad()
def test_round_trip_draws_latents_for_its_share_of_the_patches(share, count):
    """The others are rebuilt from zeros."""
    flow, irn = fresh_flow(FOUR), trained((1, 1))
    for net, split in ((flow, flow.__call__), (irn, lambda hr: (irn(hr)[:, :3], [irn(hr)[:, 3:]]))):
        torch.manual_seed(5)
        lr, square, hr_hat = RoundTrip(net, latent_std=1.0, latent_share=share)(FOUR)
        whole_lr, latents = split(FOUR)
        torch.testing.assert_close(lr, whole_lr)
        seen = torch.cat([z[:count].flatten() for z in latents])
        torch.testing.assert_close(square, seen.square().mean() if count else torch.tensor(0.0))
        torch.manual_seed(5)
        drawn = [torch.cat([torch.randn_like(z[:count]), torch.zeros_like(z[count:])]) for z in latents]
        up = flow.inverse(quantize(lr), drawn) if net is flow else irn.inverse(torch.cat([quantize(lr), *drawn], 1))
        torch.testing.assert_close(hr_hat, up, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("share", "count"), SHARES)
def test_flow_looks_at_no_other_latents(share, count, monkeypatch):
    seen = []
    forward = ConditionalFlow.forward

    def noting(flow, details, condition):
        seen.append(len(details))
        return forward(flow, details, condition)

    monkeypatch.setattr(ConditionalFlow, "forward", noting)
    RoundTrip(fresh_flow(FOUR), 1.0, share)(FOUR)
    assert seen[2:] == ([count, count] if count else [])  # initializing took two


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_every_weight_of_a_flow_gets_a_gradient(share, bfloat16):
    net = fresh_flow(FOUR)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        lr, square, hr_hat = RoundTrip(net, 1.0, share)(FOUR)
    (lr.square().mean() + square + hr_hat.square().mean()).backward()
    gradients = {name: parameter.grad for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    assert sum(float(gradient.abs().max()) == 0 for gradient in gradients.values()) == 0


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
@torch.no_grad()
def test_parts_of_a_batch_make_up_the_whole(share):
    """Two processes take every other patch each."""
    net = fresh_flow(FOUR)
    lr, square, _ = RoundTrip(net, latent_share=share)(FOUR)
    parts = [RoundTrip(net, latent_share=share, part=(i, 2))(FOUR[i::2]) for i in range(2)]
    for i in range(2):
        torch.testing.assert_close(parts[i][0], lr[i::2])
    torch.testing.assert_close((parts[0][1] + parts[1][1]) / 2, square)


@torch.no_grad()
def test_shares_that_are_whole_numbers_are_not_rounded_up():
    net, hr = IRN((1,)), torch.rand(25, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert 0.28 * 25 > 7
    latents = net(hr)[:7, 3:]
    torch.testing.assert_close(RoundTrip(net, latent_share=0.28)(hr)[1], latents.square().mean())


@torch.no_grad()
def test_zeros_are_not_drawn():
    net = trained((1,))
    before = torch.get_rng_state()
    RoundTrip(net)(pixels())
    assert torch.equal(torch.get_rng_state(), before)


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
