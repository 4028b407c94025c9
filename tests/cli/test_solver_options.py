"""The settings of the method on the command line: names that the help lists are those that there are."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from hcd.cli.main import main
from hcd.collab import LOSSES
from tests.conftest import make_smooth_picture


@pytest.fixture
def picture(tmp_path):
    from PIL import Image

    path = tmp_path / "photo.png"
    levels = (make_smooth_picture(24, 32)[0].permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(levels).save(path)
    return path


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_help_lists_the_losses():
    shown = " ".join(run("downscale", "--help").output.split())
    assert all(name in shown for name in LOSSES)


@pytest.mark.parametrize("option", [("--loss", "y"), ("--rule", "adam")])
def test_options_reach_the_method(picture, tmp_path, option):
    common = ("--model", "bicubic-x2", "--steps-lr", "4", "--loss", "rgb")
    plain = run("downscale", picture, "-o", tmp_path / "a.png", *common)
    changed = run("downscale", picture, "-o", tmp_path / "b.png", *common, *option)
    assert plain.exit_code == changed.exit_code == 0, changed.output
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_a_bound_on_the_small_picture_is_kept(picture, tmp_path):
    import hcd
    from hcd.image import read_picture

    for name, options in (("plain", ("--preset", "plain")), ("near", ("--min-lr-psnr", "55"))):
        out = tmp_path / f"{name}.png"
        assert run("downscale", picture, "-o", out, "--model", "bicubic-x2", *options).exit_code == 0
    near, plain = (read_picture(tmp_path / f"{name}.png").rgb for name in ("near", "plain"))
    assert hcd.psnr(near, plain, channel="rgb") >= 55


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--loss", "mse"), "unknown loss 'mse'"),
        (("--rule", "lbfsg"), "Did you mean 'lbfgs'"),
        (("--steps-hr", "-1"), "steps_hr -1"),
    ],
)
def test_wrong_values(picture, tmp_path, option, told):
    shown = run("downscale", picture, "-o", tmp_path / "a.png", "--model", "bicubic-x2", *option)
    assert shown.exit_code == 2
    assert told in shown.output
    assert not (tmp_path / "a.png").exists()
