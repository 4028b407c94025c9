"""Fixed-kernel rescalers: what the upscaler is given, what of its result is kept, and what the method gains."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

import hcd
from hcd.errors import ShapeError, UsageError
from hcd.ops import resize_bicubic
from hcd.rescaler import FixedKernelRescaler, SizeRequirement


class Repeat(nn.Module):
    """Repeats every pixel, and remembers what it was given."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.given = []

    def forward(self, lr):
        self.given.append(lr)
        return lr.repeat_interleave(self.scale, dim=2).repeat_interleave(self.scale, dim=3)


def random_picture(*shape, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


class TestSizeRequirement:
    @pytest.mark.parametrize(
        ("requirement", "size", "fitting"),
        [
            ({}, (5, 7), (5, 7)),
            ({"minimum": 15}, (5, 40), (15, 40)),
            ({"multiple_of": 8}, (8, 9), (8, 16)),
            ({"minimum": 10, "multiple_of": 4}, (3, 11), (12, 12)),
            ({"square": True}, (5, 7), (7, 7)),
            ({"square": True, "multiple_of": 4}, (9, 3), (12, 12)),
        ],
    )
    def test_the_smallest_size_that_fits(self, requirement, size, fitting):
        assert SizeRequirement(**requirement).fit(*size) == fitting

    def test_a_multiple_of_nothing(self):
        with pytest.raises(UsageError, match="multiple_of 0: must be 1 or more"):
            SizeRequirement(multiple_of=0)


class TestWhatTheUpscalerSees:
    @pytest.mark.parametrize("size", [(1, 1), (1, 9), (6, 2), (8, 8), (9, 16)])
    def test_an_allowed_size_of_which_the_picture_is_the_corner(self, size):
        upscaler = Repeat(3)
        requirement = SizeRequirement(minimum=6, multiple_of=4)
        lr = random_picture(2, 3, *size)
        hr = FixedKernelRescaler(upscaler, 3, name="repeat-x3", size=requirement).upscale(lr)
        assert upscaler.given[0].shape[-2:] == requirement.fit(*size)
        assert torch.equal(upscaler.given[0][..., : size[0], : size[1]], lr)
        assert torch.equal(hr, Repeat(3)(lr))

    def test_the_extension_mirrors_then_repeats(self):
        upscaler = Repeat(2)
        lr = torch.tensor([[1.0, 2.0, 3.0]]).expand(1, 3, 1, 3)
        FixedKernelRescaler(upscaler, 2, name="repeat-x2", size=SizeRequirement(minimum=7)).upscale(lr)
        assert upscaler.given[0].shape == (1, 3, 7, 7)
        assert (upscaler.given[0] == torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0, 1.0, 1.0])).all()

    def test_its_white(self):
        upscaler = Repeat(2)
        lr = random_picture(1, 3, 4, 5)
        hr = FixedKernelRescaler(upscaler, 2, name="repeat-x2", white=255.0).upscale(lr)
        assert torch.equal(upscaler.given[0], 255 * lr)
        torch.testing.assert_close(hr, Repeat(2)(lr), rtol=1e-6, atol=0)

    def test_it_is_called_as_asked(self):
        model = FixedKernelRescaler(Repeat(2), 2, name="repeat-x2", call=lambda upscaler, lr: 0.5 * upscaler(lr))
        lr = random_picture(1, 3, 4, 5)
        assert torch.equal(model.upscale(lr), 0.5 * Repeat(2)(lr))


def test_an_upscaler_of_another_scale():
    model = FixedKernelRescaler(Repeat(4), 2, name="repeat-x2")
    with pytest.raises(ShapeError, match=r"made \(1, 3, 16, 20\) of \(1, 3, 4, 5\), needs \(1, 3, 8, 10\) at scale 2"):
        model.upscale(random_picture(1, 3, 4, 5))


class TestPrecision:
    def test_single_and_double_by_default(self):
        model = FixedKernelRescaler(nn.Upsample(scale_factor=2), 2, name="nearest-x2")
        for dtype in (torch.float32, torch.float64):
            assert model.upscale(random_picture(1, 3, 4, 4, dtype=dtype)).dtype == dtype
        with pytest.raises(ShapeError, match=r"'nearest-x2' runs in torch\.float32, torch\.float64; convert"):
            model.upscale(random_picture(1, 3, 4, 4).half())

    def test_half_where_the_upscaler_takes_it(self):
        precisions = (torch.float32, torch.float16)
        model = FixedKernelRescaler(nn.Upsample(scale_factor=2), 2, name="nearest-x2", precisions=precisions)
        assert model.upscale(random_picture(1, 3, 4, 4).half()).dtype == torch.float16
        with pytest.raises(ShapeError, match=r"torch\.float64.* runs in torch\.float32, torch\.float16"):
            model.upscale(random_picture(1, 3, 4, 4).double())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_down_is_bicubic(scale):
    hr = random_picture(1, 3, 6 * scale, 5 * scale)
    model = FixedKernelRescaler(Repeat(scale), scale, name="repeat")
    assert torch.equal(model.downscale(hr), resize_bicubic(hr, Fraction(1, scale)))


@pytest.mark.parametrize("scale", [2, 4])
def test_the_method_gains_with_an_upscaler_that_stays_as_it_is(photo, scale):
    model = FixedKernelRescaler(nn.Upsample(scale_factor=scale, mode="bicubic"), scale, name="bicubic-twice")
    reached = {}
    for preset in ("plain", "paper", "balanced"):
        lr = hcd.collaborate(photo, model, preset).lr
        reached[preset] = hcd.psnr(hcd.quantize(model.upscale(lr)), photo, channel="rgb")
    assert reached["balanced"] > reached["plain"] + 0.3
    assert reached["paper"] > reached["plain"] + 0.3
