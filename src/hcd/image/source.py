"""Open files whose names come from users: regular files only, and without blocking."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from hcd.errors import ImageError


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        ImageError: missing, not readable, a folder, a FIFO, a device, or an invalid path.
    """
    try:
        # Checked before opening, since opening a device can have effects, and after, since the path may have changed.
        _check(os.stat(path), path)
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            _check(os.fstat(descriptor), path)
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise
    except ImageError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError(f"{path}: no such file; check the path") from error
    except PermissionError as error:
        raise ImageError(f"{path}: no permission to read it; change its permissions") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except ValueError as error:
        raise ImageError(f"{path}: cannot be the name of a file ({error}); check the path") from error


def _check(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{path}: not a regular file; give a picture")
