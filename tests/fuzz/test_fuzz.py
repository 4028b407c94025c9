"""A small share of ``make fuzz``: spoiled files of every kind are read or refused, and leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.memory import start_peak
from tests.fuzz.mutate import CHANGES, samples, spoiled
from tests.fuzz.send import send

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("fuzz")
    (made / "out").mkdir()
    return made


@pytest.mark.slow
@settings(max_examples=250, suppress_health_check=list(HealthCheck))
@given(sample=st.sampled_from(samples()), changes=CHANGES, checksums=st.booleans())
def test_spoiled_files(folder, sample, changes, checksums):
    path = folder / f"current{sample.suffix}"
    path.write_bytes(spoiled(sample.data, changes, checksums))
    send(path, folder / "out")


def test_whole_files_are_all_read_and_none_is_lost(folder):
    """Guards the guard: what is spoiled was whole, and most LR files are rebuilt."""
    rebuilt = 0
    for sample in samples():
        path = folder / f"whole{sample.suffix}"
        path.write_bytes(sample.data)
        counts = send(path, folder / "out")
        assert counts["read"] == 1, sample.name
        rebuilt += counts["rebuilt"]
    assert rebuilt >= 12


# In a process of its own: what the allocator and other threads of this one hold back is no part of the question.
_TAKE_AND_GIVE_BACK = """
import mmap
from tests.fuzz.memory import peak, start_peak
if start_peak():
    before = peak()
    with mmap.mmap(-1, 2**26) as taken:
        for _ in range(64):
            taken.write(bytes(2**20))
    while_taken = peak()
    start_peak()
    print(while_taken - before, peak() - before)
"""


def test_memory_of_one_input_is_seen():
    """Guards the guard: what was taken and given back counts, what was taken before it does not."""
    run = subprocess.run(
        [sys.executable, "-c", _TAKE_AND_GIVE_BACK], capture_output=True, text=True, check=True, cwd=_ROOT
    )
    if not run.stdout:
        pytest.skip("this system does not count peaks anew")
    taken, left = map(int, run.stdout.split())
    assert taken >= 2**26
    assert left < 2**25


def test_memory_above_the_limit_is_a_finding(folder, monkeypatch):
    if not start_peak():
        pytest.skip("this system does not count peaks anew")
    path = folder / "whole.png"
    path.write_bytes(samples()[0].data)
    monkeypatch.setattr("tests.fuzz.send.peak", lambda: 2**36 + 1)
    with pytest.raises(AssertionError, match="above the memory"):
        send(path, folder / "out", memory=2**36)
