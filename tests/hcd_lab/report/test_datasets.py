"""Sets of pictures: found, named as missing, told apart by content."""

from __future__ import annotations

import pytest
import torch

from hcd.errors import UsageError
from hcd.image import read_picture
from hcd_lab.bench import SAMPLES
from hcd_lab.report.datasets import find_sets
from tests.hcd_lab.report.conftest import write_picture


def test_sets_that_are_there_and_those_that_are_not(data):
    write_picture(data / "mine" / "a.png")
    images, missing = find_sets(data, ("mine", "Set14", "Set5", "DIV2K"), None)
    assert [image.label for image in images] == ["mine/a", "Set5/bird", "Set5/head"]
    assert missing == ["Set14", "DIV2K"]
    assert torch.equal(images[1].read(), read_picture(data / "Set5" / "bird.png").rgb)


def test_a_folder_of_benchmarks_inside(data):
    write_picture(data / "benchmarks" / "Set14" / "a.png")
    # Directly inside comes first.
    write_picture(data / "benchmarks" / "Set5" / "other.png")
    images, missing = find_sets(data, ("Set5", "Set14"), None)
    assert [image.label for image in images] == ["Set5/bird", "Set5/head", "Set14/a"]
    assert missing == []


def test_the_first_by_name(data):
    images, _ = find_sets(data, ("Set5",), 1)
    assert [image.name for image in images] == ["bird"]


def test_an_empty_folder_of_a_set(data):
    (data / "Set14").mkdir()
    with pytest.raises(UsageError, match="Set14: holds no picture"):
        find_sets(data, ("Set5", "Set14"), None)


def test_no_such_folder(tmp_path):
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        find_sets(tmp_path / "nowhere", ("Set5",), None)


def test_samples_stand_in_for_all_sets():
    images, missing = find_sets(None, ("Set5", "Set14"), 2)
    assert [(image.dataset, image.name) for image in images] == [(SAMPLES, "chelsea"), (SAMPLES, "coffee")]
    assert missing == ["Set5", "Set14"]
    assert images[0].read().shape == (1, 3, 256, 256)
    assert len({image.digest for image in images}) == 2
    assert find_sets(None, (), 2)[0][0].digest == images[0].digest
