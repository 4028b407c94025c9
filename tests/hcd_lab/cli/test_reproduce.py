"""``hcd reproduce``: what it takes, what it says, how it ends."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys

import click
import pytest

from hcd_lab.cli import report_progress as progress_module
from hcd_lab.report.chapters.quantitative import Quantitative
from hcd_lab.report.jobs import Solve
from tests.cli.checks import assert_one_line, files_in
from tests.hcd_lab.report.conftest import write_picture

module = importlib.import_module("hcd_lab.report.reproduce")
CONFIG = """
models = ["bicubic-x2"]
sets = ["Set5", "Set14"]
presets = ["plain", "paper", "balanced"]
best_sets = []
"""


@pytest.fixture(autouse=True)
def _main_table_alone(monkeypatch):
    monkeypatch.setattr(module, "CHAPTERS", (Quantitative(),))
    monkeypatch.delenv("HCD_DATA", raising=False)


@pytest.fixture
def data(tmp_path):
    write_picture(tmp_path / "data" / "Set5" / "bird.png")
    return tmp_path / "data"


@pytest.fixture
def config(tmp_path):
    (tmp_path / "mine.toml").write_text(CONFIG)
    return tmp_path / "mine.toml"


@pytest.fixture
def reproduce(hcd, data, config, tmp_path):
    """``reproduce(...)`` makes a small report into ``out``."""

    def run(*arguments):
        return hcd("reproduce", "--config", config, "--data", data, "-o", tmp_path / "out", *arguments)

    return run


def test_a_report(reproduce, tmp_path):
    result = reproduce()
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'out' / 'index.html'}\n"
    assert result.stderr.splitlines() == [
        "3 to measure, 0 cached",
        f"Set14: not in {tmp_path / 'data'}, left out",
    ]
    assert "\x1b" not in result.output
    assert {"index.html", "metrics.csv", "timings.csv", "report.json", "report.toml"} <= set(files_in(tmp_path / "out"))


def test_again(reproduce):
    reproduce()
    assert "0 to measure, 3 cached" in reproduce().stderr


def test_cache_elsewhere(reproduce, tmp_path):
    assert reproduce("--cache", tmp_path / "kept").exit_code == 0
    assert len(files_in(tmp_path / "kept")) == 3
    assert not (tmp_path / "out" / "cache").exists()


def test_data_from_the_environment(hcd, data, config, tmp_path, monkeypatch):
    monkeypatch.setenv("HCD_DATA", str(data))
    result = hcd("reproduce", "--config", config, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert f"Set14: not in {data}" in result.stderr


def test_without_data(hcd, config, tmp_path):
    config.write_text(CONFIG + "largest = 1\n")
    result = hcd("reproduce", "--config", config, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[1:] == [
        "no folder of sets given (--data): measured on photographs of scikit-image"
    ]
    assert "Set5: 5 pictures" in (tmp_path / "out" / "index.html").read_text("utf-8")


def test_a_picture_that_cannot_be_measured_is_named(reproduce, data, tmp_path):
    write_picture(data / "Set5" / "tiny.png", width=10, height=10)
    result = reproduce()
    assert result.exit_code == 1
    errors = [text for text in result.stderr.splitlines() if text.startswith("Error: ")]
    assert len(errors) == 3
    assert "bicubic-x2 Set5/tiny plain: Set5/tiny: too small to evaluate at scale 2" in errors[0]
    assert (tmp_path / "out" / "index.html").is_file()


def test_models_in_place_of_those_of_the_file(reproduce, tmp_path):
    assert reproduce("--models", "bicubic-x4, bicubic-x2").exit_code == 0
    assert "bicubic-x4" in (tmp_path / "out" / "metrics.csv").read_text("utf-8")


class TestRefused:
    def test_quick_beside_a_configuration(self, reproduce):
        assert_one_line(reproduce("--quick"), 2, "--quick and --config: choose one")

    def test_unknown_model(self, reproduce, tmp_path):
        assert_one_line(reproduce("--models", "bicubic-x3"), 2, "unknown model 'bicubic-x3'", "Did you mean")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("models", ["", "bicubic-x2,", "bicubic-x2,bicubic-x2"])
    def test_models_that_are_none(self, reproduce, models):
        assert_one_line(reproduce("--models", models), 2, "model")

    def test_weights_that_are_not_there(self, reproduce):
        assert_one_line(reproduce("--models", "irn-x2=nowhere.pth"), 2, "nowhere.pth")

    def test_none_of_the_sets(self, reproduce, data):
        (data / "Set5").rename(data / "set5-pictures")
        assert_one_line(reproduce(), 2, "holds none of the sets Set5, Set14")

    def test_no_such_folder(self, reproduce, data):
        shutil.rmtree(data)
        assert_one_line(reproduce(), 2, f"{data}: no such folder")

    def test_a_wrong_configuration(self, reproduce, config):
        config.write_text("preset = ['plain']")
        assert_one_line(reproduce(), 2, "mine.toml: unknown entry 'preset'. Did you mean 'presets'?")

    def test_the_report_s_own_configuration(self, hcd, reproduce, data, tmp_path):
        assert reproduce().exit_code == 0
        own = tmp_path / "out" / "report.toml"
        result = hcd("reproduce", "--config", own, "--data", data, "-o", tmp_path / "out")
        assert_one_line(result, 2, "report.toml: would be overwritten")
        assert hcd("reproduce", "--config", own, "--data", data, "-o", tmp_path / "new").exit_code == 0

    def test_a_device_that_is_not_there(self, reproduce):
        assert_one_line(reproduce("--device", "gpu"), 2, "device 'gpu': not available")


def test_interrupted(reproduce, tmp_path, monkeypatch):
    """Ctrl-C ends it without a traceback, says what is kept, and the next run goes on there."""
    run = Solve.run

    def interrupted(self, on_evaluation=None):
        if self.preset == "paper":
            raise KeyboardInterrupt
        return run(self, on_evaluation)

    with monkeypatch.context() as patch:
        patch.setattr(Solve, "run", interrupted)
        result = reproduce()
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == [
        f"interrupted: outcomes are in {tmp_path / 'out' / 'cache'}, the same command goes on"
    ]
    assert result.stdout == ""
    assert "2 to measure, 1 cached" in reproduce().stderr


def test_lines_now_and_then_where_there_is_no_terminal(reproduce, monkeypatch):
    monkeypatch.setattr(progress_module, "_QUIET_SECONDS", 0.0)
    lines = reproduce().stderr.splitlines()
    assert lines[1] == "0%   bicubic-x2 Set5/bird plain"
    assert any("LR stage 3" in text and "dB" in text for text in lines)
    finished = [text for text in lines if text.startswith("100%")]
    assert finished[0].endswith("bicubic-x2 Set5/bird balanced")
    shares = [int(text.partition("%")[0]) for text in lines[1:] if text[0].isdigit()]
    assert shares == sorted(shares)
    assert any("about 1 min left" in text for text in lines)


def test_what_fails_counts_as_done(reproduce, data, monkeypatch):
    """Otherwise the bar would end short of its end."""
    monkeypatch.setattr(progress_module, "_QUIET_SECONDS", 0.0)
    write_picture(data / "Set5" / "tiny.png", width=10, height=10)
    shares = [text.partition("%")[0] for text in reproduce().stderr.splitlines() if "%" in text]
    assert shares[-1] == "100"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "1 min"), (95, "2 min"), (3590, "1 h 00 min"), (4000, "1 h 07 min"), (90000, "25 h 00 min")],
)
def test_minutes(seconds, text):
    assert progress_module._minutes(seconds) == text


def test_help_loads_no_torch():
    script = """
import sys
from hcd.cli.main import main
main(sys.argv[1:], standalone_mode=False)
sys.exit("torch" in sys.modules)
"""
    command = [sys.executable, "-c", script, "reproduce", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--quick" in click.unstyle(done.stdout)
