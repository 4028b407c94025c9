"""The two wheels, installed in an environment of their own: what a user gets, which a checkout cannot show."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
CORE_BYTES = 12_000_000


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(project, folder):
    """Build a project's wheel from a copy of what it is made of: building leaves files behind."""
    copy = folder / project.name
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(project / name, copy)
    shutil.copytree(project / "src", copy / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder / "wheels", copy)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The wheels of the core and of the weights."""
    folder = tmp_path_factory.mktemp("build")
    build(ROOT, folder)
    build(ROOT / "weights", folder)
    (core,) = (folder / "wheels").glob("hcd-*.whl")
    (weights,) = (folder / "wheels").glob("hcd_weights-*.whl")
    return core, weights


class Environment:
    """A virtual environment that sees the packages installed here, but no editable ones."""

    def __init__(self, folder):
        run(sys.executable, "-m", "venv", "--without-pip", folder)
        self.folder = folder
        self.python = folder / "bin" / "python"
        own = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
        # Path files are read in the environment's own folder alone, so those of editable installs have no effect.
        (own / "here.pth").write_text(sysconfig.get_path("purelib"), "utf-8")

    def install(self, wheel):
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.python]
        # The checkout itself may be installed here, at the same version.
        run(*pip, "install", "--quiet", "--ignore-installed", "--no-deps", "--no-index", wheel)

    def run(self, *command):
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return run(*command, cwd=self.folder, env=variables)


@pytest.fixture(scope="module")
def environment(wheels, tmp_path_factory):
    """An environment with the core's wheel."""
    made = Environment(tmp_path_factory.mktemp("environment") / "venv")
    made.install(wheels[0])
    return made


def test_the_core_is_small(wheels):
    assert wheels[0].stat().st_size <= CORE_BYTES


def test_every_weights_file_travels_with_its_card_and_figures(wheels):
    for wheel in wheels:
        names = {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
        shipped = {name.removesuffix(".safetensors") for name in names if name.endswith(".safetensors")}
        assert shipped
        assert {f"{name}{suffix}" for name in shipped for suffix in (".md", ".figures.json")} <= names


def test_the_package_is_the_installed_one(environment):
    where = environment.run(environment.python, "-c", "import hcd; print(hcd.__file__)")
    assert Path(where.strip()).is_relative_to(environment.folder)


def test_there_and_back_on_the_command_line(environment, photo):
    hcd = environment.folder / "bin" / "hcd"
    assert "downscale" in environment.run(hcd, "--help")
    pixels = (photo[0].permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(environment.folder / "photo.png")
    environment.run(hcd, "downscale", "photo.png", "-o", "lr.png", "--model", "irn-x4-small", "--preset", "plain")
    environment.run(hcd, "upscale", "lr.png", "-o", "back.png")
    with Image.open(environment.folder / "back.png") as back:
        assert back.size == (pixels.shape[1], pixels.shape[0])


def test_types_are_seen_from_outside(environment, tmp_path):
    (tmp_path / "caller.py").write_text("import hcd\nreveal_type(hcd.load('irn-x4-small').scale)\n", "utf-8")
    checked = environment.run(
        *[sys.executable, "-m", "mypy", "--config-file=", f"--cache-dir={tmp_path}"],
        *[f"--python-executable={environment.python}", tmp_path / "caller.py"],
    )
    assert 'Revealed type is "int"' in checked.replace("builtins.", "")


def test_weights_are_found_once_they_are_installed(wheels, environment):
    load = "import hcd\ntry: print(hcd.load('irn-x2-small').weights_hash)\nexcept hcd.HcdError as error: print(error)"
    remedy = environment.run(environment.python, "-c", load)
    assert "hcd-weights, which is not installed; pip install 'hcd[weights]'" in remedy
    environment.install(wheels[1])
    from hcd.zoo import shipped_hash

    assert environment.run(environment.python, "-c", load).strip() == shipped_hash("irn-x2-small")
