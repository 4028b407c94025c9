"""What a failed command has to look like."""

from __future__ import annotations

import json


def files_in(folder):
    """Names of all files below a folder, hidden ones included; empty where it is not there."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def assert_one_line(result, exit_code, *parts):
    """One line on standard error that holds ``parts``, nothing that a user could not read, that exit code."""
    assert result.exit_code == exit_code, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("Error: ")
    assert "Traceback" not in result.output
    assert "unexpected" not in lines[0]
    assert "\x1b" not in result.output
    for part in parts:
        assert str(part) in lines[0]


def objects(text):
    """One object per line of standard JSON: no NaN, no Infinity."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
