"""RLFN: sizes, names, and every step against a transcription of the paper that shares no code with it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from hcd.errors import UsageError
from hcd.nets import IRN, RLFN
from hcd.nets.rlfn import RLFNShape
from tests.zoo.samples import make_tiny_rlfn_net


def conv(x, state, name, stride=1, padding=0):
    """A convolution as a product of matrices."""
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    side = weight.shape[-1]
    columns = F.unfold(x, side, padding=padding, stride=stride)
    height, width = ((length + 2 * padding - side) // stride + 1 for length in x.shape[-2:])
    return (weight.flatten(1) @ columns).unflatten(-1, (height, width)) + bias[:, None, None]


def bilinear_matrix(small, large):
    """Enlarging one axis: pixel centers are aligned, the border pixel repeats."""
    matrix = torch.zeros(large, small, dtype=torch.float64)
    for i in range(large):
        position = min(max((i + 0.5) * small / large - 0.5, 0), small - 1)
        below = int(position)
        matrix[i, below] += 1 - (position - below)
        if position > below:
            matrix[i, below + 1] += position - below
    return matrix


def attention(x, state, name):
    near = conv(x, state, f"{name}.conv1")
    strided = conv(near, state, f"{name}.conv2", stride=2)
    pooled = strided.unfold(2, 7, 3).unfold(3, 7, 3).amax(dim=(-2, -1))
    wide = conv(pooled, state, f"{name}.conv3", padding=1)
    rows, columns = (bilinear_matrix(a, b) for a, b in zip(wide.shape[-2:], x.shape[-2:], strict=True))
    mask = conv(rows @ wide @ columns.T + conv(near, state, f"{name}.conv_f"), state, f"{name}.conv4")
    return x / (1 + torch.exp(-mask))


def transcription(lr, state, *, blocks, scale):
    first = features = conv(lr, state, "conv_1", padding=1)
    for block in range(1, blocks + 1):
        local = features
        for name in ("c1_r", "c2_r", "c3_r"):
            local = conv(local, state, f"block_{block}.{name}", padding=1)
            local = torch.where(local > 0, local, 0.05 * local)
        features = attention(conv(features + local, state, f"block_{block}.c5"), state, f"block_{block}.esa")
    out = conv(conv(features, state, "conv_2", padding=1) + first, state, "upsampler.0", padding=1)
    height, width = lr.shape[-2:]
    hr = torch.empty(len(lr), 3, height * scale, width * scale, dtype=out.dtype)
    for i in range(scale):
        for j in range(scale):
            hr[:, :, i::scale, j::scale] = out[:, i * scale + j :: scale**2]
    return hr


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(15, 15), (23, 40)])
def test_against_a_transcription(scale, size):
    net = make_tiny_rlfn_net(scale).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    lr = 255 * torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted = transcription(lr, net.state_dict(), blocks=2, scale=scale)
    torch.testing.assert_close(net(lr), wanted, rtol=1e-10, atol=1e-8)


class TestNamesAndShapes:
    def test_published_network(self):
        state = RLFN().state_dict()
        assert len(state) == 114
        assert sum(tensor.numel() for tensor in state.values()) == 543740
        assert tuple(state["block_6.esa.conv4.weight"].shape) == (52, 16, 1, 1)
        assert tuple(state["upsampler.0.weight"].shape) == (48, 52, 3, 3)

    @pytest.mark.parametrize(
        "shape",
        [RLFNShape(), RLFNShape(scale=2), RLFNShape(scale=3, channels=5, attention_channels=2, blocks=11)],
        ids=str,
    )
    def test_the_shape_is_read_from_the_state(self, shape):
        assert RLFN.shape_of(RLFN(shape).state_dict()) == shape

    @pytest.mark.parametrize("missing", ["conv_1.weight", "upsampler.0.weight", "block_1.esa.conv1.weight"])
    def test_other_states_have_none(self, missing):
        state = RLFN(RLFNShape(blocks=1)).state_dict()
        del state[missing]
        assert RLFN.shape_of(state) is None

    def test_what_is_no_picture_has_none(self):
        state = RLFN(RLFNShape(blocks=1)).state_dict()
        for outputs in (3 * 15, 50):
            state["upsampler.0.weight"] = torch.zeros(outputs, 52, 3, 3)
            assert RLFN.shape_of(state) is None
        assert RLFN.shape_of(IRN((1,)).state_dict()) is None
        assert RLFN.shape_of({}) is None

    @pytest.mark.parametrize("field", ["scale", "channels", "attention_channels", "blocks"])
    def test_nothing_below_one(self, field):
        with pytest.raises(UsageError, match="at least 1 of everything"):
            RLFNShape(**{field: 0})


def test_the_smallest_size_is_the_smallest():
    net = make_tiny_rlfn_net(2)
    side = RLFN.smallest
    assert net(torch.zeros(1, 3, side, side)).shape == (1, 3, 2 * side, 2 * side)
    for size in ((side - 1, side), (side, side - 1)):
        with pytest.raises(RuntimeError):
            net(torch.zeros(1, 3, *size))


def test_frozen_as_in_training():
    """Values and gradients in float32, by the faster convolutions, are those of doubles by PyTorch's."""
    net = make_tiny_rlfn_net(2)
    lr = 255 * torch.rand(1, 3, 24, 31, generator=torch.Generator().manual_seed(1))
    results = []
    for kernel, sample in ((net, lr), (copy.deepcopy(net).double().requires_grad_(True), lr.double())):
        sample = sample.requires_grad_()
        hr = kernel(sample)
        results.append((hr.detach().double(), torch.autograd.grad(hr.square().sum(), sample)[0].double()))
    for made, expected in zip(*results, strict=True):
        assert (made - expected).norm() < 1e-4 * expected.norm()
