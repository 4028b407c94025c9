"""Cache of job outcomes on disk, addressed by content."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, final

from hcd import __version__
from hcd.files import write_atomically

Outcome = dict[str, Any]
"""What a job measured: JSON values, binary data as base64."""


def content_key(**parts: Any) -> str:
    """Return a hash of everything that decides an outcome: the parts and the version of this package."""
    text = json.dumps({"hcd": __version__, **parts}, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@final
class Store:
    """A folder with one JSON file per outcome. A damaged file counts as absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Outcome | None:
        """Return the cached outcome; None if there is none."""
        try:
            found = json.loads(self._file(key).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def put(self, key: str, outcome: Outcome) -> None:
        """Write an outcome.

        Raises:
            OutputError: the folder cannot be written.
        """
        write_atomically(self._file(key), json.dumps(outcome).encode())

    def _file(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"
