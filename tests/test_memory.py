"""Memory planning: counts agree with measurements, limits hold, and errors name the minimum."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import hcd
from hcd import memory
from hcd.collab import fit, fit_solving
from hcd.collab.fit import Solving
from hcd.errors import PictureTooLargeError
from hcd.memory import fit_upscaling
from hcd.nets import gradient_precision
from hcd.nets.cpu import convolution
from hcd.nets.cpu.dispatch import bytes_to_prepare
from hcd.nets.grain import fusion, rescaling, stylegan2
from hcd.rescaler import GrayRescaler, TiledRescaler, receptive_field_of
from tests.conftest import make_smooth_picture, make_tiny_irn
from tests.tiny_grain import make_tiny_grain

MIB, GIB = 2**20, 2**30


def bytes_per_pixel(model, work):
    return memory.bytes_per_pixel(work, torch.rand(1, 3, 64, 64), model)


def spare(monkeypatch, size):
    """So many bytes may be taken, whatever limit is given and whatever the machine has."""
    monkeypatch.setattr(memory, "_spare", lambda device, limit: size)


def least(monkeypatch, succeeds):
    """The least bytes to spare with which a call returns true, to 100 KB."""
    low, high = 0, 2 * GIB
    while high - low > 1e5:
        spare(monkeypatch, (low + high) / 2)
        low, high = (low, (low + high) / 2) if succeeds() else ((low + high) / 2, high)
    return high


def least_for_whole(monkeypatch, hr, model, **settings):
    """The least bytes to spare with which a picture is solved as a whole."""

    def is_whole():
        try:
            return fitted(hr, model, **settings) is model
        except PictureTooLargeError:
            return False

    return least(monkeypatch, is_whole)


def areas(tiled, height, width):
    """LR pixels of the windows that a picture is cut into."""
    return [
        (tile.window_bottom - tile.window_top) * (tile.window_right - tile.window_left)
        for tile in tiled.tiles(height, width)
    ]


def fitted(hr, model, **settings):
    return fit_solving(hr, model, **{"steps_hr": 0, "steps_lr": 5, **settings})


def test_count_follows_depth_and_stages():
    shallow, deep = make_tiny_irn(2), make_tiny_irn(4)
    assert bytes_per_pixel(deep, Solving()) > bytes_per_pixel(shallow, Solving()) > 100
    for model in (shallow, deep):
        both, lr, down, up = (
            bytes_per_pixel(model, work) for work in (Solving(by_hr=True), Solving(), fit._downscale, memory._upscale)
        )
        assert 1.05 < both / lr < 2.5
        assert max(down, up) < lr


def test_pieces_and_whole_agree():
    model = make_tiny_irn(2)
    whole = memory.bytes_at_once(Solving(), torch.rand(1, 3, 128, 128), model)
    assert whole == pytest.approx(128**2 * bytes_per_pixel(model, Solving()), rel=0.1)


def peak_of(work):
    """Bytes that tensors take at most, as the profiler sees it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        work()
    now = peak = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return peak


def test_count_is_what_a_profiler_sees(monkeypatch):
    # What the Winograd transform works in is counted, but no profiler sees it.
    monkeypatch.setattr(convolution, "has_winograd", lambda: False)
    model, hr = make_tiny_irn(2), torch.rand(1, 3, 64, 64)

    def solve():
        value, sample = Solving()(model, hr)
        torch.autograd.grad(value, sample)

    solve()  # what is made of the weights is kept
    # Convolutions allocate working buffers, for which there is a margin.
    assert 0.8 < peak_of(solve) / memory.bytes_at_once(Solving(), hr, model) < 1.3


