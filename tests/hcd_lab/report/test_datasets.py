"""Sets of pictures: found, named as missing, told apart by content."""

from __future__ import annotations

import pytest
import torch

from hcd.errors import ImageError, UsageError
from hcd.image import read_picture
from hcd_lab.report import KNOWN_SETS
from hcd_lab.report.datasets import SAMPLES, find_sets
from tests.hcd_lab.report.conftest import write_picture


def test_sets_that_are_there_and_those_that_are_not(data):
    write_picture(data / "mine" / "a.png")
    subjects, missing = find_sets(data, ("mine", "Set14", "Set5", "DIV2K"), None)
    assert [subject.label for subject in subjects] == ["mine/a", "Set5/bird", "Set5/head"]
    assert missing == ["Set14", "DIV2K"]
    assert torch.equal(subjects[1].read(), read_picture(data / "Set5" / "bird.png").rgb)


def test_every_known_set_says_where_it_comes_from():
    assert set(KNOWN_SETS) == {"Set5", "Set14", "BSD100", "Urban100", "Manga109", "DIV2K"}
    assert all("20" in source or "SelfExSR" in source for source in KNOWN_SETS.values())


def test_a_folder_of_benchmarks_inside(data):
    write_picture(data / "benchmarks" / "Set14" / "a.png")
    # Directly inside comes first.
    write_picture(data / "benchmarks" / "Set5" / "other.png")
    subjects, missing = find_sets(data, ("Set5", "Set14"), None)
    assert [subject.label for subject in subjects] == ["Set5/bird", "Set5/head", "Set14/a"]
    assert missing == []


def test_the_first_by_name(data):
    subjects, _ = find_sets(data, ("Set5",), 1)
    assert [subject.name for subject in subjects] == ["bird"]


def test_digest_is_of_the_content(data):
    (bird, head), _ = find_sets(data, ("Set5",), None)
    assert bird.digest != head.digest
    (data / "Set5" / "bird.png").rename(data / "Set5" / "crow.png")
    (crow, _), _ = find_sets(data, ("Set5",), None)
    assert (crow.name, crow.digest) == ("crow", bird.digest)
    write_picture(data / "Set5" / "crow.png", seed=9)
    (changed, _), _ = find_sets(data, ("Set5",), None)
    assert changed.digest != bird.digest


def test_names_are_unique_and_printable(data):
    write_picture(data / "Set5" / "bird.bmp")
    write_picture(data / "Set5" / "line\nbreak.png")
    names = [subject.name for subject in find_sets(data, ("Set5",), None)[0]]
    assert names == ["bird.bmp", "bird.png", "head", "line\\nbreak"]


def test_a_picture_that_cannot_be_read_waits_for_its_turn(data):
    """It is one of many: the others are measured all the same."""
    (data / "Set5" / "album.png").mkdir()
    subjects, _ = find_sets(data, ("Set5",), None)
    assert [subject.name for subject in subjects] == ["album", "bird", "head"]
    with pytest.raises(ImageError):
        subjects[0].read()


def test_an_empty_folder_of_a_set(data):
    (data / "Set14").mkdir()
    with pytest.raises(UsageError, match="Set14: holds no picture"):
        find_sets(data, ("Set5", "Set14"), None)


def test_no_such_folder(tmp_path):
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        find_sets(tmp_path / "nowhere", ("Set5",), None)


def test_samples_stand_in_for_all_sets():
    subjects, missing = find_sets(None, ("Set5", "Set14"), 2)
    assert [(subject.dataset, subject.name) for subject in subjects] == [(SAMPLES, "chelsea"), (SAMPLES, "coffee")]
    assert missing == ["Set5", "Set14"]
    assert subjects[0].read().shape == (1, 3, 256, 256)
    assert len({subject.digest for subject in subjects}) == 2
    assert find_sets(None, (), 2)[0][0].digest == subjects[0].digest
