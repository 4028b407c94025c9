"""The method in tiles: the promises of ``collaborate`` hold, and results agree with those of the whole image."""

from __future__ import annotations

import math

import pytest
import skimage.data
import torch

import hcd
from hcd import memory
from hcd.collab import fit
from hcd.collab.fit import Solving
from hcd.errors import ShapeError
from hcd.rescaler import GrayRescaler
from tests.conftest import make_tiny_irn
from tests.golden import picture
from tests.tiny_grain import make_tiny_grain

GIB = 2**30
FAST = {"preset": "fast"}
PAPER = {"preset": "paper", "steps_hr": 2, "steps_lr": 2}
WHOLE = {"memory": 100 * GIB}
TILES = {"memory": GIB}
presets = pytest.mark.parametrize("settings", [FAST, PAPER], ids=["fast", "paper"])


def crop(height, width):
    return picture(skimage.data.astronaut()[60 : 60 + height, 150 : 150 + width])


MODELS = {
    "irn": lambda: make_tiny_irn(2),
    "irn-gaussian": lambda: make_tiny_irn(2, latent="gaussian:0"),
    "gray-irn": lambda: GrayRescaler(make_tiny_irn(2)).freeze(),
    "bicubic": lambda: hcd.load("bicubic-x2"),
}


@pytest.fixture
def model(request):
    """A bicubic one, which is fast, where a test does not ask for others."""
    return MODELS[getattr(request, "param", "bicubic")]()


every_model = pytest.mark.parametrize("model", MODELS, indirect=True)


@pytest.fixture
def hr():
    # The sides are no multiples of the scale.
    return crop(51, 61)


@pytest.fixture(autouse=True)
def small_limit(monkeypatch, model):
    """``TILES`` stands for what a whole picture does not fit into, and nothing else counts: several tiles."""
    per_pixel = memory._RETURNED.margin * memory.bytes_per_pixel(Solving(), torch.rand(1, 3, 8, 8), model)
    small = per_pixel * (25.1 * 2) ** 2
    monkeypatch.setattr(memory, "_spare", lambda device, limit: small if limit == GIB else limit)
    for share in ("_LR_TENSORS", "_LR_TENSORS_PER_STEP", "_HR_TENSORS"):
        monkeypatch.setattr(fit, share, 0)
    monkeypatch.setattr(memory, "_FRAGMENTATION", 0)
    monkeypatch.setattr(memory, "bytes_to_prepare", lambda model, gradients: 0)
    # Small square ones, so that a picture this small is cut in both directions.
    monkeypatch.setattr(memory, "cheapest_window", lambda *size, area, halo: (max(16, 3 * halo + 1),) * 2)


def solve(hr, model, **settings):
    """The result, and how often every tile of an evaluation was begun."""
    begun = []
    result = hcd.collaborate(hr, model, on_tile=lambda number, tiles: begun.append((number, tiles)), **settings)
    return result, begun


def assert_same(tiled, whole):
    levels = ((tiled.lr - whole.lr) * 255).round().abs()
    assert levels.max() <= 1
    for got, wanted in zip(tiled.psnr + tiled.plain_psnr, whole.psnr + whole.plain_psnr, strict=True):
        assert got == pytest.approx(wanted, abs=0.01)


@pytest.mark.slow
@presets
@every_model
def test_results_are_those_of_the_whole(hr, model, settings):
    whole, begun = solve(hr, model, **settings, **WHOLE)
    assert not begun
    tiled, begun = solve(hr, model, **settings, **TILES)
    assert begun[0][1] > 1
    assert tiled.grad_evals == whole.grad_evals
    assert_same(tiled, whole)
    # There is something to agree on.
    assert (whole.lr != whole.plain_lr).any()


@pytest.mark.parametrize("model", ["irn"], indirect=True)
def test_too_small_a_halo_shows(hr, model, monkeypatch):
    """What the test above compares does depend on the tiles."""
    whole, _ = solve(hr, model, **FAST, **WHOLE)
    monkeypatch.setattr(memory, "receptive_field_of", lambda model, **_: 0)
    tiled, begun = solve(hr, model, **FAST, **TILES)
    assert begun
    assert ((tiled.lr - whole.lr) * 255).round().abs().max() > 1


def test_the_psnr_is_that_of_the_file(hr, model):
    tiled, _ = solve(hr, model, **FAST, **TILES)
    restored = hcd.quantize(model.upscale(tiled.lr))[..., :51, :61]
    assert tiled.psnr[0] == pytest.approx(hcd.psnr(restored, hr, channel="rgb"), abs=0.01)


def test_every_evaluation_counts_its_tiles(hr, model):
    result, begun = solve(hr, model, **FAST, **TILES)
    tiles = begun[0][1]
    assert tiles > 1
    assert begun == [(number, tiles) for _ in range(result.grad_evals) for number in range(1, tiles + 1)]


