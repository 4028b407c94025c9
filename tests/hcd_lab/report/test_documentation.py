"""docs/report.md: its example is the full configuration, and no chapter, entry or column is missing."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from hcd_lab.report import FULL, KNOWN_SETS, ReportConfig, Study, read_config
from hcd_lab.report.chapters import CHAPTERS
from hcd_lab.report.results import COLUMNS

TEXT = (Path(__file__).parents[3] / "docs" / "report.md").read_text("utf-8")
EXAMPLE = re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)[1]


def test_example_is_the_full_configuration(tmp_path):
    (tmp_path / "example.toml").write_text(EXAMPLE, "utf-8")
    assert read_config(tmp_path / "example.toml") == FULL


def test_example_has_every_entry():
    entries = re.findall(r"^(?:# )?(\w+) = ", EXAMPLE, re.MULTILINE)
    assert entries == [
        entry.name for record in (ReportConfig, Study) for entry in fields(record) if entry.name != "study"
    ]


def test_chapters_columns_and_sets():
    for chapter in CHAPTERS:
        assert f"\n| {chapter.title}" in TEXT, chapter.title
    for column in COLUMNS:
        assert re.search(rf"^\|[^|]*`{column}`", TEXT, re.MULTILINE), column
    assert all(f"DIR/{name}/" in TEXT for name in KNOWN_SETS)
