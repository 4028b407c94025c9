"""Standard JSON for metrics: it has no infinity and no NaN, so these become null."""

from __future__ import annotations

import json
import math
from typing import Any


def json_text(value: Any, *, indent: int | None = 1) -> str:
    """Encode nested dictionaries, lists and numbers as standard JSON; on one line if ``indent`` is None.

    >>> json_text({"psnr": math.inf})
    '{\\n "psnr": null\\n}'
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
