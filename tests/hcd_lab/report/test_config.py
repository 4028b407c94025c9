"""The configuration: what it refuses, how it is read and written, what its hash tells apart."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from hcd.errors import MissingDependencyError, UsageError
from hcd_lab.report import FULL, QUICK, ReportConfig, Study, read_config
from hcd_lab.report.config import split_model


@pytest.fixture
def toml(tmp_path):
    """``toml(text)`` writes a file and returns its path."""

    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def test_quick_is_part_of_full():
    assert set(QUICK.sets) < set(FULL.sets)
    assert QUICK.models == FULL.models
    assert set(QUICK.study.grid) <= set(FULL.study.grid)
    assert QUICK.study.pictures <= FULL.study.pictures


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ()}, r"models \(\): name at least one"),
        ({"models": ("irn-x4", "irn-x4")}, "each once"),
        ({"models": ("irn-x4=a.pth", "irn-x4=b.pth")}, "'irn-x4' twice"),
        ({"models": ("irn-x4", "irn-x4=b.pth")}, "'irn-x4' twice"),
        ({"sets": ()}, r"sets \(\): name at least one"),
        ({"sets": ("",)}, "sets: '': give the name of a folder"),
        ({"sets": ("../Set5",)}, "give the name of a folder"),
        ({"presets": ("plain", "paper", "balanced", "slow")}, "unknown preset 'slow'"),
        ({"presets": ("plain", "balanced")}, "compares with 'paper'"),
        ({"presets": ("paper", "balanced")}, "compares with 'plain'"),
        ({"gallery": -1}, "gallery -1"),
        ({"largest": 0}, "largest 0"),
    ],
)
def test_what_cannot_be_used(changes, message):
    with pytest.raises(UsageError, match=message):
        ReportConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pictures": 0}, "pictures 0"),
        ({"crop": 31}, "crop 31: must be 32 pixels or more"),
        ({"grid": (5, 10)}, "needs 0 and larger"),
        ({"grid": (0,)}, "needs 0 and larger"),
        ({"grid": (0, -5)}, "needs 0 and larger"),
        ({"grid": (0, 5, 5)}, "each once"),
        ({"grid": ()}, "needs 0 and larger"),
    ],
)
def test_studies_that_cannot_be_done(changes, message):
    with pytest.raises(UsageError, match=message):
        Study(**changes)


def test_hash_is_of_what_is_measured_not_of_where_weights_lie():
    here, there = (ReportConfig(models=(f"irn-x4={folder}/IRN_x4.pth",)) for folder in ("/a", "b/c"))
    assert here.hash == there.hash
    assert len(here.hash) == 12
    plugged, elsewhere = (ReportConfig(models=(f"spandrel:{folder}/net.pth",)) for folder in ("/a", "b=c"))
    assert plugged.hash == elsewhere.hash


@pytest.mark.parametrize(
    "other",
    [
        replace(FULL, models=("irn-x4",)),
        replace(FULL, models=("irn-x4=other.pth", "irn-x2")),
        replace(FULL, sets=("Set5",)),
        replace(FULL, largest=5),
        replace(FULL, study=Study(crop=None)),
        replace(FULL, study=Study(grid=(0, 1))),
    ],
)
def test_hash_of_another_configuration_is_another(other):
    assert other.hash != FULL.hash


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("irn-x4", ("irn-x4", "")),
        ("irn-x4=a/b=c.pth", ("irn-x4", "a/b=c.pth")),
        ("spandrel:a=b/net.pth", ("spandrel:a=b/net.pth", "")),
    ],
)
def test_names_and_their_files(text, parts):
    assert split_model(text) == parts


class TestFile:
    def test_what_it_leaves_out_is_as_in_the_full_report(self, toml):
        read = read_config(toml('sets = ["Set5", "mine"]\n[study]\ngrid = [0, 2]\n'))
        assert read == replace(FULL, sets=("Set5", "mine"), study=Study(grid=(0, 2)))

    @pytest.mark.parametrize(
        "config",
        [FULL, QUICK, ReportConfig(models=('irn-x4=a"b\\ü.pth',), largest=3, study=Study(crop=None))],
        ids=["full", "quick", "own"],
    )
    def test_written_and_read_again(self, toml, config):
        assert read_config(toml(config.toml())) == config

    def test_zero_stands_for_whole_pictures(self, toml):
        assert read_config(toml("[study]\ncrop = 0\n")).study.crop is None

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("model = ['irn-x4']", "unknown entry 'model'. Did you mean 'models'?"),
            ("[study]\ngrids = [0, 1]", "unknown entry 'grids'. Did you mean 'grid'?"),
            ("[studies]\npictures = 3", "unknown entry 'studies'"),
            ("models = 'irn-x4'", "models: Input should be a list"),
            ("study = 3", "study: Input should be a table"),
            ("gallery = '3'", "gallery: Input should be a valid integer"),
            ("gallery = true", "gallery: Input should be a valid integer"),
            ("[study]\npictures = 1.5", "study.pictures"),
            ("[study]\ngrid = [0, 'two']", "study.grid.1"),
            ("[study]\ngrid = [0, 1979-05-27]", "study.grid.1"),
            ("presets = ['plain']", "presets ('plain',): a report compares with 'paper'"),
            ("sets = [", "cannot be read as TOML"),
            ("sets = ['a']\nsets = ['b']", "cannot be read as TOML"),
        ],
    )
    def test_what_is_wrong_is_said(self, toml, text, message):
        path = toml(text)
        with pytest.raises(UsageError) as caught:
            read_config(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert message in str(caught.value)
        assert "Value error" not in str(caught.value)

    def test_no_such_file(self, tmp_path):
        with pytest.raises(UsageError, match=r"nowhere.toml: cannot be read as TOML .*docs/report.md"):
            read_config(tmp_path / "nowhere.toml")

    def test_bytes_that_are_no_text(self, tmp_path):
        (tmp_path / "latin.toml").write_bytes(b"sets = ['caf\xe9']")
        with pytest.raises(UsageError, match="cannot be read as TOML"):
            read_config(tmp_path / "latin.toml")

    def test_without_pydantic(self, toml, monkeypatch):
        monkeypatch.setitem(sys.modules, "pydantic", None)
        with pytest.raises(MissingDependencyError, match=r"needs pydantic; pip install 'hcd\[report\]'"):
            read_config(toml(""))
