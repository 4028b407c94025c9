"""``hcd train``: a tiny recipe from the command line, killed and resumed, out of time, misused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import click
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import hcd as package
from hcd.cli.options import duration_option
from tests.cli.checks import assert_one_line, files_in
from tests.hcd_lab.train.tiny import TINY_TOML
from tests.hcd_lab.train.weights import assert_same, assert_same_state

# The real command, but with a checkpoint after every step and a rest that leaves time to kill it.
IMPATIENT = """
import time
import hcd_lab.train.loop

def train(*arguments, on_step, **options):
    def slowly(progress):
        on_step(progress)
        time.sleep(0.02)

    return hcd_lab.train.loop.train(*arguments, on_step=slowly, checkpoint_every=-1, **options)

hcd_lab.train.train = train
from hcd.cli.main import main
main()
"""
STEPS = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of one picture."""
    folder = tmp_path_factory.mktemp("data")
    noise = torch.randint(0, 256, (40, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(noise.numpy()).save(folder / "a.png")
    return folder


@pytest.fixture
def tiny(tmp_path):
    """A recipe file of six steps."""
    file = tmp_path / "tiny.toml"
    file.write_text(TINY_TOML, "utf-8")
    return file


@pytest.fixture
def run(hcd, tiny, data, tmp_path):
    """``run("--resume", ...)`` trains the tiny recipe into ``tmp_path/run``."""

    def train(*options, out="run"):
        return hcd("train", tiny, "--data", data, "-o", tmp_path / out, "--precision", "float32", *options)

    return train


@pytest.mark.parametrize("limit", [(), ("--time-limit", "0")])
def test_weights_are_left_behind(run, tmp_path, limit):
    result = run(*limit)
    assert result.exit_code == 0, result.output
    assert "tiny: 1 pictures, 6 steps" in result.stdout
    assert f"weights: {tmp_path / 'run' / 'tiny.safetensors'}" in result.stdout
    assert result.stderr == ""
    assert package.load("irn-x2", weights=tmp_path / "run" / "tiny.safetensors").latent == "zeros"


def test_last_table(run, data):
    result = run("--validation", data)
    table = result.stdout[result.stdout.index("steps") :]
    assert "6 of 6" in table
    assert "dB" in table
    for column in ("seconds", "patches/s", "waiting", "loss", "LR", "validation"):
        assert column in table


def test_table_without_validation_says_so(run):
    row = next(line for line in run().stdout.splitlines() if "6 of 6" in line)
    assert row.split()[-1] == "–"


def test_steps_instead_of_the_recipes(run, tmp_path):
    assert "3 of 3" in run("--steps", "3").stdout
    state = torch.load(tmp_path / "run" / "tiny.checkpoint.pt", weights_only=True)
    assert state["step"] == 3


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_precision(hcd, tiny, data, tmp_path, precision):
    result = hcd("train", tiny, "--data", data, "-o", tmp_path / "run", "--device", "cpu", "--precision", precision)
    assert result.exit_code == 0, result.output
    kept = torch.load(tmp_path / "run" / "tiny.checkpoint.pt", weights_only=True)["execution"]
    assert kept["bfloat16"] in {"auto": (True, False), "float32": (False,), "bfloat16": (True,)}[precision]


@pytest.mark.slow
def test_killed_run_is_resumed_bit_for_bit(run, tiny, data, tmp_path):
    """Killed in the middle of a step, of a write, of anything: nothing can be done about this signal."""
    arguments = ["train", tiny, "--data", data, "--device", "cpu", "--precision", "float32", "--steps", STEPS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    checkpoint = tmp_path / "killed" / "tiny.checkpoint.pt"
    command = [sys.executable, "-c", IMPATIENT, *arguments, "-o", tmp_path / "killed"]
    with subprocess.Popen(
        list(map(str, command)), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            # Some more steps, so that a few checkpoints have replaced each other.
            time.sleep(0.3)
        finally:
            process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    reached = torch.load(checkpoint, weights_only=True)["step"]
    assert 0 < reached < STEPS

    command = [sys.executable, "-m", "hcd", *arguments, "-o", tmp_path / "killed", "--resume"]
    subprocess.run(list(map(str, command)), env=environment, check=True, capture_output=True, timeout=120)
    assert run("--device", "cpu", "--steps", str(STEPS), out="whole").exit_code == 0
    assert_same_state(checkpoint, tmp_path / "whole" / "tiny.checkpoint.pt")
    assert_same(checkpoint.with_name("tiny.safetensors"), tmp_path / "whole" / "tiny.safetensors")


def test_time_limit_ends_cleanly_and_the_run_goes_on(run, tmp_path):
    parts = tmp_path / "run" / "tiny.checkpoint.pt"
    assert run("--time-limit", "0.000001s").exit_code == 0
    assert torch.load(parts, weights_only=True)["step"] == 1
    assert package.load("irn-x2", weights=tmp_path / "run" / "tiny.safetensors").scale == 2
    result = run("--resume")
    assert "6 of 6" in result.stdout
    run(out="whole")
    assert_same_state(parts, tmp_path / "whole" / "tiny.checkpoint.pt")


def test_run_that_is_there_is_not_touched_without_resume(run, tmp_path):
    run("--time-limit", "0")
    before = {name: (tmp_path / "run" / name).read_bytes() for name in files_in(tmp_path / "run")}
    assert_one_line(run(), 2, tmp_path / "run" / "tiny.checkpoint.pt", "--resume")
    assert {name: (tmp_path / "run" / name).read_bytes() for name in files_in(tmp_path / "run")} == before


def test_resume_of_nothing_begins(run):
    assert "6 of 6" in run("--resume").stdout


def test_resume_of_another_recipe(run, tmp_path):
    run("--time-limit", "0")
    assert_one_line(run("--resume", "--steps", "9"), 1, tmp_path / "run" / "tiny.checkpoint.pt", "another recipe")


def test_tensorboard_gets_its_log(run, tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = run("--tensorboard", tmp_path / "log")
    assert result.exit_code == 0, result.output
    events = accumulators.EventAccumulator(str(tmp_path / "log")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5, 6]
    # Not measured, so not logged.
    assert "psnr/validation" not in events.Tags()["scalars"]


def test_tensorboard_that_is_not_installed(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert_one_line(run("--tensorboard", tmp_path / "log"), 2, "--tensorboard", "pip install 'hcd[train]'")
    assert files_in(tmp_path / "run") == []


def test_unknown_recipe(hcd, tmp_path):
    result = hcd("train", "irn-x4-smal", "--data", tmp_path, "-o", tmp_path / "run")
    assert_one_line(result, 2, "Did you mean 'irn-x4-small'?")


def test_recipe_file_that_is_not_there(hcd, tmp_path):
    result = hcd("train", tmp_path / "mine.toml", "--data", tmp_path, "-o", tmp_path / "run")
    assert_one_line(result, 2, tmp_path / "mine.toml", "cannot be read as a recipe")


def test_misspelled_entry(hcd, tiny, data, tmp_path):
    tiny.write_text("stepz = 3\n" + TINY_TOML, "utf-8")
    result = hcd("train", tiny, "--data", data, "-o", tmp_path / "run")
    assert_one_line(result, 2, tiny, "stepz")


def test_without_pydantic(hcd, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydantic", None)
    result = hcd("train", "irn-x4", "--data", tmp_path, "-o", tmp_path / "run")
    assert_one_line(result, 2, "pip install 'hcd[train]'")


def test_folder_without_pictures(hcd, tiny, tmp_path):
    (tmp_path / "data").mkdir()
    result = hcd("train", tiny, "--data", tmp_path / "data", "-o", tmp_path / "run")
    assert_one_line(result, 1, tmp_path / "data", "no picture")
    assert files_in(tmp_path / "run") == []


def test_damaged_picture_is_named(hcd, tiny, photo_file, tmp_path):
    data = photo_file("data/a.png").parent
    (data / "b.png").write_text("not a picture")
    assert_one_line(hcd("train", tiny, "--data", data, "-o", tmp_path / "run"), 1, data / "b.png")


def test_data_is_required(hcd, tmp_path):
    assert hcd("train", "irn-x4-small", "-o", tmp_path / "run").exit_code == 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("25m", 1500), ("2h", 7200), ("1.5h", 5400), ("0", 0), (" 3M ", 180), ("1e2", 100)],
)
def test_durations(text, seconds):
    @click.command
    @duration_option("--time", help="How long.")
    def command(time):
        click.echo(repr(time))

    assert CliRunner().invoke(command, ["--time", text]).output == f"{float(seconds)!r}\n"


@pytest.mark.parametrize("text", ["", "soon", "m", "-5", "5 minutes", "3d", "inf", "nan", "1h30m", "-1h", "infm"])
def test_what_is_no_duration(hcd, data, tmp_path, text):
    result = hcd("train", "irn-x2", "--data", data, "-o", tmp_path / "run", f"--time-limit={text}")
    assert result.exit_code == 2
    assert f"{text!r} is not a time; give seconds, or a number with s, m or h" in result.stderr
    assert files_in(tmp_path / "run") == []
