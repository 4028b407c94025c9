"""Writing files so that they are either absent (or as they were) or whole."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hcd.errors import OutputError
from hcd.files import write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_write_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("name", ["a b", "line\nbreak", os.fsdecode(b"\xff\xfe"), "-o", "ü"])
def test_write_takes_odd_names(tmp_path, name):
    write_atomically(tmp_path / name, b"data")
    assert names(tmp_path) == [name]


def test_write_onto_a_directory_changes_nothing(tmp_path):
    target = tmp_path / "photo.png"
    target.mkdir()
    (target / "inside").write_bytes(b"kept")
    with pytest.raises(OutputError, match=r"photo\.png: cannot be written"):
        write_atomically(target, b"data")
    assert names(tmp_path) == ["photo.png"]
    assert (target / "inside").read_bytes() == b"kept"


@pytest.mark.parametrize("there_before", [False, True])
def test_full_disk_leaves_what_was_there(tmp_path, monkeypatch, there_before):
    path = tmp_path / "photo.png"
    if there_before:
        path.write_bytes(b"old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"photo\.png: cannot be written \(No space left on device\)"):
        write_atomically(path, b"new")
    assert names(tmp_path) == (["photo.png"] if there_before else [])
    if there_before:
        assert path.read_bytes() == b"old"


def test_interruption_leaves_no_part(tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "photo.png", b"new")
    assert names(tmp_path) == []


def test_file_is_synced_before_it_gets_its_name(tmp_path, monkeypatch):
    path, seen = tmp_path / "photo.png", []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append((os.fstat(descriptor).st_size, path.exists())))
    write_atomically(path, b"data")
    assert (4, False) in seen


def test_write_below_a_regular_file(tmp_path):
    (tmp_path / "file").write_bytes(b"kept")
    with pytest.raises(OutputError, match=r"photo\.png: cannot be written"):
        write_atomically(tmp_path / "file" / "photo.png", b"data")
    assert (tmp_path / "file").read_bytes() == b"kept"


@pytest.mark.parametrize("name", [".", "/"])
def test_write_to_what_is_no_file_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="cannot be written"):
        write_atomically(Path(name), b"data")
    assert names(tmp_path) == []


def test_the_longest_name_can_be_written(tmp_path):
    name = "a" * 255
    write_atomically(tmp_path / name, b"data")
    assert names(tmp_path) == [name]


def test_a_link_keeps_leading_to_the_file(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="not a regular file"):
        write_atomically(tmp_path / "pipe", b"data")
    assert (tmp_path / "pipe").is_fifo()
