"""GRAIN as a rescaler: one size, [0, 1] outside, gradients, and the method on it."""

from __future__ import annotations

import statistics
import subprocess
import sys

import pytest
import torch

import hcd
from hcd.errors import ShapeError
from hcd.image import Picture
from hcd.ops import quantize
from hcd.pipeline import downscale_picture, upscale_picture
from hcd.rescaler import GrayRescaler
from tests.conftest import make_smooth_picture
from tests.tiny_grain import make_tiny_grain


@pytest.fixture(scope="module")
def model():
    return make_tiny_grain()


@pytest.fixture(scope="module", params=["itself", "gray"])
def sized(request, model):
    return model if request.param == "itself" else GrayRescaler(model).freeze()


class TestSize:
    def test_is_part_of_the_contract(self, sized):
        assert (sized.scale, sized.hr_size) == (4, (64, 64))
        assert hcd.load("bicubic-x2").hr_size is None

    @pytest.mark.parametrize("size", [(64, 60), (60, 64), (128, 128), (1, 1), (16, 16)])
    def test_other_pictures_are_refused(self, sized, size):
        height, width = size
        wanted = (
            f"got a picture of {width}×{height} pixels, 'tiny-grain-x4' takes exactly 64×64; resize or crop the picture"
        )
        with pytest.raises(ShapeError, match=f"downscale: {wanted} to that size first"):
            sized.downscale(torch.rand(1, 3, height, width))

    @pytest.mark.parametrize("size", [(16, 15), (64, 64), (8, 8)])
    def test_other_lr_pictures_are_refused(self, sized, size):
        height, width = size
        with pytest.raises(ShapeError, match=rf"upscale: got a picture of {width}×{height} pixels, .* exactly 16×16"):
            sized.upscale(torch.rand(1, 3, height, width))

    @pytest.mark.parametrize("preset", ["plain", "fast", "paper"])
    def test_the_method_refuses_them_alike(self, sized, preset):
        with pytest.raises(ShapeError, match="got a picture of 96×80 pixels"):
            hcd.collaborate(torch.rand(1, 3, 80, 96), sized, preset)


class TestRange:
    def test_mid_gray_is_the_networks_zero(self, model):
        gray = torch.full((1, 3, 64, 64), 0.5)
        torch.testing.assert_close(2 * model.downscale(gray) - 1, model.net.downscale(torch.zeros_like(gray)))

    def test_outside_is_half_of_the_inside(self, model):
        lr = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(model.upscale(lr), (model.net.upscale(2 * lr - 1) + 1) / 2)


class TestGradient:
    @pytest.mark.parametrize("operation", ["downscale", "upscale"])
    def test_against_finite_differences(self, operation):
        model = make_tiny_grain().double()
        apply = getattr(model, operation)
        side = 64 if operation == "downscale" else 16
        generator = torch.Generator().manual_seed(0)
        start = torch.rand(1, 3, side, side, generator=generator, dtype=torch.float64).requires_grad_()
        output = apply(start)
        weights = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        (gradient,) = torch.autograd.grad((weights * output).sum(), start)

        def value(x):
            return float((weights * apply(x)).sum())

        start, step, errors = start.detach(), 1e-8, []
        for _ in range(3):
            direction = torch.randn(start.shape, generator=generator, dtype=torch.float64)
            measured = (value(start + step * direction) - value(start - step * direction)) / (2 * step)
            length = float(torch.linalg.vector_norm(gradient) * torch.linalg.vector_norm(direction))
            errors.append(abs(measured - float((gradient * direction).sum())) / length)
        assert statistics.median(errors) < 1e-6

    def test_no_weight_has_one(self, model):
        lr = torch.rand(1, 3, 16, 16).requires_grad_()
        torch.autograd.grad(model.upscale(lr).sum(), lr)
        assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.parameters())


@pytest.mark.slow
class TestMethod:
    @pytest.mark.slow
    def test_lr_stage_at_256(self):
        model, hr = make_tiny_grain(256), make_smooth_picture(256, 256)
        result = hcd.collaborate(hr, model, "fast", steps_lr=4, epsilon_lr=0.2)
        losses = [entry.loss for entry in result.history]
        assert min(losses[1:]) < 0.99 * losses[0]
        assert result.psnr[0] > result.plain_psnr[0]
        assert result.lr.shape == (1, 3, 16, 16)

    def test_hr_stage(self, model):
        hr = make_smooth_picture(64, 64)
        result = hcd.collaborate(hr, model, "fast", steps_hr=4, steps_lr=0, round_hr=False)
        losses = [entry.loss for entry in result.history if entry.stage == "hr"]
        assert min(losses[1:]) < losses[0]

    def test_deterministic(self, model):
        hr = make_smooth_picture(64, 64)
        torch.manual_seed(1)
        first = hcd.collaborate(hr, model, "fast", steps_lr=2).lr
        torch.manual_seed(2)
        assert torch.equal(hcd.collaborate(hr, model, "fast", steps_lr=2).lr, first)

    @pytest.mark.parametrize("gray", [False, True])
    def test_a_picture_goes_there_and_back(self, model, gray):
        rgb = make_smooth_picture(64, 64)
        picture = Picture(rgb=rgb[:, :1].expand(-1, 3, -1, -1) if gray else rgb, gray=gray)
        small = downscale_picture(picture, model, hcd.PRESETS["fast"].replace(steps_lr=1))
        assert small.picture.rgb.shape == (1, 3, 16, 16)
        restored = upscale_picture(small.picture, model, small.info)
        assert restored.rgb.shape == (1, 3, 64, 64)
        receiver = GrayRescaler(model) if gray else model
        assert torch.equal(restored.rgb, quantize(receiver.upscale(small.picture.rgb)))
        assert small.info.latent == "zeros"


_MEASURED = """
import re, torch
from pathlib import Path
from hcd.nets.grain import GRAIN, GRAINConfig
from hcd.rescaler.grain import GrainRescaler
torch.set_num_threads(1)
model = GrainRescaler(GRAIN(GRAINConfig(size=256)), name="grain").freeze()
hr = torch.rand(1, 3, 256, 256).requires_grad_()
loss = (model.upscale(model.downscale(hr)) - hr.detach()).square().mean()
torch.autograd.grad(loss, hr)
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 2**20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the peak of a process by itself")
@pytest.mark.slow
def test_256_fits_into_4_gib():
    """One HR-stage gradient of the full-width network: the larger of the two stages, in a process of its own.

    Read from /proc, for the peak that getrusage tells begins with that of the parent.
    """
    done = subprocess.run([sys.executable, "-c", _MEASURED], capture_output=True, text=True, check=True)
    assert 0.5 < float(done.stdout) < 4
