"""Pictures that do not fit are refused before they are tried."""

from __future__ import annotations

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import hcd
from hcd.collab import memory
from hcd.errors import PictureTooLargeError
from hcd.nets.grain import fusion, rescaling, stylegan2
from hcd.rescaler import GrayRescaler
from tests.conftest import make_tiny_irn
from tests.tiny_grain import make_tiny_grain


def bytes_per_pixel(model, *, through_downscale):
    return memory._bytes_per_pixel(torch.rand(1, 3, 64, 64), model, through_downscale)


def test_estimate_follows_depth_and_stages():
    shallow, deep = make_tiny_irn(2), make_tiny_irn(4)
    assert bytes_per_pixel(deep, through_downscale=False) > bytes_per_pixel(shallow, through_downscale=False) > 100
    ratio = bytes_per_pixel(deep, through_downscale=True) / bytes_per_pixel(deep, through_downscale=False)
    assert 1.5 < ratio < 2.5


def test_picture_that_cannot_fit_is_refused(monkeypatch):
    model, hr = make_tiny_irn(2), torch.rand(1, 3, 128, 128)
    needed = 128 * 128 * bytes_per_pixel(model, through_downscale=False)
    monkeypatch.setattr(memory, "_memory", lambda device: int(needed))
    sides, downscale = [], model.downscale
    monkeypatch.setattr(model, "downscale", lambda picture: sides.append(picture.shape[-1]) or downscale(picture))
    with pytest.raises(PictureTooLargeError, match="128×128 pixels need about"):
        hcd.collaborate(hr, model, "fast")
    # Refused before anything was done at its full size.
    assert max(sides) < 128
    assert hcd.collaborate(hr, model, "plain").lr.shape == (1, 3, 64, 64)
    monkeypatch.setattr(memory, "_memory", lambda device: int(2 * needed))
    assert hcd.collaborate(hr, model, "fast", steps_lr=1).grad_evals == 1
    with pytest.raises(PictureTooLargeError):
        hcd.collaborate(hr, model, "paper")


class TestModelsOfOneSize:
    """No piece of their pictures can be tried; the estimate comes from a run without pixels."""

    @pytest.fixture(params=["itself", "gray"])
    def model(self, request):
        return make_tiny_grain() if request.param == "itself" else GrayRescaler(make_tiny_grain()).freeze()

    def test_picture_that_cannot_fit_is_refused(self, model, monkeypatch):
        hr = torch.rand(1, 3, 64, 64)
        needed = 1.3 * memory._bytes_at_once(hr, model, False)
        monkeypatch.setattr(memory, "_memory", lambda device: int(0.99 * needed))
        with pytest.raises(PictureTooLargeError, match=r"64×64 pixels need about .*; use preset plain") as caught:
            hcd.collaborate(hr, model, "fast")
        # It has one size, so that shrinking the picture is no way out.
        assert "shrink" not in str(caught.value)
        with pytest.raises(PictureTooLargeError, match="; leave the HR stage out, or use preset plain"):
            hcd.collaborate(hr, model, "paper")
        assert hcd.collaborate(hr, model, "plain").lr.shape == (1, 3, 16, 16)
        monkeypatch.setattr(memory, "_memory", lambda device: int(1.01 * needed))
        assert hcd.collaborate(hr, model, "fast", steps_lr=1).grad_evals == 1

    def test_model_is_left_alone(self, model):
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        memory.check_memory(torch.rand(1, 3, 64, 64), model, through_downscale=True)
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, weights[name])

    def test_the_hr_stage_takes_more(self, model):
        hr = torch.rand(1, 3, 64, 64)
        assert memory._bytes_at_once(hr, model, True) > memory._bytes_at_once(hr, model, False)

    def test_recomputation_takes_less(self, model, monkeypatch):
        hr = torch.rand(1, 3, 64, 64)
        recomputed = memory._bytes_at_once(hr, model, False)
        for module in (fusion, rescaling, stylegan2):
            monkeypatch.setattr(module, "recomputed", lambda block, *inputs: block(*inputs))
        assert memory._bytes_at_once(hr, model, False) > 1.5 * recomputed

    def test_is_what_a_profiler_sees(self, model):
        hr = torch.rand(1, 3, 64, 64)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
            with torch.no_grad():
                lr = model.downscale(hr)
            lr.requires_grad_()
            torch.autograd.grad((model.upscale(lr) - hr).square().mean(), lr)
        now = peak = 0
        for event in profiler.profiler.kineto_results.events():
            if event.name() == "[memory]":
                now += event.nbytes()
                peak = max(peak, now)
        # Convolutions allocate working buffers, for which there is a margin.
        assert 0.6 < peak / memory._bytes_at_once(hr, model, False) < 1.3


def test_pieces_and_whole_agree_where_both_can_be_had():
    """Everything that is kept, and then a few gradients in flight."""
    model, hr = make_tiny_irn(2), torch.rand(1, 3, 64, 64)
    kept = 64 * 64 * bytes_per_pixel(model, through_downscale=False)
    assert 1 < memory._bytes_at_once(hr, model, False) / kept < 1.3
