"""The documents keep what they say: commands parse, examples run, tables and links are right."""

from __future__ import annotations

import contextlib
import re
import runpy
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from hcd import defaults
from hcd.cli.main import main
from hcd.zoo import model_entries

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NOTES = sorted((DOCS / "notes").glob("[0-9]*.md"))
GUIDES = sorted((DOCS / "guide").glob("*.md"))
# Notes keep the commands of their day.
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")), *GUIDES]
ALL = [*PAGES, *sorted((DOCS / "reference").glob("*.md")), DOCS / "notes" / "README.md", *NOTES]


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page, language):
    """The code blocks of that language."""
    found, block, opened = [], [], None
    for line in page.read_text("utf-8").splitlines():
        if not line.startswith("```"):
            block.append(line)
        elif opened is None:
            block, opened = [], line.removeprefix("```")
        else:
            found += ["\n".join(block)] if opened == language else []
            opened = None
    return found


def commands(page):
    """The command lines of a page's code blocks, continued lines joined, comments left out."""
    for block in blocks(page, ""):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["hcd"] and "…" not in line:
                yield words[1:]


def parse(group, words):
    """Parse a command line as click does, without running it."""
    context = group.make_context("hcd", list(words), resilient_parsing=False)
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(
            context, [*getattr(context, "_protected_args", []), *context.args]
        )
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_parse(page):
    for words in commands(page):
        try:
            with contextlib.suppress(click.exceptions.Exit):  # --help, --version
                parse(main, words)
        except click.ClickException as error:
            pytest.fail(f"hcd {shlex.join(words)}: {error.format_message()}")


def test_there_are_commands():
    assert sum(len(list(commands(page))) for page in PAGES) > 40


@pytest.fixture
def photo_here(tmp_path, monkeypatch):
    """A folder with a small photo.jpg, as the examples expect it."""
    skimage = pytest.importorskip("skimage.data")
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Image.fromarray(skimage.chelsea()[60:92, 120:152]).save("photo.jpg", quality=95)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "index.md", DOCS / "guide" / "python.md"], ids=name_of)
def test_python_runs_as_typed(page, photo_here):
    examples = blocks(page, "python")
    assert examples
    for example in examples:
        exec(compile(example, name_of(page), "exec"), {"__name__": "__example__"})


def test_readme_is_one_page():
    assert len((ROOT / "README.md").read_text("utf-8").split()) < 900


@pytest.fixture(scope="module")
def tables():
    return runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "benchmarks.md"], ids=name_of)
def test_tables_are_those_of_the_metrics(page, tables):
    text = page.read_text("utf-8")
    assert tables["with_tables"](text, tables["tables"]()) == text


def test_every_model_with_metrics_is_in_a_table():
    text = (DOCS / "benchmarks.md").read_text("utf-8")
    missing = [entry.name for entry in model_entries() if entry.metrics and f"`{entry.name}`" not in text]
    assert not missing


def test_headline_is_in_the_table(tables):
    found = tables["metrics"]()[defaults.MODEL]["Set5"]
    plain, balanced = (round(found[preset]["psnr_y"], 2) for preset in ("plain", "balanced"))
    text = (ROOT / "README.md").read_text("utf-8")
    assert f"restores {balanced:.2f} dB (PSNR-Y) instead of {plain:.2f}: +{balanced - plain:.2f} dB" in text


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_note_is_in_the_index_under_its_title():
    index = (DOCS / "notes" / "README.md").read_text("utf-8")
    for note in NOTES:
        number, title = note.read_text("utf-8").splitlines()[0].removeprefix("# ").split(": ", 1)
        assert note.name.startswith(number)
        assert f"| [{number}]({note.name}) | {title} |" in index


def test_floors_are_those_of_the_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "floors")
    floors = [{room for room in re.split(r" \| ", layer) if not room.startswith("(")} for layer in reversed(layers)]
    table = {}
    for floor, rooms in re.findall(
        r"^\| (\d+) \| ([^|]+) \|", (DOCS / "architecture.md").read_text("utf-8"), re.MULTILINE
    ):
        table.setdefault(int(floor), set()).update(re.findall(r"`(\w+)`", rooms))
    assert table == dict(enumerate(floor for floor in floors if floor))


def test_files_that_the_architecture_names_are_there():
    for name in re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", (DOCS / "architecture.md").read_text("utf-8")):
        assert (ROOT / "src" / "hcd" / name).is_file(), name
