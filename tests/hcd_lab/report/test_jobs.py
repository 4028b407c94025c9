"""A picture under a preset: what is found, and what makes it another job."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

import hcd
from hcd.collab import LOSSES, PRESETS, get_settings
from hcd.errors import ImageError
from hcd.evaluate import benchmark_crop, measure
from hcd.image import Picture
from hcd.ops import NORMS
from hcd.solver import RULES
from hcd_lab.report import jobs
from hcd_lab.report.datasets import BenchmarkImage
from hcd_lab.report.jobs import Solve, lr_of, original, restore
from tests.conftest import make_smooth_picture, make_tiny_irn


def subject_of(picture, **changes):
    return replace(BenchmarkImage(dataset="Set5", name="bird", digest="d1", read=lambda: picture), **changes)


SUBJECT = subject_of(make_smooth_picture(43, 50))


@pytest.fixture(scope="module")
def model():
    return make_tiny_irn(2)


def measured(hr, model):
    settings = get_settings("balanced", steps_lr=3)
    return measure(Picture(rgb=hr), model, settings, image="bird", preset="balanced")


@pytest.fixture(scope="module")
def solved(model):
    """A job, what it found, and what measuring by hand finds."""
    job = Solve(subject=SUBJECT, model=model, preset="balanced", settings=(("steps_lr", 3),))
    hr = benchmark_crop(SUBJECT.read(), 2, "bird")
    return job.run(), measured(hr, model), hr


def test_figures_are_those_of_the_protocol(solved):
    outcome, measured, _ = solved
    for name in ("psnr_y", "ssim_y", "psnr_rgb", "lr_psnr", "lr_bytes", "grad_evals"):
        assert outcome[name] == getattr(measured.row, name), name
    assert outcome["seconds"] > 0
    assert outcome["megapixels"] == 42 * 50 / 1e6


def test_what_the_protocol_does_not_tell(solved, model):
    outcome, measured, hr = solved
    change = (measured.lr - measured.result.plain_lr) * 255
    assert outcome["max_change"] == round(float(change.abs().max())) > 0
    assert outcome["plain_lr_psnr"] == pytest.approx(-10 * math.log10(float((change / 255).square().mean())), abs=1e-6)
    restored = model.upscale(measured.result.collaborative_lr)[..., :42, :50].clamp(0, 1)
    assert outcome["unrounded_psnr_y"] == hcd.psnr(restored, hr, border=2)
    assert [entry[:2] for entry in outcome["history"]] == [["lr", 1], ["lr", 2], ["lr", 3]]


def test_lr_file_restores_what_was_measured(solved, model):
    outcome, measured, hr = solved
    assert torch.equal(lr_of(outcome), measured.lr)
    assert torch.equal(restore(model, lr_of(outcome), hr), measured.restored)


def test_outcome_is_json(solved):
    outcome = solved[0]
    assert json.loads(json.dumps(outcome)) == outcome


def test_plain_changes_nothing(model):
    outcome = Solve(subject=SUBJECT, model=model, preset="plain").run()
    assert (outcome["plain_lr_psnr"], outcome["max_change"], outcome["unrounded_psnr_y"]) == (None, 0, None)
    assert (outcome["grad_evals"], outcome["history"]) == (0, [])


class TestCrop:
    def test_is_the_middle(self):
        picture = make_smooth_picture(61, 80)
        part = original(subject_of(picture, crop=32), 2)
        assert torch.equal(part, picture[..., 14:46, 24:56])

    def test_of_a_narrow_picture_is_as_wide_as_that(self):
        picture = make_smooth_picture(61, 20)
        assert torch.equal(original(subject_of(picture, crop=32), 2), picture[..., 14:46, :])

    def test_is_cut_to_a_multiple_of_the_scale(self):
        assert original(SUBJECT, 4).shape[-2:] == (40, 48)
        assert original(subject_of(make_smooth_picture(90, 90), crop=45), 4).shape[-2:] == (44, 44)

    def test_too_small(self):
        with pytest.raises(ImageError, match="Set5/bird: too small to evaluate at scale 4"):
            original(subject_of(make_smooth_picture(80, 18)), 4)


class TestKey:
    def test_is_the_same_for_the_same(self, model):
        job = Solve(subject=SUBJECT, model=model, preset="balanced")
        assert job.key == Solve(subject=subject_of(SUBJECT.read()), model=make_tiny_irn(2), preset="balanced").key

    def test_is_of_settings_not_of_the_name_of_a_preset(self, model):
        def key(preset, **settings):
            return Solve(subject=SUBJECT, model=model, preset=preset, settings=tuple(settings.items())).key

        assert key("fast") == key("balanced", steps_lr=3) == key("fast", loss="rgb+y") != key("fast", loss="rgb")
        assert key("balanced", seed=1, steps_lr=4) == key("balanced", steps_lr=4, seed=1)

    def test_is_another_for_whatever_changes_the_outcome(self, model):
        base = Solve(subject=SUBJECT, model=model, preset="fast")
        other = make_tiny_irn(2)
        other.weights_hash = "0123456789abcdef"
        renamed = make_tiny_irn(2)
        renamed.name = "another"
        keys = {
            base.key,
            replace(base, preset="balanced").key,
            replace(base, settings=(("max_change", 2),)).key,
            replace(base, settings=(("loss", "y"),)).key,
            replace(base, subject=subject_of(SUBJECT.read(), digest="d2")).key,
            replace(base, subject=subject_of(SUBJECT.read(), crop=32)).key,
            replace(base, model=other).key,
            replace(base, model=renamed).key,
            replace(base, model=make_tiny_irn(2, latent="gaussian:0")).key,
            # Another device rounds otherwise and takes another time.
            replace(base, model=make_tiny_irn(2).to("meta")).key,
        }
        assert len(keys) == 10

    def test_names_no_place_in_memory(self, model):
        """A setting told by where it lies would be measured anew in every process."""
        for preset in PRESETS:
            for changes in (
                *({"rule": rule} for rule in RULES),
                *({"loss": loss} for loss in LOSSES),
                *({"norm": norm, "random_start": False} for norm in NORMS),
            ):
                assert " at 0x" not in repr(hcd.collab.get_settings(preset, **changes))


def test_titles_tell_jobs_apart(model):
    base = Solve(subject=SUBJECT, model=model, preset="fast")
    assert base.title == "tiny-irn-x2 Set5/bird fast"
    assert replace(base, subject=subject_of(None, crop=32)).title == "tiny-irn-x2 Set5/bird middle 32 fast"
    assert replace(base, settings=(("loss", "y"), ("seed", 1))).title == "tiny-irn-x2 Set5/bird fast loss=y seed=1"


class TestCost:
    def test_grows_with_work(self, model):
        costs = [
            Solve(subject=SUBJECT, model=model, preset=preset).cost()
            for preset in ("plain", "fast", "balanced", "best")
        ]
        assert costs == sorted(costs)
        assert costs[0] > 0
        # The HR stage goes through the network twice.
        hr, lr = (
            Solve(subject=SUBJECT, model=model, preset="plain", settings=((name, 10),)).cost()
            for name in ("steps_hr", "steps_lr")
        )
        assert hr > 1.5 * lr

    def test_grows_with_pixels(self, model):
        large, part = (
            Solve(subject=subject_of(make_smooth_picture(128, 64), crop=crop), model=model, preset="fast").cost()
            for crop in (None, 64)
        )
        assert large == pytest.approx(2 * part)

    def test_reads_a_picture_once(self, model):
        reads = []

        def read():
            reads.append(1)
            return SUBJECT.read()

        subject = subject_of(None, read=read)
        for crop in (None, 32):
            for preset in PRESETS:
                Solve(subject=replace(subject, crop=crop), model=model, preset=preset).cost()
        assert len(reads) == 1

    def test_of_a_picture_that_cannot_be_read(self, model):
        def read():
            raise ImageError("damaged")

        assert Solve(subject=subject_of(None, read=read), model=model, preset="fast").cost() == 0


def test_models_elsewhere_get_their_pictures_there(monkeypatch, model):
    """Stands in for a GPU: what measures is told where the model is."""
    told = []

    def told_where(*arguments, device, **settings):
        told.append(device)
        return measure(*arguments, device="cpu", **settings)

    monkeypatch.setattr(jobs, "measure", told_where)
    monkeypatch.setattr(jobs, "device_of", lambda model: "cpu:0")
    Solve(subject=SUBJECT, model=model, preset="fast").run()
    assert told == ["cpu:0"]