@pytest.mark.slow
@presets
@pytest.mark.parametrize("model", ["irn-gaussian", "bicubic"], indirect=True)
def test_deterministic(hr, model, settings):
    first, second = (solve(hr, model, **settings, **TILES)[0] for _ in range(2))
    assert torch.equal(first.lr, second.lr)
    assert first.psnr == second.psnr
    assert [entry.loss for entry in first.history] == [entry.loss for entry in second.history]


def test_pictures_of_a_batch_are_solved_one_by_one(hr, model):
    batch = torch.cat([hr, hr.flip(-1)])
    together, _ = solve(batch, model, **FAST, **TILES)
    assert together.lr.shape[0] == 2
    for index in range(2):
        alone, begun = solve(batch[index : index + 1], model, **FAST, **TILES)
        assert begun
        assert torch.equal(together.lr[index : index + 1], alone.lr)
        assert together.psnr[index] == alone.psnr[0]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["irn", "bicubic"], indirect=True)
def test_never_worse_than_plain(hr, model):
    """Even where the descent is led astray: rounding is all that is left of it."""
    for epsilon in (0.2 / 255, 0.6 / 255, 8 / 255):
        result, begun = solve(hr, model, **FAST, **TILES, epsilon_lr=epsilon)
        assert begun
        assert result.psnr[0] >= result.plain_psnr[0]


def test_noise_never_gets_worse(model):
    hr = torch.rand(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    result, begun = solve(hr, model, preset="paper", steps_hr=1, steps_lr=1, never_worse=True, **TILES)
    assert begun
    assert result.psnr[0] >= result.plain_psnr[0]


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_max_change_is_exact(hr, model, limit):
    result, begun = solve(hr, model, **FAST, **TILES, max_change=limit)
    assert begun
    assert float(((result.lr - result.plain_lr) * 255).round().abs().max()) == limit


class TestStopping:
    """In the middle of an evaluation: what was found before is kept, whole."""

    @pytest.mark.parametrize("tile", [1, 5, 24])
    def test_stop(self, hr, model, tile):
        asked = []
        # Asked once per tile and once per evaluation.
        result, begun = solve(hr, model, **FAST, **TILES, stop=lambda: asked.append(None) or len(asked) >= tile)
        tiles = begun[0][1]
        assert len(asked) == tile
        assert len(begun) == tile - result.grad_evals
        assert result.grad_evals == tile // (tiles + 1)
        assert result.lr.shape == (1, 3, 26, 31)
        assert torch.equal(hcd.quantize(result.lr), result.lr)
        assert result.psnr[0] >= result.plain_psnr[0]

    def test_before_anything_was_found_plain_is_left(self, hr, model):
        result, _ = solve(hr, model, **FAST, **TILES, stop=lambda: True)
        assert result.grad_evals == 0
        assert result.stopped == "interrupted"
        assert torch.equal(result.lr, result.plain_lr)
        assert math.isfinite(result.psnr[0])

    def test_what_was_found_counts(self, hr, model):
        tiles = solve(hr, model, **FAST, **TILES)[1][0][1]
        asked = []
        stopped, _ = solve(
            *(hr, model), **FAST, **TILES, stop=lambda: asked.append(None) or len(asked) > 3 * (tiles + 1) + 1
        )
        three, _ = solve(hr, model, **FAST, **TILES, steps_lr=3)
        assert stopped.grad_evals == 3
        assert torch.equal(stopped.lr, three.lr)
        assert stopped.psnr[0] > stopped.plain_psnr[0]

    def test_max_seconds(self, hr, model):
        result, begun = solve(hr, model, **FAST, **TILES, max_seconds=0)
        assert len(begun) == 1
        assert result.grad_evals == 0
        assert torch.equal(result.lr, result.plain_lr)

    @pytest.mark.parametrize("settings", [PAPER, {**PAPER, "never_worse": True}], ids=["paper", "never worse"])
    def test_in_the_hr_stage(self, hr, model, settings):
        asked = []
        result, _ = solve(hr, model, **settings, **TILES, stop=lambda: asked.append(None) or len(asked) > 2)
        assert result.grad_evals == 0
        assert result.lr.shape == (1, 3, 26, 31)
        assert torch.equal(hcd.quantize(result.lr), result.lr)
        assert math.isfinite(result.psnr[0])
        if settings.get("never_worse"):
            assert result.psnr[0] >= result.plain_psnr[0]

    def test_the_pictures_after_are_plain_or_better(self, hr, model):
        asked = []
        batch = torch.cat([hr, hr.flip(-2)])
        result, _ = solve(batch, model, **FAST, **TILES, stop=lambda: asked.append(None) or len(asked) > 3)
        assert result.lr.shape[0] == 2
        assert all(got >= plain for got, plain in zip(result.psnr, result.plain_psnr, strict=True))

    def test_an_error_in_the_callback_comes_through(self, hr, model):
        def fail(number, tiles):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            hcd.collaborate(hr, model, **FAST, **TILES, on_tile=fail)


def test_one_size_alone_is_named_before_memory():
    with pytest.raises(ShapeError, match="takes exactly 64×64"):
        hcd.collaborate(torch.rand(1, 3, 80, 64), make_tiny_grain(), "fast", **TILES)
