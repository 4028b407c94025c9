"""What was measured once is read again, whole or not at all."""

from __future__ import annotations

import json
import math

import pytest

from hcd.errors import OutputError
from hcd_lab.report import store as module
from hcd_lab.report.store import Store, content_key

OUTCOME = {"psnr_y": 31.25, "lr_psnr": math.inf, "unrounded": None, "history": [["lr", 1, 0.5]], "lr_file": "aGNk"}


@pytest.fixture
def kept(tmp_path):
    """A store with one outcome, its key and its file."""
    store, key = Store(tmp_path / "cache"), content_key(job="test")
    store.put(key, OUTCOME)
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    return store, key, file


def test_what_is_put_is_got(kept):
    store, key, _ = kept
    assert store.get(key) == OUTCOME
    assert store.get(content_key(job="another")) is None


def test_another_store_of_the_folder_has_it_too(kept, tmp_path):
    assert Store(tmp_path / "cache").get(kept[1]) == OUTCOME


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_counts_as_absent(kept, share):
    store, key, file = kept
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    assert store.get(key) is None


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"[1, 2]", b"null", b'{"psnr_y": 3'])
def test_damaged_counts_as_absent_and_is_written_again(kept, data):
    store, key, file = kept
    file.write_bytes(data)
    assert store.get(key) is None
    store.put(key, OUTCOME)
    assert store.get(key) == OUTCOME


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    """Where the disk fills up, there is no half of an outcome."""

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    store = Store(tmp_path / "cache")
    with pytest.raises(OutputError, match="No space left"):
        store.put("ab" * 16, OUTCOME)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert store.get("ab" * 16) is None


def test_an_outcome_that_is_no_json_is_not_begun(tmp_path):
    with pytest.raises(TypeError):
        Store(tmp_path).put("ab" * 16, {"lr_file": b"bytes"})
    assert not list(tmp_path.iterdir())


class TestKey:
    def test_is_of_the_parts_whatever_their_order(self):
        assert content_key(job="solve", crop=None) == content_key(crop=None, job="solve")
        keys = {
            content_key(**parts)
            for parts in ({}, {"crop": None}, {"crop": 0}, {"crop": "0"}, {"crop": [0]}, {"kind": None})
        }
        assert len(keys) == 6

    def test_is_another_in_another_version(self, monkeypatch):
        before = content_key(job="solve")
        monkeypatch.setattr(module, "__version__", "0.0.0-other")
        assert content_key(job="solve") != before

    def test_is_a_name_of_a_file(self):
        key = content_key(model=("irn-x4", "3fa9"), settings=json)
        assert len(key) == 32
        assert set(key) <= set("0123456789abcdef")
