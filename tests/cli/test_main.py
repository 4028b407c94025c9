"""The command itself: help, version, unknown commands, tracebacks, quiet pipes."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys

import pytest

from hcd import __version__
from hcd.errors import ImageError
from tests.cli.checks import assert_one_line
from tests.glibc import needs_glibc

GROUPS = {
    "Commands": ["downscale", "upscale"],
    "Look and measure": ["compare", "evaluate", "demo"],
    "Models": ["models", "convert"],
    "Laboratory": ["train", "campaign", "card", "bench", "reproduce"],
}
COMMANDS = [command for commands in GROUPS.values() for command in commands]
# What each of these loads beside itself.
_LOADS_LITTLE = """
import sys

def loaded(*names):
    return [name for name in names if name in sys.modules]

import hcd
assert not loaded("torch", "numpy", "hcd.errors"), "import hcd"
from hcd.cli.main import main
main(["--help"], standalone_mode=False)
assert not loaded("torch", "numpy", "jinja2"), "hcd --help"
import hcd.pipeline.receiver
assert not loaded("hcd.collab", "hcd_lab"), "hcd.pipeline.receiver"
main(["upscale", *sys.argv[1:]], standalone_mode=False)
assert not loaded("hcd.collab", "hcd.pipeline.sender", "hcd.evaluate", "hcd_lab"), "hcd upscale"
assert not loaded("torch._dynamo", "sympy"), "hcd upscale imports PyTorch's compiler"
"""


def python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def test_version(hcd):
    result = hcd("--version")
    assert result.exit_code == 0
    assert __version__ in result.stdout


def test_help_lists_every_command_in_order_of_use(hcd):
    result = hcd("--help")
    assert result.exit_code == 0
    shown = {}
    for section in result.stdout.split("\n\n")[-len(GROUPS) :]:
        title, *lines = section.splitlines()
        shown[title.removesuffix(":")] = [re.match(r"  (\w+)  +\S", line)[1] for line in lines]
    assert list(shown.items()) == list(GROUPS.items())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(hcd, command):
    result = hcd(command, "-h")
    assert result.exit_code == 0
    assert "--help" in result.stdout
    for option in re.findall(r"--[a-z-]+", result.stdout):
        assert option == option.lower()


@pytest.mark.slow
def test_no_more_is_loaded_than_what_is_needed(lr_file, tmp_path):
    """No torch for help, and neither the sender's method nor the laboratory for a receiver."""
    done = python("-c", _LOADS_LITTLE, str(lr_file), "-o", str(tmp_path / "big.png"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "big.png").is_file()


@pytest.mark.parametrize(("given", "meant"), [("downscal", "downscale"), ("modles", "models")])
def test_unknown_command(hcd, given, meant):
    result = hcd(given)
    assert result.exit_code == 2
    assert f"Did you mean '{meant}'?" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("command", "module", "remedy"),
    [("reproduce", "hcd_lab.cli.reproduce", "'hcd[report]'"), ("models", "hcd.zoo", "'hcd'")],
)
def test_a_library_that_is_not_installed(hcd, monkeypatch, tmp_path, command, module, remedy):
    """Whether the command's module or what it calls needs it."""
    monkeypatch.setitem(sys.modules, module, None)
    assert_one_line(hcd(command), 2, f"{command}: needs the module '{module}'", f"pip install {remedy}")


def test_debug_lets_the_error_through(hcd, tmp_path):
    arguments = ("upscale", tmp_path / "nowhere.png", "-o", tmp_path / "out.png")
    assert isinstance(hcd("--debug", *arguments).exception, ImageError)
    assert_one_line(hcd(*arguments), 1, "nowhere.png: no such file")


def test_debug_lets_an_unexpected_error_through(hcd, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("a slip")

    monkeypatch.setattr(importlib.import_module("hcd.zoo"), "model_entries", fail)
    assert isinstance(hcd("--debug", "models").exception, ZeroDivisionError)
    result = hcd("models")
    assert result.exit_code == 1
    assert result.stderr == "Error: unexpected ZeroDivisionError: a slip; run 'hcd --debug …' to see where\n"


@pytest.mark.slow
def test_piped_run_is_quiet(photo_file, tmp_path):
    """A real process, since here a terminal or the lack of one matters."""
    out = tmp_path / "small.png"
    arguments = ("downscale", photo_file(), "-o", out, "--model", "bicubic-x2", "--preset", "fast")
    done = python("-m", "hcd", *map(str, arguments))
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert b"\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert out.is_file()


@pytest.mark.slow
def test_debug_prints_a_traceback(tmp_path):
    done = python("-m", "hcd", "--debug", "upscale", str(tmp_path / "nowhere.png"), "-o", str(tmp_path / "out.png"))
    assert done.returncode != 0
    assert b"Traceback" in done.stderr
    assert b"ImageError" in done.stderr


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("0", "0")])
def test_large_pages_are_asked_for_unless_that_is_decided(hcd, monkeypatch, given, expected):
    if given is None:
        monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    else:
        monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", given)
    assert hcd("models").exit_code == 0
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == expected


_KEEPS = """
import sys
from hcd.cli.main import main
from hcd.heap import keeps_freed
assert not keeps_freed()
main(["models"], standalone_mode=False)
sys.exit(not keeps_freed())
"""


@pytest.mark.slow
@needs_glibc
def test_a_command_keeps_what_it_frees_unless_that_is_decided():
    assert python("-c", _KEEPS).returncode == 0
    assert python("-c", _KEEPS, MALLOC_TRIM_THRESHOLD_="131072").returncode == 1
