"""Atomic writing: after a failure a file is absent or as it was before, never partial."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from hcd.errors import OutputError


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file atomically: to a temporary file beside it, which is synced and renamed.

    Missing folders are created. A symbolic link is kept, and its target is written.

    Raises:
        OutputError: the folder or file cannot be written.
    """
    if not path.name:
        raise OutputError(f"{path}: cannot be written (it is a folder); choose another place")
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: cannot be written (it is not a regular file); choose another place")
    # The name does not contain that of the file, which may be as long as the file system allows.
    beside = path.with_name(f".hcd-{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink()
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
