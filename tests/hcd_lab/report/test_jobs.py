"""Jobs: what they measure, and what their keys depend on."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
import torch

import hcd
from hcd.collab import PRESETS, get_settings
from hcd.errors import ImageError
from hcd.evaluate import benchmark_crop, measure
from hcd.image import LRInfo, Picture, encode_lr
from hcd.rescaler import BicubicRescaler
from hcd_lab.bench import BenchmarkImage
from hcd_lab.report import jobs
from hcd_lab.report.jobs import ReceiverTiming, Solve, lr_of, quartiles, ratios, restore
from tests.conftest import make_smooth_picture, make_tiny_irn


def subject_of(picture, **changes):
    return replace(BenchmarkImage(dataset="Set5", name="bird", digest="d1", read=lambda: picture), **changes)


IMAGE = subject_of(make_smooth_picture(43, 50))


@pytest.fixture(scope="module")
def model():
    return make_tiny_irn(2)


@pytest.fixture(scope="module")
def solved(model):
    """A job, what it found, and what measuring by hand finds."""
    job = Solve(image=IMAGE, model=model, preset="balanced", settings=(("steps_lr", 3),))
    hr = benchmark_crop(IMAGE.read(), 2, "bird")
    settings = get_settings("balanced", steps_lr=3)
    return job.run(), measure(Picture(rgb=hr), model, settings, image="bird", preset="balanced"), hr


def test_metrics_are_those_of_the_protocol(solved):
    outcome, measured, _ = solved
    for name in ("psnr_y", "ssim_y", "psnr_rgb", "lr_psnr", "lr_bytes", "grad_evals"):
        assert outcome[name] == getattr(measured.row, name), name
    assert outcome["seconds"] > 0
    assert outcome["megapixels"] == 42 * 50 / 1e6


def test_lr_file_restores_what_was_measured(solved, model):
    outcome, measured, hr = solved
    assert torch.equal(lr_of(outcome), measured.lr)
    assert torch.equal(restore(model, lr_of(outcome), hr), measured.restored.rgb)


def test_outcome_is_json(solved):
    outcome = solved[0]
    assert json.loads(json.dumps(outcome)) == outcome


class TestKey:
    def test_is_the_same_for_the_same(self, model):
        job = Solve(image=IMAGE, model=model, preset="balanced")
        assert job.key == Solve(image=subject_of(IMAGE.read()), model=make_tiny_irn(2), preset="balanced").key

    def test_is_of_settings_not_of_the_name_of_a_preset(self, model):
        def key(preset, **settings):
            return Solve(image=IMAGE, model=model, preset=preset, settings=tuple(settings.items())).key

        assert key("fast") == key("balanced", steps_lr=3) == key("fast", loss="rgb+y") != key("fast", loss="rgb")
        assert key("balanced", seed=1, steps_lr=4) == key("balanced", steps_lr=4, seed=1)

    def test_is_another_for_whatever_changes_the_outcome(self, model):
        base = Solve(image=IMAGE, model=model, preset="fast")
        other = make_tiny_irn(2)
        other.weights_hash = "0123456789abcdef"
        renamed = make_tiny_irn(2)
        renamed.name = "another"
        keys = {
            base.key,
            replace(base, preset="balanced").key,
            replace(base, settings=(("loss", "y"),)).key,
            replace(base, image=subject_of(IMAGE.read(), digest="d2")).key,
            replace(base, image=subject_of(IMAGE.read(), crop=32)).key,
            replace(base, model=other).key,
            replace(base, model=renamed).key,
            replace(base, model=make_tiny_irn(2, latent="gaussian:0")).key,
            # Another device rounds otherwise and takes another time.
            replace(base, model=make_tiny_irn(2).to("meta")).key,
        }
        assert len(keys) == 9

    def test_names_no_place_in_memory(self, model):
        """A setting told by where it lies would be measured anew in every process."""
        for preset in PRESETS:
            for changes in (
                {},
                {"rule": "adam"},
                {"loss": "y"},
                {"norm": "l1", "random_start": False},
            ):
                assert " at 0x" not in repr(hcd.collab.get_settings(preset, **changes))


def test_titles_tell_jobs_apart(model):
    base = Solve(image=IMAGE, model=model, preset="fast")
    assert base.title == "tiny-irn-x2 Set5/bird fast"
    assert replace(base, image=subject_of(None, crop=32)).title == "tiny-irn-x2 Set5/bird center 32 fast"
    assert replace(base, settings=(("loss", "y"), ("seed", 1))).title == "tiny-irn-x2 Set5/bird fast loss=y seed=1"


class TestCost:
    def test_grows_with_work(self, model):
        costs = [
            Solve(image=IMAGE, model=model, preset=preset).cost() for preset in ("plain", "fast", "balanced", "best")
        ]
        assert costs == sorted(costs)
        assert costs[0] > 0
        # The HR stage goes through the network twice.
        hr, lr = (
            Solve(image=IMAGE, model=model, preset="plain", settings=((name, 10),)).cost()
            for name in ("steps_hr", "steps_lr")
        )
        assert hr > 1.5 * lr

    def test_grows_with_pixels(self, model):
        large, part = (
            Solve(image=subject_of(make_smooth_picture(128, 64), crop=crop), model=model, preset="fast").cost()
            for crop in (None, 64)
        )
        assert large == pytest.approx(2 * part)

    def test_reads_a_picture_once(self, model):
        reads = []

        def read():
            reads.append(1)
            return IMAGE.read()

        image = subject_of(None, read=read)
        for crop in (None, 32):
            for preset in PRESETS:
                Solve(image=replace(image, crop=crop), model=model, preset=preset).cost()
        assert len(reads) == 1

    def test_of_a_picture_that_cannot_be_read(self, model):
        def read():
            raise ImageError("damaged")

        assert Solve(image=subject_of(None, read=read), model=model, preset="fast").cost() == 0


def test_models_elsewhere_get_their_pictures_there(monkeypatch, model):
    """Stands in for a GPU: what measures is told where the model is."""
    told = []

    def told_where(*arguments, device, **settings):
        told.append(device)
        return measure(*arguments, device="cpu", **settings)

    monkeypatch.setattr(jobs, "measure", told_where)
    monkeypatch.setattr(jobs, "device_of", lambda model: "cpu:0")
    Solve(image=IMAGE, model=model, preset="fast").run()
    assert told == ["cpu:0"]


def lr_outcome(level):
    info = LRInfo(model="bicubic-x2", weights="", scale=2, width=32, height=32, latent="zeros")
    data = encode_lr(Picture(rgb=torch.full((1, 3, 16, 16), level / 255)), info)
    return {"lr_file": base64.b64encode(data).decode()}


@pytest.fixture
def timing():
    model = BicubicRescaler(2).freeze()
    plain = Solve(image=IMAGE, model=model, preset="plain")
    collaborative = replace(plain, preset="balanced")
    outcomes = {plain.key: lr_outcome(10), collaborative.key: lr_outcome(20)}
    return ReceiverTiming(
        model=model, plain=plain, collaborative=collaborative, find=lambda job: outcomes[job.key], repeats=4
    )


class TestReceiverTiming:
    def test_seconds_are_those_of_each_image_in_alternating_order(self, timing, monkeypatch):
        now, seen = [0.0], []

        def upscale(self, lr, top, left):
            seen.append(round(float(lr.mean()) * 255))
            now[0] += 3.0 if seen[-1] == 20 else 2.0

        monkeypatch.setattr(BicubicRescaler, "_upscale", upscale)
        for clock in ("perf_counter", "process_time"):
            monkeypatch.setattr(f"hcd_lab.report.jobs.time.{clock}", lambda: now[0])
        found = timing.run()
        assert seen == [10, 20, 20, 10, 10, 20, 20, 10, 10, 20]
        assert found["plain_seconds"] == [2.0] * 4
        assert found["collaborative_cpu_seconds"] == [3.0] * 4
        assert ratios(found) == ratios(found, "cpu_seconds") == [1.5] * 4

    def test_key_is_of_content(self, timing):
        assert timing.key == replace(timing, find=lambda job: {}).key
        other = replace(timing.plain, image=replace(IMAGE, digest="other"))
        assert timing.key != replace(timing, plain=other).key
        assert timing.key != replace(timing, repeats=5).key


def test_ratios_are_taken_pair_by_pair():
    # The machine was slow during the second pair: both of it took ten times as long.
    found = {"plain_seconds": [1.0, 10.0, 2.0], "collaborative_seconds": [1.0, 20.0, 3.0]}
    assert ratios(found) == [1.0, 2.0, 1.5]
    assert quartiles(ratios(found)) == (1.25, 1.5, 1.75)