class TestFitting:
    """Whole where that fits, else the largest tiles that do."""

    @pytest.fixture
    def model(self):
        return make_tiny_irn(2)

    @pytest.fixture
    def hr(self):
        return torch.rand(1, 3, 400, 480)

    @pytest.fixture(autouse=True)
    def prepared(self, model):
        """With its kernels prepared, which else would count."""
        lr = torch.rand(1, 3, 8, 8, requires_grad=True)
        for precision in ("float32", "auto"):
            with gradient_precision(precision):
                model.upscale(lr).sum().backward()
        assert bytes_to_prepare(model, gradients=True) == 0

    def test_what_fits_is_left_whole(self, model, hr, monkeypatch):
        spare(monkeypatch, 10 * GIB)
        assert fitted(hr, model) is model
        assert fitted(hr, model, steps_hr=5) is model
        assert fit_upscaling(hr, model) is model

    def test_what_does_not_fit_is_tiled(self, model, hr, monkeypatch):
        spare(monkeypatch, 0.99 * least_for_whole(monkeypatch, hr, model))
        tiled = fitted(hr, model)
        assert isinstance(tiled, TiledRescaler)
        assert tiled.inner is model
        assert tiled.halo == receptive_field_of(model)
        # A plain LR picture needs no gradient, upscaling neither.
        assert fitted(hr, model, steps_lr=0) is model
        assert fit_upscaling(model.downscale(hr), model) is model

    def test_what_is_done_decides(self, model, hr, monkeypatch):
        plain, few, lr, many, hr_too = (
            least_for_whole(monkeypatch, hr, model, **settings)
            for settings in (
                {"steps_lr": 0},
                {"steps_lr": 3},
                {"steps_lr": 8},
                {"steps_lr": 40},
                {"steps_lr": 8, "steps_hr": 5},
            )
        )
        # A solver keeps the last few evaluations. An HR stage holds both networks at once.
        assert plain < few < lr == many < hr_too

    def test_windows_fit_and_use_what_there_is(self, model, hr, monkeypatch):
        whole = least_for_whole(monkeypatch, hr, model)
        largest = []
        for share in (0.5, 0.7, 0.95):
            spare(monkeypatch, share * whole)
            largest.append(max(areas(fitted(hr, model), 200, 240)))
            assert largest[-1] < share * 200 * 240
        assert largest[0] < largest[-1]
        assert largest == sorted(largest)

    def test_windows_grow_no_larger_than_pays(self, model, hr, monkeypatch):
        spare(monkeypatch, 0.99 * least_for_whole(monkeypatch, hr, model))
        small = dataclasses.replace(memory._RETURNED, largest_window=60 * 60 * model.scale**2)
        monkeypatch.setattr(memory, "_RETURNED", small)
        assert 0.25 * 60 * 60 < max(areas(fitted(hr, model), 200, 240)) <= 60 * 60
        # What fits whole is not cut.
        spare(monkeypatch, 10 * GIB)
        assert fitted(hr, model) is model

    def test_freed_memory_that_is_kept_fragments(self, model, hr, monkeypatch):
        returned = least_for_whole(monkeypatch, hr, model)
        monkeypatch.setattr(memory, "keeps_freed", lambda: True)
        assert least_for_whole(monkeypatch, hr, model) > 1.1 * returned

    def test_the_heap_is_trimmed_between_tiles_where_too_much_is_held(self, model, hr, monkeypatch):
        trimmed, held = [], [0]
        monkeypatch.setattr(memory, "give_back", lambda: trimmed.append(held[0]))
        monkeypatch.setattr(memory, "_resident", lambda: held[0])
        room = 0.9 * least_for_whole(monkeypatch, hr, model)
        spare(monkeypatch, room)
        tiled = fitted(hr, model)
        for held[0] in (0, int(0.6 * room), int(room)):
            tiled._before_tile()
        assert trimmed == [int(room)]

    def test_narrow_pictures_get_longer_windows(self, model, monkeypatch):
        hr = torch.rand(1, 3, 48, 4000)
        spare(monkeypatch, 0.8 * least_for_whole(monkeypatch, hr, model))
        assert len(fitted(hr, model).tiles(24, 2000)) in (2, 3)

    def test_weights_to_be_prepared_count(self, model, hr, monkeypatch):
        expected = bytes_to_prepare(make_tiny_irn(2), gradients=True)
        assert expected > 1e6
        whole = least_for_whole(monkeypatch, hr, model, memory=MIB)
        for share, fits in ((0.8, False), (1.2, True)):
            fresh = make_tiny_irn(2)
            spare(monkeypatch, whole + share * expected)
            assert (fitted(hr, fresh, memory=MIB) is fresh) == fits

    def test_with_much_to_spare_nothing_is_counted(self, model, hr, monkeypatch):
        monkeypatch.setattr(memory, "bytes_at_once", None)
        monkeypatch.setattr(memory, "_spare", lambda device, limit: 2**40)
        assert fitted(hr, model) is model
        assert fit_upscaling(hr, model) is model
        with pytest.raises(TypeError):
            fitted(hr, model, memory=MIB)

    def test_a_limit_counts_what_the_process_holds(self, model, hr, monkeypatch):
        monkeypatch.setattr(memory, "_resident", lambda: 7 * GIB)
        assert memory._spare(hr.device, 8 * GIB) == GIB
        monkeypatch.setattr(memory, "available_bytes", lambda: 4 * GIB)
        assert memory._spare(hr.device, None) == 3 * GIB

    def test_the_system_is_asked(self):
        assert 50 * MIB < memory._resident() < memory.available_bytes() + memory._resident()
        before = memory._resident()
        ballast = torch.ones(2**26)
        assert memory._resident() - before > 0.9 * ballast.nbytes

    def test_a_system_that_says_nothing(self, monkeypatch):
        monkeypatch.setattr(memory.Path, "read_text", lambda *_: (_ for _ in ()).throw(FileNotFoundError()))
        assert memory._resident() == GIB // 2
        assert memory.available_bytes() > 2**28

    def test_freed_memory_does_not_count(self):
        if sys.platform != "linux":
            pytest.skip("only Linux says how much a process holds")
        # Blocks below the size that the allocator maps one by one, the last of which stays.
        blocks = [torch.ones(2**16) for _ in range(1000)]
        last = blocks[-1]
        held = memory._resident()
        del blocks
        spare = memory._spare(last.device, 100 * GIB)
        assert 100 * GIB - spare < held - 200 * MIB


