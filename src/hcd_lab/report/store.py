"""Outcomes by content: what was measured once is read again, whole or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, final

from hcd import __version__
from hcd.files import write_atomically

Outcome = dict[str, Any]
"""What a job found: JSON, binary parts as base64."""


def content_key(**parts: Any) -> str:
    """A name for everything that decides an outcome: the parts, and the version of this package."""
    text = json.dumps({"hcd": __version__, **parts}, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@final
class Store:
    """A folder with one file per outcome. A file that is damaged counts as absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Outcome | None:
        try:
            found = json.loads(self._file(key).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def put(self, key: str, outcome: Outcome) -> None:
        """Keep an outcome.

        Raises:
            OutputError: the folder cannot be written.
        """
        write_atomically(self._file(key), json.dumps(outcome).encode())

    def _file(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"
