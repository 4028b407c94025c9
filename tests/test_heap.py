"""Freed memory: kept where that was asked for, handed back where it was not, or when it is told to."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hcd import heap
from tests.glibc import needs_glibc

_AGAIN = """
import resource, sys
from pathlib import Path
from hcd.heap import give_back, keep_freed, keeps_freed

def faults_of(size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(size)[:: 4096] = b"x" * (size // 4096)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

asked = sys.argv[1] == "keep" and keep_freed()
assert asked == keeps_freed()
first, again = faults_of(2**26), faults_of(2**26)
held = resident()
give_back()
print(int(asked), first, again, (held - resident()) // 2**20)
"""


def twice(how, **environment):
    """Whether it keeps; page faults of 64 MiB taken and freed, and of the same again; MiB that could be given back."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", _AGAIN, how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**kept, **environment})
    assert done.returncode == 0, done.stderr
    return tuple(map(int, done.stdout.split()))


@needs_glibc
def test_what_is_kept_comes_without_faults():
    keeps, first, again, given_back = twice("keep")
    assert keeps
    assert first > 2**14 * 0.9
    assert again < 500
    assert given_back > 56


@needs_glibc
def test_what_is_not_kept_is_handed_back():
    keeps, first, again, given_back = twice("leave")
    assert not keeps
    assert min(first, again) > 2**14 * 0.9
    assert given_back < 8


@needs_glibc
@pytest.mark.parametrize(
    "decided",
    [
        {"MALLOC_TRIM_THRESHOLD_": "131072"},
        {"MALLOC_MMAP_THRESHOLD_": "131072"},
        {"MALLOC_MMAP_MAX_": "65536"},
        {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"},
    ],
)
def test_what_the_environment_says_stays(decided):
    keeps, _, again, _ = twice("keep", **decided)
    assert not keeps
    assert again > 2**14 * 0.9


class Library:
    """A C library that knows as much of this as it is given."""

    def __init__(self, **functions):
        vars(self).update(functions)


@pytest.fixture
def library(monkeypatch):
    """``library(mallopt=…)`` is what this process is linked to, and nothing has been asked of it."""
    for name in (*heap._CONFIGURES, "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(heap, "_keeps", False)

    def link(**functions):
        monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: Library(**functions))

    return link


def test_a_library_that_knows_nothing_of_it(library):
    library()
    assert not heap.keep_freed()
    assert not heap.keeps_freed()
    heap.give_back()


@pytest.mark.parametrize("refused", [-1, -4])
def test_a_library_that_refuses(library, refused):
    library(mallopt=lambda what, value: int(what != refused))
    assert not heap.keep_freed()
    assert not heap.keeps_freed()


def test_asking_twice_asks_once(library):
    asked = []
    library(mallopt=lambda what, value: asked.append((what, value)) or 1)
    assert heap.keep_freed()
    assert heap.keep_freed()
    assert heap.keeps_freed()
    assert asked == [(-4, 0), (-1, -1)]
