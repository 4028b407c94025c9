"""Writing files so that they are either absent (or as they were) or whole."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from hcd.errors import OutputError


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside, sync, rename. Missing folders are made; a link keeps leading to the file.

    Raises:
        OutputError: the folder or file cannot be written.
    """
    if not path.name:
        raise OutputError(f"{path}: cannot be written (it is a folder); choose another place")
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: cannot be written (it is no regular file); choose another place")
    # Not made from the file's name, which may be as long as names can be.
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