def test_the_heap_is_trimmed_every_few_evaluations_where_freed_memory_is_kept(monkeypatch):
    trimmed = []
    monkeypatch.setattr(memory, "give_back", lambda: trimmed.append(1))
    for keeps, times in ((False, 0), (True, 3)):
        monkeypatch.setattr(memory, "keeps_freed", lambda keeps=keeps: keeps)
        for count in range(1, 25):
            memory.trim_after(count)
        assert len(trimmed) == times


def least_of(error):
    """The bytes that a message names."""
    return float(re.search(r"allow at least ([\d.]+) GiB", str(error.value))[1]) * GIB


class TestTooLittle:
    """The message names the least, and the least suffices."""

    @pytest.fixture(autouse=True)
    def resident(self, monkeypatch):
        monkeypatch.setattr(memory, "_resident", lambda: 300 * MIB)

    @pytest.mark.parametrize(
        ("preset", "size"), [("plain", (600, 800)), ("fast", (61, 2000)), ("paper", (2000, 30)), ("paper", (600, 800))]
    )
    def test_solving(self, preset, size):
        model, hr = make_tiny_irn(4), torch.rand(1, 3, *size)
        configured = hcd.collab.get_settings(preset)
        steps = {"steps_hr": configured.steps_hr, "steps_lr": configured.steps_lr}
        with pytest.raises(PictureTooLargeError, match=r"do not fit into 0 GiB .* or shrink the picture") as error:
            fit_solving(hr, model, **steps, memory=MIB)
        assert f"{size[1]}×{size[0]} pixels" in str(error.value)
        least = least_of(error)
        fit_solving(hr, model, **steps, memory=int(least))
        # It is no more than needed, up to the rounding of the figure and what is left for a process that grows.
        with pytest.raises(PictureTooLargeError):
            fit_solving(hr, model, **steps, memory=int(least - 20 * MIB))

    def test_it_does_not_depend_on_what_was_given(self):
        model, hr = make_tiny_irn(4), torch.rand(1, 3, 600, 800)
        named = set()
        for limit in (1, MIB, 305 * MIB):
            with pytest.raises(PictureTooLargeError) as error:
                fitted(hr, model, memory=limit)
            named.add(least_of(error))
        assert len(named) == 1

    def test_upscaling(self):
        model, lr = make_tiny_irn(4), torch.rand(1, 3, 150, 200)
        with pytest.raises(PictureTooLargeError, match="800×600 pixels do not fit") as error:
            fit_upscaling(lr, model, memory=MIB)
        assert isinstance(fit_upscaling(lr, model, memory=int(least_of(error))), TiledRescaler)

    def test_without_a_limit_what_is_missing_is_named(self, monkeypatch):
        spare(monkeypatch, MIB)
        with pytest.raises(PictureTooLargeError, match=r"; free [\d.]+ GiB more, or shrink the picture"):
            fitted(torch.rand(1, 3, 600, 800), make_tiny_irn(4))

    def test_collaborate_and_the_least(self, photo):
        model = make_tiny_irn(4)
        hr = photo.repeat(1, 1, 4, 4)
        with pytest.raises(PictureTooLargeError) as error:
            hcd.collaborate(hr, model, "fast", steps_lr=1, memory=MIB)
        assert hcd.collaborate(hr, model, "fast", steps_lr=1, memory=int(least_of(error))).grad_evals == 1


