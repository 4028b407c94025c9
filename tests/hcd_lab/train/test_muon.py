"""Muon: orthogonal steps for matrices, Adam's for the rest, and a state that can be saved."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from hcd.nets import IRN
from hcd.nets.hcflow import HCFlow, HCFlowShape
from hcd_lab.train.muon import Muon, orthogonalize
from hcd_lab.train.step import Execution, make_optimizer
from tests.hcd_lab.train.tiny import TINY


@pytest.mark.parametrize("shape", [(3, 8, 72), (2, 40, 8), (1, 5, 5), (2, 1, 9)], ids=str)
def test_singular_values_come_near_one(shape):
    matrices = torch.randn(shape) * torch.logspace(-4, 4, shape[0])[:, None, None]
    found = orthogonalize(matrices)
    assert found.shape == shape
    assert found.dtype == torch.float32
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6
    assert values.max() < 1.3
    # Directions stay.
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    assert (found * (u @ v)).sum() / shape[0] > 0.9 * min(shape[1:])


def test_nothing_becomes_nothing():
    assert torch.equal(orthogonalize(torch.zeros(2, 3, 9)), torch.zeros(2, 3, 9))


def test_size_of_a_step_is_that_of_adam():
    weight = nn.Parameter(torch.zeros(32, 16, 3, 3))
    optimizer = Muon([weight], [], lr=0.1)
    weight.grad = torch.randn_like(weight) * 1e-6
    optimizer.step()
    assert weight.detach().square().mean().sqrt() == pytest.approx(0.1 * 0.2, rel=0.15)
    assert (weight * weight.grad).sum() < 0


@pytest.mark.parametrize("rate", [0.1, torch.tensor(0.1)], ids=["number", "tensor"])
def test_all_else_moves_as_by_adam(rate):
    ours, theirs = (nn.Parameter(torch.ones(7)) for _ in range(2))
    optimizers = [Muon([], [ours], lr=rate), torch.optim.Adam([theirs], lr=0.03, betas=(0.9, 0.99))]
    for _ in range(9):
        ours.grad = torch.randn(7)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_a_rate_that_is_a_tensor_is_followed():
    """Steps that are captured as a graph read it when they are replayed."""

    def run(rate, change):
        weights = nn.Parameter(torch.ones(4, 3, 3, 3)), nn.Parameter(torch.ones(4))
        optimizer = Muon(weights[:1], weights[1:], lr=rate, weight_decay=0.1)
        generator = torch.Generator().manual_seed(0)
        for value in (0.1, 0.02, 0.3):
            change(optimizer, value)
            for weight in weights:
                weight.grad = torch.randn(weight.shape, generator=generator)
            optimizer.step()
        return weights

    def assign(optimizer, value):
        for group in optimizer.param_groups:
            group["lr"] = value

    tensor = torch.tensor(1.0)
    for a, b in zip(run(1.0, assign), run(tensor, lambda _, value: tensor.fill_(value)), strict=True):
        torch.testing.assert_close(a, b)


def test_what_has_no_gradient_stays():
    weights = [nn.Parameter(torch.ones(4, 4)) for _ in range(2)]
    biases = [nn.Parameter(torch.ones(4)) for _ in range(2)]
    optimizer = Muon(weights, biases, lr=0.1)
    weights[0].grad, biases[0].grad = torch.ones(4, 4), torch.ones(4)
    optimizer.step()
    for moved, still in (weights, biases):
        assert not torch.equal(moved, torch.ones_like(moved))
        assert torch.equal(still, torch.ones_like(still))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["rows", "channels last"])
def test_layout_of_weights_does_not_matter(layout):
    weight = nn.Parameter(torch.ones(4, 3, 3, 3).to(memory_format=layout))
    weight.grad = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)).to(memory_format=layout)
    optimizer = Muon([weight], [], lr=0.1)
    optimizer.step()
    step = (1 - weight.detach()).flatten(1)
    u, _, v = torch.linalg.svd(weight.grad.flatten(1), full_matrices=False)
    assert (step * (u @ v)).sum() > 0.95 * step.norm() * (u @ v).norm()


def test_weight_decay_shrinks_matrices_alone():
    weight, bias = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4))
    optimizer = Muon([weight], [bias], lr=0.5, weight_decay=0.1)
    weight.grad, bias.grad = torch.zeros(4, 4), torch.zeros(4)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.full((4, 4), 0.95))
    assert torch.equal(bias.detach(), torch.ones(4))


def test_state_goes_on_where_it_was():
    torch.manual_seed(0)
    gradients = [(torch.randn(4, 3, 3, 3), torch.randn(4)) for _ in range(6)]

    def run(steps, weights, optimizer):
        for by_weight, by_bias in steps:
            weights[0].grad, weights[1].grad = by_weight, by_bias
            optimizer.step()

    def made():
        weights = nn.Parameter(torch.ones(4, 3, 3, 3)), nn.Parameter(torch.ones(4))
        return weights, Muon([weights[0]], [weights[1]], lr=0.1)

    whole, first, second = made(), made(), made()
    run(gradients, *whole)
    run(gradients[:3], *first)
    second[1].load_state_dict(first[1].state_dict())
    with torch.no_grad():
        for new, old in zip(second[0], first[0], strict=True):
            new.copy_(old)
    run(gradients[3:], *second)
    for a, b in zip(whole[0], second[0], strict=True):
        assert torch.equal(a, b)


def test_a_recipe_gives_it_the_inner_convolutions_of_irn():
    net = IRN((2, 1))
    first, second = make_optimizer(replace(TINY, optimizer="muon"), net, Execution()).param_groups
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    assert {names[id(weight)].split(".", 3)[-1] for weight in first["params"]} == {
        f"conv{i}.weight" for i in range(1, 5)
    }
    assert len(first["params"]) == 3 * 3 * 4
    assert len(first["params"]) + len(second["params"]) == sum(p.requires_grad for p in net.parameters())


def test_a_recipe_gives_it_the_inner_convolutions_of_hcflow():
    net = HCFlow(HCFlowShape(steps=(1, 1), conditional_steps=(1, 1)))
    first, second = make_optimizer(replace(TINY, optimizer="muon"), net, Execution()).param_groups
    assert all(weight.ndim == 4 and weight[0].numel() > 1 for weight in first["params"])
    assert all(weight.any() for weight in first["params"])
    others = {id(weight) for weight in second["params"]}
    zero = [m.weight for m in net.modules() if isinstance(m, torch.nn.Conv2d) and not m.weight.any()]
    assert zero
    assert all(id(weight) in others for weight in zero)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    # Of residual blocks, the last convolution is an inner one.
    assert any(names[id(weight)].endswith("RDB1.conv5.weight") for weight in first["params"])
