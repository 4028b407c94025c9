"""The floors of the architecture: imports point down only, and little is loaded before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hcd

PACKAGE = Path(hcd.__file__).parent

# From the ground up. A room imports from lower floors only, never from its own.
FLOORS = [
    {"errors"},
    {"files", "heap", "ops"},
    {"image", "nets", "solver", "metrics", "tiling"},
    {"rescaler"},
    {"zoo", "collab"},
    {"pipeline"},
    {"train", "evaluate", "bench"},
    {"report"},
    {"cli"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# The front door hands on names of every room lazily; ``python -m hcd`` calls the command line.
FRONT = {"__init__", "__main__"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    """The first folder or file under the package that a module belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_names(path):
    """Every dotted name under ``hcd`` that a module imports, also inside functions and for type checking."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "hcd")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; name the room"
            if node.module == "hcd":
                yield from (f"hcd.{alias.name}" for alias in node.names)
            elif node.module and node.module.startswith("hcd."):
                yield node.module


def imported_rooms(path):
    for name in imported_names(path):
        second = name.split(".")[1] if "." in name else "__init__"
        if second == "__version__":
            continue
        # A name that the front door hands on comes from its home.
        yield hcd._HOMES.get(second, f"hcd.{second}").split(".")[1]


def test_every_room_has_a_floor():
    assert {room_of(path) for path in MODULES} - FRONT == set(FLOOR_OF)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    room = room_of(path)
    if room in FRONT:
        return
    for imported in imported_rooms(path):
        assert imported == room or FLOOR_OF[imported] < FLOOR_OF[room], f"hcd.{room} imports hcd.{imported}"


def test_the_check_sees_imports():
    # Guards the guard: these imports exist, at the top of a file and inside a function.
    assert {"ops", "solver", "rescaler"} <= set(imported_rooms(PACKAGE / "collab" / "stages.py"))
    assert {"image", "collab", "pipeline"} <= set(imported_rooms(PACKAGE / "cli" / "downscale.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path):
    if room_of(path) == "cli":
        return
    called = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"print", "input", "breakpoint"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_validation_by_assert(path):
    # ``python -O`` drops assertions.
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("command", [["-c", "import hcd"], ["-m", "hcd", "--help"]], ids=["import", "help"])
def test_torch_is_not_loaded_before_it_is_needed(command):
    done = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "hcd" in loaded
    assert "torch" not in loaded


class TestFrontDoor:
    def test_hands_on_every_public_name(self):
        assert set(hcd.__all__) == set(hcd._HOMES)
        for name in hcd.__all__:
            assert getattr(hcd, name) is not None
        assert set(hcd.__all__) <= set(dir(hcd))

    def test_an_unknown_name_is_an_attribute_error(self):
        with pytest.raises(AttributeError, match="module 'hcd' has no attribute 'upscale'"):
            hcd.upscale  # noqa: B018 - the access is the test

    def test_errors_are_the_built_in_ones_too(self):
        from hcd import errors

        tree = {
            errors.UsageError: ValueError,
            errors.ShapeError: ValueError,
            errors.ImageError: OSError,
            errors.MetadataError: ValueError,
            errors.ModelError: LookupError,
            errors.WeightsError: ValueError,
            errors.MissingDependencyError: ImportError,
            errors.TrainingError: RuntimeError,
        }
        for error, builtin in tree.items():
            assert issubclass(error, hcd.HcdError)
            assert issubclass(error, builtin)
