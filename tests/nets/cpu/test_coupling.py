"""Couplings whose weights stay: both directions and their gradients are those of autograd through the formulas."""

from __future__ import annotations

import pytest
import torch

from hcd.nets.irn import IRN, Coupling
from hcd.nets.light import LightCoupling


@pytest.fixture(
    params=[(kind, dtype) for kind in ("irn", "light") for dtype in (torch.float32, torch.float64)],
    ids=lambda param: f"{param[0]}-{str(param[1])[6:]}",
)
def coupling(request):
    torch.manual_seed(0)
    kind, dtype = request.param
    made = Coupling(12) if kind == "irn" else LightCoupling(12, width=20, convs=4)
    for parameter in made.parameters():  # the last convolution starts at zero
        torch.nn.init.normal_(parameter, std=0.05)
    return made.to(dtype)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("count", [1, 2])
def test_gradient_is_that_of_autograd(coupling, direction, count):
    run = getattr(coupling, direction)
    x = torch.randn(count, 12, 9, 14, dtype=next(coupling.parameters()).dtype, requires_grad=True)
    expected = run(x)
    probe = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad(expected, x, probe)
    coupling.requires_grad_(False)
    result = run(x)
    tolerance = 1e-10 if x.dtype == torch.float64 else 1e-4
    torch.testing.assert_close(result, expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(torch.autograd.grad(result, x, probe)[0], gradient, rtol=tolerance, atol=tolerance)
    with torch.inference_mode():
        torch.testing.assert_close(run(x.detach()), expected.detach(), rtol=tolerance, atol=tolerance)


def test_the_input_and_the_gradient_are_left_alone(coupling):
    coupling.requires_grad_(False)
    for run in (coupling.forward, coupling.inverse):
        x = torch.randn(1, 12, 9, 14, dtype=next(coupling.parameters()).dtype, requires_grad=True)
        kept, probe = x.detach().clone(), torch.ones_like(x)
        torch.autograd.grad(run(x), x, probe)
        assert torch.equal(x.detach(), kept)
        assert torch.equal(probe, torch.ones_like(probe))


def test_the_same_twice_gives_the_same_bytes():
    torch.manual_seed(0)
    net = IRN((2, 1)).requires_grad_(False)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    y = torch.randn(1, 48, 17, 10, requires_grad=True)
    first, second = (torch.autograd.grad(net.inverse(y).square().sum(), y)[0] for _ in range(2))
    assert torch.equal(first, second)


def kept_by(coupling, y):
    """Bytes that the inverse of a frozen coupling keeps for its gradient."""
    coupling.requires_grad_(False)
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = coupling.inverse(y)
    assert result.requires_grad
    return sum(kept.values())


def test_less_is_kept_than_by_autograd():
    y = torch.randn(1, 12, 16, 16, requires_grad=True)
    # The result, the logarithm of the scale, and a bit for every inner channel of three blocks or two stacks.
    assert kept_by(Coupling(12), y) == (4 * 12 + 4 * 9 + 3 * 4 * 32 // 8) * 16 * 16
    assert kept_by(LightCoupling(12, width=8, convs=3), y) == (4 * 12 + 4 * 9 + 2 * 2 * 8 // 8) * 16 * 16
