"""Jobs that measure this machine: pairs in turn, and memory in a process of its own."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hcd.errors import ModelError
from hcd.image import LRInfo, Picture, decode_lr, encode_lr
from hcd.rescaler import BicubicRescaler
from hcd_lab.report.costs import UPSCALE, Footprint, Receiver, quartiles, ratios
from hcd_lab.report.datasets import BenchmarkImage
from hcd_lab.report.jobs import Solve
from tests.conftest import make_smooth_picture


def subject(height=48, width=64):
    return BenchmarkImage(dataset="set", name="waves", digest="w", read=lambda: make_smooth_picture(height, width))


def lr_outcome(level):
    info = LRInfo(model="bicubic-x2", weights="", scale=2, width=32, height=32, latent="zeros")
    data = encode_lr(Picture(rgb=torch.full((1, 3, 16, 16), level / 255)), info)
    assert decode_lr(data, Path("x"))[0].width == 16
    return {"lr_file": base64.b64encode(data).decode()}


@pytest.fixture
def receiver():
    model = BicubicRescaler(2).freeze()
    plain = Solve(subject=subject(), model=model, preset="plain")
    collaborative = replace(plain, preset="balanced")
    outcomes = {plain.key: lr_outcome(10), collaborative.key: lr_outcome(20)}
    return Receiver(
        model=model, plain=plain, collaborative=collaborative, find=lambda job: outcomes[job.key], repeats=4
    )


class TestReceiver:
    def test_upscales_both_in_turn_each_first_every_other_time(self, receiver, monkeypatch):
        seen = []

        def upscale(self, lr, top, left):
            seen.append(round(float(lr.mean()) * 255))

        monkeypatch.setattr(BicubicRescaler, "_upscale", upscale)
        found = receiver.run()
        assert seen == [10, 20, 20, 10, 10, 20, 20, 10, 10, 20]
        assert all(len(values) == 4 for values in found.values())

    def test_seconds_go_to_the_picture_that_took_them(self, receiver, monkeypatch):
        now = [0.0]

        def upscale(self, lr, top, left):
            now[0] += 3.0 if float(lr.mean()) * 255 > 15 else 2.0

        monkeypatch.setattr(BicubicRescaler, "_upscale", upscale)
        for clock in ("perf_counter", "process_time"):
            monkeypatch.setattr(f"hcd_lab.report.costs.time.{clock}", lambda: now[0])
        found = receiver.run()
        assert found["plain_seconds"] == [2.0] * 4
        assert found["collaborative_cpu_seconds"] == [3.0] * 4
        assert ratios(found) == ratios(found, "cpu_seconds") == [1.5] * 4

    def test_key_is_of_content(self, receiver):
        assert receiver.key == replace(receiver, find=lambda job: {}).key
        other = replace(receiver.plain, subject=replace(subject(), digest="other"))
        assert receiver.key != replace(receiver, plain=other).key
        assert receiver.key != replace(receiver, repeats=5).key


def test_ratios_are_taken_pair_by_pair():
    # The machine was slow during the second pair: both of it took ten times as long.
    found = {"plain_seconds": [1.0, 10.0, 2.0], "collaborative_seconds": [1.0, 20.0, 3.0]}
    assert ratios(found) == [1.0, 2.0, 1.5]
    assert quartiles(ratios(found)) == (1.25, 1.5, 1.75)


class TestFootprint:
    def test_memory_grows_by_at_least_the_restored_picture(self):
        job = Footprint(model=BicubicRescaler(2).freeze(), text="bicubic-x2", subject=subject(1024, 1024), work=UPSCALE)
        found = job.run()
        assert found["taken_bytes"] > 1024 * 1024 * 3 * 4
        assert found["loaded_bytes"] > 2**25

    def test_a_model_that_cannot_be_loaded_again_is_told(self):
        job = Footprint(model=BicubicRescaler(2).freeze(), text="nothing-x2", subject=subject(), work="plain")
        with pytest.raises(ModelError, match="nothing-x2"):
            job.run()

    def test_key_names_the_work_and_not_where_weights_lie(self):
        job = Footprint(model=BicubicRescaler(2).freeze(), text="a", subject=subject(), work="plain")
        assert job.key == replace(job, text="a=/elsewhere").key
        assert len({replace(job, work=work).key for work in ("plain", "paper", UPSCALE)}) == 3
