"""File names with spaces, newlines, control characters, markup and bytes that are no text."""

from __future__ import annotations

import io
import os
import sys

import pytest

from hcd.cli.progress import solve_progress
from tests.cli.checks import files_in, objects

NAMES = [
    pytest.param(b"with space.png", id="space"),
    pytest.param(b"line\nbreak.png", id="newline"),
    pytest.param("ünïcode-写真.png".encode(), id="unicode"),
    pytest.param(b"latin-\xe9\xff.png", id="bytes"),
    pytest.param(b"[bold]x[red].png", id="markup"),
    pytest.param(b"%s {0} $HOME `id`.png", id="format"),
    pytest.param(b"-o.png", id="dash"),
]
PLAIN = ("--model", "bicubic-x2", "--preset", "plain")


def named(photo_file, name):
    path = photo_file("plain-name.png")
    return path.rename(path.with_name(os.fsdecode(name)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("json", [(), ("--json",)], ids=["text", "json"])
def test_there_and_back(hcd, photo_file, tmp_path, name, json):
    source = named(photo_file, name)
    down = hcd("downscale", source, "-o", tmp_path / "small", *PLAIN, *json)
    assert down.exit_code == 0, down.output
    assert files_in(tmp_path / "small") == [f"{source.stem}.lr.png"]
    up = hcd("upscale", tmp_path / "small", "-o", tmp_path / "big", *json)
    assert up.exit_code == 0, up.output
    assert files_in(tmp_path / "big") == [source.name]
    if json:
        assert os.fsencode(objects(down.stdout)[0]["input"]) == os.fsencode(source)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_file_is_named(hcd, photo_file, tmp_path, name):
    source = named(photo_file, name)
    source.write_text("not a picture")
    result = hcd("downscale", source, photo_file("good.png"), "-o", tmp_path / "small", *PLAIN)
    assert result.exit_code == 1
    assert "unexpected" not in result.stderr
    assert files_in(tmp_path / "small") == ["good.lr.png"]


@pytest.mark.parametrize("name", NAMES)
def test_compare_and_evaluate(hcd, photo_file, tmp_path, name):
    source = named(photo_file, name)
    result = hcd("compare", source, "-o", tmp_path / "page", "--model", "bicubic-x2", "--preset", "fast")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "page" / "index.html").is_file()
    result = hcd("evaluate", tmp_path, "--model", "bicubic-x2", "--presets", "plain", "--json", tmp_path / "f.json")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", NAMES)
def test_a_terminal_shows_progress_for_any_name(monkeypatch, name):
    """Markup in a name is part of the name."""
    for variable, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "200"}.items():
        monkeypatch.setenv(variable, value)
    terminal = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace", write_through=True)
    monkeypatch.setattr(sys, "stderr", terminal)
    with solve_progress(3) as progress:
        progress.start(os.fsdecode(name), 3)
    shown = terminal.buffer.getvalue()
    if b"\n" not in name:
        assert os.fsdecode(name).encode(errors="backslashreplace") in shown
    assert b"0/3" in shown