@pytest.mark.slow
class TestModelsOfOneSize:
    """They cannot be tiled; a count of the whole picture decides."""

    @pytest.fixture
    def model(self):
        """Inside a wrapper, which has one size, too."""
        return GrayRescaler(make_tiny_grain()).freeze()

    def test_picture_that_cannot_fit_is_refused(self, model, monkeypatch):
        hr = torch.rand(1, 3, 64, 64)
        spare(monkeypatch, 0)
        with pytest.raises(
            PictureTooLargeError, match=r"64×64 pixels need .*; give more, or use preset plain"
        ) as error:
            hcd.collaborate(hr, model, "fast", steps_lr=1)
        # It has one size, so that shrinking the picture is no way out.
        assert "shrink" not in str(error.value)
        assert hcd.collaborate(hr, model, "plain").lr.shape == (1, 3, 16, 16)
        needed = float(re.search(r"need ([\d.]+) GiB", str(error.value))[1]) * GIB
        assert needed > memory.bytes_at_once(Solving(), hr, model)
        # The message rounds to hundredths.
        spare(monkeypatch, needed - 10 * MIB)
        with pytest.raises(PictureTooLargeError):
            hcd.collaborate(hr, model, "fast", steps_lr=1)
        spare(monkeypatch, needed + 10 * MIB)
        assert hcd.collaborate(hr, model, "fast", steps_lr=1).grad_evals == 1

    def test_upscaling_is_tried(self, model, monkeypatch):
        spare(monkeypatch, 0)
        assert fit_upscaling(torch.rand(1, 3, 16, 16), model) is model

    def test_model_is_left_alone(self, model):
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        fitted(torch.rand(1, 3, 64, 64), model, steps_hr=5)
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, weights[name])

    def test_the_hr_stage_takes_more(self, model):
        hr = torch.rand(1, 3, 64, 64)
        lr, both = (memory.bytes_at_once(work, hr, model) for work in (Solving(), Solving(by_hr=True)))
        assert both > lr

    def test_recomputation_takes_less(self, model, monkeypatch):
        hr = torch.rand(1, 3, 64, 64)
        recomputed = memory.bytes_at_once(Solving(), hr, model)
        for module in (fusion, rescaling, stylegan2):
            monkeypatch.setattr(module, "recomputed", lambda block, *inputs: block(*inputs))
        assert memory.bytes_at_once(Solving(), hr, model) > 1.5 * recomputed

    @pytest.mark.slow
    def test_is_what_a_profiler_sees(self, model):
        hr = torch.rand(1, 3, 64, 64)

        def solve():
            with torch.no_grad():
                lr = model.downscale(hr)
            lr.requires_grad_()
            torch.autograd.grad((model.upscale(lr) - hr).square().mean(), lr)

        solve()  # what is made of the weights is kept
        assert 0.6 < peak_of(solve) / memory.bytes_at_once(Solving(), hr, model) < 1.3


MEASURED = """
import os, re, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import hcd
from hcd.memory import fit_upscaling
from hcd.heap import keep_freed

def held(key):
    return int(re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024

work, room, side, keep = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if keep == "keep":
    os.environ["THP_MEM_ALLOC_ENABLE"] = "1"
    keep_freed()
model = hcd.load("irn-x4-small")
size = torch.linspace(0, 1, side)
hr = (0.5 + 0.4 * torch.sin(40 * size[:, None] + 30 * size) * torch.sin(70 * size)).expand(1, 3, -1, -1).contiguous()
# Counting on the meta device imports PyTorch's compiler, about 100 MiB: it counts as held before.
fit_upscaling(hr[..., ::4, ::4], model, memory=2**40)
limit = held("VmRSS") + room
tiles = set()
if work == "solve":
    hcd.collaborate(hr, model, "fast", steps_lr=1, memory=limit * 2**20, on_tile=lambda number, all: tiles.add(all))
else:
    lr = hr[..., ::4, ::4].contiguous()
    receiver = fit_upscaling(lr, model, memory=limit * 2**20)
    tiles.add(len(receiver.tiles(*lr.shape[-2:])))
    with torch.no_grad():
        receiver.upscale(lr)
print(limit, held("VmHWM"), *tiles)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much a process held at most")
@pytest.mark.parametrize("keep", ["keep", "hand back"])
@pytest.mark.parametrize(("work", "room", "side"), [("solve", 200, 448), ("upscale", 140, 512)])
def test_a_process_keeps_to_the_limit(work, room, side, keep):
    """The room is in MiB, beside what the process holds with its model, its picture and what counts memory."""
    command = [sys.executable, "-c", MEASURED, work, str(room), str(side), keep]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    limit, most, tiles = map(int, done.stdout.split())
    assert tiles > 1
    assert most <= limit


def test_the_result_of_the_smallest_tiles_is_whole(monkeypatch):
    """End to end with figures of this machine, none of them replaced."""
    model, hr = make_tiny_irn(2), make_smooth_picture(300, 200)
    with pytest.raises(PictureTooLargeError) as error:
        hcd.collaborate(hr, model, "fast", steps_lr=1, memory=MIB)
    result = hcd.collaborate(hr, model, "fast", steps_lr=1, memory=int(least_of(error)))
    assert result.lr.shape == (1, 3, 150, 100)
    assert result.psnr[0] >= result.plain_psnr[0]
