"""Descents: why they stop, and the history of their evaluations."""

from __future__ import annotations

import itertools

import pytest
import torch

import hcd
from hcd.collab import LOSSES, descent
from tests.conftest import make_tiny_irn


class TestStopping:
    def test_by_a_tolerance(self, photo):
        options = {"preset": "plain", "steps_lr": 40}
        full = hcd.collaborate(photo, hcd.load("bicubic-x2"), **options)
        early = hcd.collaborate(photo, hcd.load("bicubic-x2"), **options, tolerance=0.02)
        assert early.grad_evals < full.grad_evals == 40
        best = [min(entry.loss for entry in early.history[: count + 1]) for count in range(early.grad_evals)]
        falls = [before / after - 1 for before, after in zip(best, best[3:], strict=False)]
        assert falls[-1] < 0.02
        assert all(fall >= 0.02 for fall in falls[:-1])
        assert early.psnr[0] > early.plain_psnr[0]
        assert (early.stopped, full.stopped) == ("tolerance", "evaluations")

    def test_at_the_target(self, photo):
        model = make_tiny_irn(4)
        full = hcd.collaborate(photo, model, steps_lr=10)
        # Halfway between where the loop starts and where it ends.
        target = (full.history[0].psnr + max(entry.psnr for entry in full.history)) / 2
        result = hcd.collaborate(photo, model, steps_lr=10, target_psnr=target)
        assert 1 < result.grad_evals < full.grad_evals
        assert result.history[-1].psnr >= target
        assert all(entry.psnr < target for entry in result.history[:-1])
        assert (result.stopped, full.stopped) == ("target", "evaluations")

    def test_a_target_that_is_met_from_the_start_costs_one_evaluation_a_stage(self, photo):
        result = hcd.collaborate(photo, make_tiny_irn(4), steps_hr=5, target_psnr=1.0)
        assert [entry.stage for entry in result.history] == ["hr", "lr"]

    def test_after_the_time(self, photo):
        result = hcd.collaborate(photo, make_tiny_irn(4), preset="best", steps_lr=2000, max_seconds=0.1)
        assert result.grad_evals < 2000
        assert result.history[-1].seconds >= 0.1
        assert all(entry.seconds < 0.1 for entry in result.history[:-1])
        assert result.stopped == "seconds"

    def test_no_time_at_all_still_gives_a_valid_file(self, photo):
        result = hcd.collaborate(photo, make_tiny_irn(4), max_seconds=0.0)
        assert result.grad_evals == 1
        assert result.stopped == "seconds"
        assert result.psnr[0] >= result.plain_psnr[0]

    def test_when_the_caller_says_so(self, photo):
        asked = []
        result = hcd.collaborate(photo, make_tiny_irn(4), stop=lambda: asked.append(1) or len(asked) == 3)
        assert (result.grad_evals, result.stopped) == (3, "interrupted")
        assert result.psnr[0] >= result.plain_psnr[0]

    def test_without_evaluations(self, photo):
        assert hcd.collaborate(photo, make_tiny_irn(4), "plain").stopped == "evaluations"

    def test_the_last_stage_tells_why(self, photo):
        asked = []
        stop = lambda: asked.append(1) or len(asked) == 2  # noqa: E731 - once, in the HR stage
        result = hcd.collaborate(photo, make_tiny_irn(4), steps_hr=5, steps_lr=2, stop=stop)
        assert [entry.stage for entry in result.history] == ["hr", "hr", "lr", "lr"]
        assert result.stopped == "evaluations"

    def test_a_batch_tells_of_each_image_and_the_first_reason_of_all(self, photo):
        model = hcd.load("bicubic-x2")
        # It restores flat images perfectly.
        flat = torch.full_like(photo, 0.5)
        result = hcd.collaborate(torch.cat([photo, flat]), model, "fast", target_psnr=40.0)
        assert result.stops == ("evaluations", "target")
        assert result.stopped == "evaluations"
        stopped = hcd.collaborate(torch.cat([flat, photo]), model, "fast", target_psnr=40.0, stop=lambda: True)
        assert stopped.stops == ("target", "interrupted")
        assert stopped.stopped == "interrupted"


class TestHistory:
    def test_one_entry_per_gradient(self, photo):
        result = hcd.collaborate(torch.cat([photo, photo.flip(-1)]), make_tiny_irn(4), steps_hr=3, steps_lr=2)
        entries = [(entry.picture, entry.stage, entry.step) for entry in result.history]
        one = [("hr", 1), ("hr", 2), ("hr", 3), ("lr", 1), ("lr", 2)]
        assert entries == [(picture, *entry) for picture in (0, 1) for entry in one]
        assert result.grad_evals == 10

    def test_seconds_only_grow(self, photo):
        result = hcd.collaborate(photo, make_tiny_irn(4), steps_hr=3)
        seconds = [0.0, *(entry.seconds for entry in result.history), result.seconds]
        assert all(before <= after for before, after in itertools.pairwise(seconds))
        assert seconds[-1] > 0

    def test_values_are_those_of_the_objective(self, photo):
        model = make_tiny_irn(4)
        first = hcd.collaborate(photo, model, steps_lr=1).history[0]
        restored = model.upscale(hcd.quantize(model.downscale(photo)))
        loss = LOSSES["rgb+y"].total(restored, photo) / photo[0, 0].numel()
        assert first.loss == pytest.approx(float(loss), rel=1e-5)
        assert first.psnr == pytest.approx(hcd.psnr(restored, photo, channel="rgb"), abs=1e-4)

    def test_the_callback_gets_the_same_entries_at_once(self, photo):
        seen = []
        result = hcd.collaborate(photo, make_tiny_irn(2), steps_hr=2, steps_lr=2, on_evaluation=seen.append)
        assert tuple(seen) == result.history

    def test_an_error_in_the_callback_comes_through(self, photo):
        def interrupt(entry):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            hcd.collaborate(photo, make_tiny_irn(2), on_evaluation=interrupt)


def test_the_heap_is_trimmed_by_the_number_of_evaluations(photo, monkeypatch):
    counts = []
    monkeypatch.setattr(descent, "trim_after", counts.append)
    assert hcd.collaborate(photo[..., :16, :16], make_tiny_irn(2), "fast", steps_lr=3, tolerance=0).grad_evals == 3
    assert counts == [1, 2, 3]
