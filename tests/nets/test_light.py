"""Light networks: exact inverses, shapes read from weights, counted multiplications, operations that runtimes have."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from hcd.nets import Light, LightShape
from hcd.nets.haar import Haar

SHAPE = LightShape(blocks=(1, 2), widths=(5, 8))


def make(shape: LightShape = SHAPE, seed: int = 0) -> Light:
    """A network far from the identity."""
    net = Light(shape)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return net


@pytest.mark.parametrize("shape", [SHAPE, LightShape(blocks=(3,), widths=(4,), convs=2)])
def test_inverse_undoes_forward(shape):
    net = make(shape).double()
    hr = torch.rand(2, 3, 16, 24, dtype=torch.float64)
    y = net(hr)
    assert y.shape == (2, 3 * net.scale**2, 16 // net.scale, 24 // net.scale)
    assert not torch.allclose(y[:, :3], torch.nn.functional.avg_pool2d(hr, net.scale), atol=1e-3)
    torch.testing.assert_close(net.inverse(y), hr, rtol=0, atol=1e-12)


def test_an_untrained_network_is_the_haar_transform():
    hr = torch.rand(1, 3, 8, 8)
    expected = Haar(12)(Haar(3)(hr))
    torch.testing.assert_close(Light(SHAPE)(hr), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    "shape", [SHAPE, LightShape(blocks=(3, 6), widths=(32, 32)), LightShape(blocks=(2,), widths=(7,), convs=4)]
)
def test_shape_is_read_from_the_weights(shape):
    assert Light.shape_of(Light(shape).state_dict()) == shape


def test_other_weights_are_not_a_light_network():
    assert Light.shape_of({}) is None
    assert (
        Light.shape_of({"operations.0.haar_weights": torch.zeros(1), "operations.1.F.conv1.weight": torch.zeros(1)})
        is None
    )


def test_multiplications_are_counted():
    net = make()
    with FlopCounterMode(display=False) as counter:
        net(torch.rand(1, 3, 16, 16))
    assert counter.get_total_flops() / 2 / 16**2 == pytest.approx(SHAPE.multiplications)


def test_small_and_medium_keep_their_budgets():
    from hcd_lab.train import get_recipe

    for name, most in (("light-x4", 45e3), ("light-x2", 45e3)):
        network = get_recipe(name).network
        shape = LightShape(blocks=network.blocks, widths=network.widths, convs=network.convs)
        assert 0.8 * most < shape.multiplications <= most


class _Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_the_receiver_needs_no_operation_that_runtimes_lack():
    net, y = make(), torch.rand(1, 48, 4, 4)
    with _Operations() as seen, torch.no_grad():
        net.inverse(y)
    arithmetic = {"add", "sub", "mul", "div", "neg", "exp", "tanh", "leaky_relu"}
    moves = {
        "slice",
        "cat",
        "split",
        "split_with_sizes",
        "stack",
        "view",
        "_unsafe_view",
        "pixel_shuffle",
        "clone",
        "permute",
        "reshape",
        "_reshape_alias",
    }
    assert "convolution" in seen.names
    assert seen.names <= {"convolution", *arithmetic, *moves}
