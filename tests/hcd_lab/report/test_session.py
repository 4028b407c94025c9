"""Jobs are done once, kept at once, and one that fails stops no other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

import hcd
from hcd.errors import ImageError, OutputError
from hcd_lab.report.jobs import Job, Solve
from hcd_lab.report.session import Failed
from tests.hcd_lab.report.conftest import TINY, Diary, write_picture

MODEL = hcd.load("bicubic-x2")


@dataclass(frozen=True)
class Count(Job):
    """Counts how often it is done, or fails."""

    name: str
    log: list[str]
    error: BaseException | None = None
    model: Any = MODEL

    @property
    def key(self):
        return f"{self.name:0>32}"

    @property
    def title(self):
        return f"count {self.name}"

    def cost(self):
        return 1.0

    def run(self, on_evaluation=None):
        self.log.append(self.name)
        if self.error is not None:
            raise self.error
        return {"value": len(self.log)}


def test_the_second_time_nothing_is_measured(session):
    log = []
    first, again = session(), session()
    assert first.outcome(Count("a", log)) == {"value": 1}
    assert first.outcome(Count("a", log)) == {"value": 1}
    assert again.outcome(Count("a", log)) == {"value": 1}
    assert log == ["a"]


def test_a_job_that_fails_is_noted_once_and_others_go_on(session):
    log, diary = [], Diary()
    found = session(progress=diary)
    failing = Count("a", log, ImageError("a.png: dam\x1baged"))
    for _ in range(2):
        with pytest.raises(Failed):
            found.outcome(failing)
    assert found.outcome(Count("b", log)) == {"value": 2}
    assert log == ["a", "b"]
    assert found.failed == {"count a": "a.png: dam\\x1baged"}
    assert (diary.started, diary.finished, diary.gave_up) == (["count a", "count b"], ["count b"], ["count a"])
    assert found.outcomes([Count("b", log), failing]) is None
    assert found.outcomes([Count("b", log)]) == [{"value": 2}]


def test_a_failed_job_is_tried_again_in_the_next_run(session):
    log = []
    with pytest.raises(Failed):
        session().outcome(Count("a", log, ImageError("away")))
    assert session().outcome(Count("a", log)) == {"value": 2}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError("a slip")], ids=["Ctrl-C", "slip"])
def test_interrupted_in_the_middle(session, error):
    """What was done is kept, what was begun is not, and the next run does only the rest."""
    log = []
    jobs = [Count("a", log), Count("b", log, error), Count("c", log)]
    first = session()
    with pytest.raises(type(error)):
        first.outcomes(jobs)
    assert log == ["a", "b"]
    assert first.failed == {}
    assert session().outcomes([Count(name, log) for name in "abc"]) is not None
    assert log == ["a", "b", "b", "c"]


def test_a_cache_that_cannot_be_written_ends_the_run(session, tmp_path):
    (tmp_path / "kept").write_text("a file")
    found = session()
    with pytest.raises(OutputError, match="cannot be written"):
        found.outcome(Count("a", []))
    assert found.failed == {}


def test_evaluations_are_handed_on(session):
    diary = Diary()
    found = session(progress=diary)
    job = found.solve(found.images[0], MODEL, "balanced", steps_lr=2)
    assert isinstance(job, Solve)
    assert found.outcome(job)["grad_evals"] == diary.evaluations == 2


def test_a_part_that_is_too_small_says_nothing_of_the_whole(session, data):
    """Both are jobs on one picture, and only one of them can be done."""
    write_picture(data / "Set5" / "bird.png", width=80, height=80)
    model = hcd.load("bicubic-x4")
    found = session()
    whole = found.images[0]
    with pytest.raises(Failed):
        found.outcome(found.solve(replace(whole, crop=16), model, "plain"))
    assert found.outcome(found.solve(whole, model, "plain"))["psnr_y"] > 0
    (title,) = found.failed
    assert title == "bicubic-x4 Set5/bird center 16 plain"
    assert "too small" in found.failed[title]


def test_sets_and_their_pictures(session, data):
    write_picture(data / "Set14" / "a.png")
    found = session()
    assert found.datasets == ["Set5", "Set14"]
    assert [image.name for image in found.images_of("Set5")] == ["bird", "head"]
    assert found.images_of("BSD100") == []


@pytest.mark.parametrize(("count", "chosen"), [(1, [0]), (2, [0, 3]), (3, [0, 2, 4]), (9, [0, 1, 2, 3, 4, 5, 6])])
def test_study_pictures_are_spread_over_the_first_set(session, data, count, chosen):
    for index in range(7):
        write_picture(data / "Set14" / f"{index}.png", seed=index)
    config = replace(TINY, sets=("Set14", "Set5"), study=replace(TINY.study, pictures=count))
    study = session(config).study
    assert [image.label for image in study] == [f"Set14/{index}" for index in chosen]
    assert {image.crop for image in study} == {32}
