"""One file through everything that reads files, and what must hold whatever it is."""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path

import torch

from hcd.errors import HcdError
from hcd.files import write_atomically
from hcd.image import encode, read_lr, read_picture
from hcd.pipeline import Receiver
from tests.fuzz.memory import peak, start_peak

# Small, so that sizes that are a lie take no time where they are let through.
MAX_PIXELS = 2_000_000


@functools.cache
def _receiver(model: str | None, memory: int | None) -> Receiver:
    return Receiver(model=model, max_pixels=MAX_PIXELS, memory=memory)


def send(path: Path, folder: Path, memory: int | None = None) -> Counter[str]:
    """Read a file as a picture and as an LR file, and rebuild it by its own metadata and by a given model.

    Args:
        folder: an empty one, for results; empty again after it.
        memory: bytes that the process may take in all; None for whatever there is.

    Returns:
        How often it was read, rebuilt and refused, and the most memory that was taken, in bytes, as ``memory``.

    Raises:
        AssertionError: something happened that never may.
        Exception: any error that is none of ours.
    """
    counts: Counter[str] = Counter()

    def restore(model: str | None) -> None:
        picture = _receiver(model, memory).restore(path)
        target = folder / "big.png"
        write_atomically(target, encode(picture, ".png"))
        again = read_picture(target)
        assert (again.width, again.height) == (picture.width, picture.height)
        target.unlink()

    def check(rgb: torch.Tensor) -> None:
        assert rgb.dtype == torch.float32
        assert rgb.shape[:2] == (1, 3)
        assert rgb.min() >= 0
        assert rgb.max() <= 1
        assert rgb.shape[-1] * rgb.shape[-2] <= MAX_PIXELS

    counted = start_peak()
    for name, way in (
        ("read", lambda: check(read_picture(path, max_pixels=MAX_PIXELS).rgb)),
        ("read as LR", lambda: check(read_lr(path, max_pixels=MAX_PIXELS)[0].rgb)),
        ("rebuilt", lambda: restore(None)),
        ("rebuilt with --model", lambda: restore("bicubic-x2")),
    ):
        try:
            way()
            counts[name] += 1
        except HcdError as error:
            text = str(error)
            assert str(path) in text, text
            assert "\n" not in text, text
            assert len(text) < 1000, text
            counts["refused"] += 1
        left = sorted(file.name for file in folder.iterdir())
        assert not left, f"left behind: {left}"
    if counted:
        counts["memory"] = peak()
        assert memory is None or counts["memory"] <= memory, f"above the memory: {counts['memory']} of {memory} bytes"
    return counts
