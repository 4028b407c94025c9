"""``hcd downscale``: good runs, wrong usage, bad inputs among good ones."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys

import pytest
from PIL import Image

from hcd import memory, metrics
from hcd.collab import PRESETS
from hcd.image import read_lr, read_picture
from tests.cli.checks import assert_one_line, files_in, objects
from tests.image.kinds import bits16, vips

FAST = ("--model", "bicubic-x2", "--preset", "fast")
FAST_STEPS = PRESETS["fast"].evaluations
PLAIN = ("--model", "bicubic-x2", "--preset", "plain")


def test_one_picture_to_a_named_file(hcd, photo_file, tmp_path):
    out = tmp_path / "a b.lr.webp"
    result = hcd("downscale", photo_file(), "-o", out, *FAST)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "24×20 → 12×10" in result.stdout
    assert f"{FAST_STEPS} evaluations" in result.stdout
    picture, info = read_lr(out)
    assert (picture.width, picture.height, info.model, info.width, info.height) == (12, 10, "bicubic-x2", 24, 20)


def test_a_folder_and_a_file_into_a_folder(hcd, photo_file, tmp_path):
    photo_file("in/a.png"), photo_file("in/b.png")
    (tmp_path / "in" / "notes.txt").write_text("not a picture, and not asked to be one")
    result = hcd("downscale", tmp_path / "in", photo_file("c.jpg"), "-o", tmp_path / "out", *PLAIN, "--format", "webp")
    assert result.exit_code == 0
    assert files_in(tmp_path / "out") == ["a.lr.webp", "b.lr.webp", "c.lr.webp"]


def test_json_lines(hcd, photo_file, tmp_path):
    result = hcd("downscale", photo_file("a.png"), photo_file("b.png"), "-o", tmp_path / "out", *FAST, "--json")
    first, second = objects(result.stdout)
    assert set(first) == {
        *("input", "output", "model", "preset", "width", "height"),
        *("lr_bytes", "plain_psnr_rgb", "psnr_rgb", "grad_evals", "seconds"),
    }
    assert first["input"] == str(tmp_path / "a.png")
    assert second["output"] == str(tmp_path / "out" / "b.lr.png")
    assert first["lr_bytes"] == (tmp_path / "out" / "a.lr.png").stat().st_size
    assert (first["width"], first["height"], first["grad_evals"]) == (12, 10, FAST_STEPS)
    assert first["psnr_rgb"] >= first["plain_psnr_rgb"]


def test_json_of_a_perfect_restoration_is_json(hcd, tmp_path):
    Image.new("RGB", (8, 8), (128, 128, 128)).save(tmp_path / "flat.png")
    result = hcd("downscale", tmp_path / "flat.png", "-o", tmp_path / "out", *FAST, "--json")
    assert result.exit_code == 0
    assert objects(result.stdout)[0]["psnr_rgb"] is None


def test_options_reach_the_solver(hcd, photo_file, tmp_path):
    arguments = ("downscale", photo_file(), "-o", tmp_path / "out", *FAST, "--json")
    assert objects(hcd(*arguments, "--set", "steps_lr=3", "--set", "steps_hr=2").stdout)[0]["grad_evals"] == 5
    assert objects(hcd(*arguments, "--set", "steps_lr=3").stdout)[0]["grad_evals"] == 3
    assert objects(hcd(*arguments, "--target-psnr", "1").stdout)[0]["grad_evals"] == 1
    assert objects(hcd(*arguments, "--max-seconds", "0").stdout)[0]["grad_evals"] == 1


def test_max_change_bounds_the_file(hcd, photo_file, tmp_path):
    source = photo_file()
    assert hcd("downscale", source, "-o", tmp_path / "plain.png", *PLAIN).exit_code == 0
    changes = []
    for limit in ((), ("--max-change", "1")):
        assert hcd("downscale", source, "-o", tmp_path / "changed.png", *FAST, *limit).exit_code == 0
        change = read_picture(tmp_path / "changed.png").rgb - read_picture(tmp_path / "plain.png").rgb
        changes.append(round(float(change.abs().max() * 255)))
    assert changes[0] > 1
    assert changes[1] == 1


def test_same_input_same_file(hcd, photo_file, tmp_path):
    source = photo_file()
    for name in ("first.png", "second.png"):
        assert hcd("downscale", source, "-o", tmp_path / name, *FAST).exit_code == 0
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_one_pixel(hcd, photo_file, tmp_path):
    result = hcd("downscale", photo_file(width=1, height=1), "-o", tmp_path / "dot.png", *FAST)
    assert result.exit_code == 0
    assert hcd("upscale", tmp_path / "dot.png", "-o", tmp_path / "back.png").exit_code == 0
    assert read_picture(tmp_path / "back.png").rgb.shape == (1, 3, 1, 1)


def test_bad_files_among_good_ones(hcd, photo_file, tmp_path):
    good, also_good = photo_file("a.png"), photo_file("z.png")
    text, cut = tmp_path / "b.png", tmp_path / "c.png"
    text.write_text("not a picture")
    cut.write_bytes(good.read_bytes()[:100])
    result = hcd("downscale", good, text, cut, tmp_path / "nowhere.png", also_good, "-o", tmp_path / "out", *FAST)
    assert result.exit_code == 1
    assert files_in(tmp_path / "out") == ["a.lr.png", "z.lr.png"]
    lines = result.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines[:3]] == [str(text), str(cut), str(tmp_path / "nowhere.png")]
    assert lines[3:] == ["3 of 5 inputs failed; the others are done"]
    assert len(result.stdout.splitlines()) == 2


@pytest.mark.parametrize("kind", ["long", "loop"])
def test_path_that_the_system_refuses_among_good_ones(hcd, photo_file, tmp_path, kind):
    bad = tmp_path / ("x" * 300 + ".png" if kind == "long" else "loop.png")
    if kind == "loop":
        bad.symlink_to(bad)
    result = hcd("downscale", bad, photo_file("a.png"), "-o", tmp_path / "out", *PLAIN)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {bad}: ")
    assert files_in(tmp_path / "out") == ["a.lr.png"]


def test_unwritable_folder(hcd, photo_file, tmp_path):
    # Below a regular file: not even root can write there.
    (tmp_path / "file").touch()
    result = hcd("downscale", photo_file(), "-o", tmp_path / "file" / "out", *PLAIN)
    assert_one_line(result, 1, tmp_path / "file" / "out" / "photo.lr.png", "cannot be written")


def test_target_is_a_folder_with_a_picture_name(hcd, photo_file, tmp_path):
    (tmp_path / "out.png").mkdir()
    assert hcd("downscale", photo_file(), "-o", tmp_path / "out.png", *PLAIN).exit_code == 0
    assert files_in(tmp_path / "out.png") == ["photo.lr.png"]


def test_two_inputs_to_one_output(hcd, photo_file, tmp_path):
    one, other = photo_file("one/a.png"), photo_file("other/a.jpg")
    result = hcd("downscale", one, other, "-o", tmp_path / "out", *PLAIN)
    assert_one_line(result, 2, one, other, tmp_path / "out" / "a.lr.png")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("through_a_link", [False, True])
def test_output_onto_input(hcd, photo_file, tmp_path, through_a_link):
    source = photo_file()
    before, out = source.read_bytes(), source
    if through_a_link:
        (tmp_path / "link").symlink_to(tmp_path)
        out = tmp_path / "link" / source.name
    assert_one_line(hcd("downscale", source, "-o", out, *PLAIN), 2, source, "choose another output")
    assert source.read_bytes() == before


@pytest.mark.parametrize("suffix", [".TIF", ".bmp", ".heic"])
def test_suffix_that_cannot_hold_an_lr_picture(hcd, photo_file, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    assert_one_line(hcd("downscale", photo_file(), "-o", out, *PLAIN), 2, out, ".png, .webp, .jpg or .avif")
    assert not out.exists()


def test_folder_without_pictures(hcd, tmp_path):
    (tmp_path / "empty").mkdir()
    assert_one_line(hcd("downscale", tmp_path / "empty", "-o", tmp_path / "out"), 2, tmp_path / "empty", "no picture")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--model", "bicubic-x3"), ("bicubic-x3", "Did you mean 'bicubic-x4'?", "Known: ")),
        (("--preset", "balnced"), ("balnced", "Did you mean 'balanced'?", "Known: ")),
        (("--model", "bicubic-x2", "--set", "steps_lr=-1"), ("steps_lr -1",)),
        (("--model", "bicubic-x2", "--max-change", "-3"), ("max_change -3",)),
        (("--model", "bicubic-x2", "--max-seconds", "-3"), ("max_seconds -3",)),
        (("--model", "bicubic-x2", "--max-seconds", "nan"), ("max_seconds nan",)),
        (("--model", "bicubic-x2", "--target-psnr", "nan"), ("target_psnr nan",)),
        (("--model", "bicubic-x2", "--device", "gpu"), ("device 'gpu'", "use auto or cpu")),
        (("--model", "bicubic-x2", "--weights", "file.pth"), ("bicubic-x2", "no weights")),
        (("--model", "irn-x4", "--weights", "nowhere.pth"), ("nowhere.pth", "no such weights file")),
    ],
)
def test_value_that_cannot_be_used(hcd, photo_file, tmp_path, arguments, parts):
    assert_one_line(hcd("downscale", photo_file(), "-o", tmp_path / "out", *arguments), 2, *parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [("--max-change", "many"), ("--format", "jpg"), ("--nonsense",)],
)
def test_option_that_does_not_parse(hcd, photo_file, tmp_path, arguments):
    result = hcd("downscale", photo_file(), "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert not (tmp_path / "out").exists()


def test_missing_arguments(hcd, photo_file):
    assert hcd("downscale").exit_code == 2
    assert hcd("downscale", photo_file()).exit_code == 2


def test_adversarial_restores_worse(hcd, photo_file, tmp_path):
    result = hcd(
        *("downscale", photo_file(), "-o", tmp_path / "out", "--model", "bicubic-x2", "--preset", "paper"),
        *("--set", "direction=adversarial", "--json"),
    )
    facts = objects(result.stdout)[0]
    assert facts["psnr_rgb"] < facts["plain_psnr_rgb"]


def test_source_is_left_as_it_was(hcd, photo_file, tmp_path):
    source = photo_file()
    before = source.read_bytes()
    assert hcd("downscale", source, "-o", tmp_path, *PLAIN).exit_code == 0
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GiB", 4 * 2**30), ("900MiB", 900 * 2**20), ("1500000000", 1500000000), ("2.5gb", 2500000000), ("4 gib", 2**32)],
)
def test_memory_is_a_size(hcd, photo_file, tmp_path, monkeypatch, text, size):
    limits = []
    monkeypatch.setattr(memory, "_spare", lambda device, limit: limits.append(limit) or 2**40)
    result = hcd("downscale", photo_file(), "-o", tmp_path / "out", *FAST, "--memory", text)
    assert result.exit_code == 0, result.output
    assert set(limits) == {size}


@pytest.mark.parametrize("text", ["much", "", "-1GiB", "0", "4PiB", "GiB", "nan", "infGiB", "1e999"])
def test_memory_that_is_no_size(hcd, photo_file, tmp_path, text):
    result = hcd("downscale", photo_file(), "-o", tmp_path / "out", *FAST, "--memory", text)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "is not a size; give bytes, or a number with MiB or GiB" in result.stderr
    assert not (tmp_path / "out").exists()


def test_too_little_memory_names_the_least_with_which_tiles_do(hcd, photo_file, tmp_path, monkeypatch):
    source = photo_file(width=900, height=600)
    arguments = ("downscale", source, *FAST, "--json")
    result = hcd(*arguments, "-o", tmp_path / "tiled.png", "--memory", "10MiB")
    assert_one_line(result, 1, source, "900×600 pixels do not fit", "shrink the picture")
    assert not (tmp_path / "tiled.png").exists()
    least = re.search(r"allow at least ([\d.]+) ?GiB", result.stderr)[1]
    (whole,) = objects(hcd(*arguments, "-o", tmp_path / "whole.png").stdout)
    tiles = []
    monkeypatch.setattr("hcd.cli.progress.SolveProgress.tile", lambda self, number, count: tiles.append(count))
    result = hcd(*arguments, "-o", tmp_path / "tiled.png", "--memory", f"{least}GiB")
    assert result.exit_code == 0, result.output
    assert tiles[0] > 1
    # Tiles change no pixel by more than rounding does.
    change = read_picture(tmp_path / "tiled.png").rgb - read_picture(tmp_path / "whole.png").rgb
    assert (change * 255).round().abs().max() <= 1
    assert objects(result.stdout)[0]["psnr_rgb"] == pytest.approx(whole["psnr_rgb"], abs=0.01)


# The command, which says when it evaluates and then waits for a line on standard input.
WAITING = """
import sys
from hcd.cli.progress import SolveProgress

def evaluation(self, entry):
    print("evaluated", flush=True)
    sys.stdin.readline()

SolveProgress.evaluation = evaluation
from hcd.cli.main import main
main(sys.argv[1:])
"""


@pytest.fixture
def interrupted(photo_file, tmp_path):
    """``interrupted(2, "a.png", "b.png")`` sends a running command so many SIGINTs in its second evaluation."""

    def run(signals, *names):
        command = [sys.executable, "-c", WAITING, "downscale", *(photo_file(name) for name in names)]
        command += ["-o", tmp_path / "out", *FAST]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, text=True, env=environment, **pipes) as process:
            try:
                assert process.stdout.readline() == "evaluated\n"
                process.stdin.write("\n")
                process.stdin.flush()
                assert process.stdout.readline() == "evaluated\n"
                process.send_signal(signal.SIGINT)
                shown = process.stderr.readline()
                if signals > 1:
                    process.send_signal(signal.SIGINT)
                else:
                    process.stdin.write("\n")
                    process.stdin.flush()
                out, rest = process.communicate(timeout=120)
            finally:
                process.kill()
        return process.returncode, out, shown + rest

    return run


@pytest.mark.slow
def test_interrupted_once_the_best_so_far_is_written(interrupted, tmp_path):
    code, out, shown = interrupted(1, "a.png", "b.png")
    assert code == 1
    assert files_in(tmp_path / "out") == ["a.lr.png"]
    picture, info = read_lr(tmp_path / "out" / "a.lr.png")
    assert (picture.width, picture.height, info.width) == (12, 10, 24)
    assert "2 evaluations" in out
    first, last = shown.splitlines()
    assert first.startswith("Stopping with the best found so far")
    assert last == "interrupted: 1 of 2 inputs not done"


@pytest.mark.slow
def test_interrupted_twice_nothing_is_written(interrupted, tmp_path):
    code, out, shown = interrupted(2, "a.png", "b.png")
    assert code == 1
    assert files_in(tmp_path / "out") == []
    assert out == ""
    assert "Traceback" not in shown
    assert "interrupted:" not in shown


@pytest.mark.parametrize(
    ("arguments", "name", "kind"),
    [
        (("--format", "jpeg"), "photo.lr.jpg", "JPEG"),
        (("--format", "jpeg", "--quality", "50"), "photo.lr.jpg", "JPEG"),
        (("--format", "webp", "--quality", "50"), "photo.lr.webp", "WEBP"),
        (("--format", "avif"), "photo.lr.avif", "AVIF"),
    ],
)
def test_lossy_files_there_and_back(hcd, photo_file, tmp_path, arguments, name, kind):
    source = photo_file(width=61, height=40)
    result = hcd("downscale", source, "-o", tmp_path / "out", *FAST, *arguments, "--json")
    assert result.exit_code == 0, result.output
    (facts,) = objects(result.stdout)
    small = tmp_path / "out" / name
    with Image.open(small) as image:
        assert image.format == kind
    assert hcd("upscale", small, "-o", tmp_path / "big.png").exit_code == 0
    big = read_picture(tmp_path / "big.png")
    assert (big.width, big.height) == (61, 40)
    # What is printed is what the receiver gets.
    reached = metrics.psnr(big.rgb, read_picture(source).rgb, channel="rgb")
    assert facts["psnr_rgb"] == pytest.approx(reached, abs=1e-3)
    assert facts["psnr_rgb"] >= facts["plain_psnr_rgb"]
    assert facts["lr_bytes"] == small.stat().st_size


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".JPG", ".avif", ".webp"])
def test_the_suffix_decides_the_codec(hcd, photo_file, tmp_path, suffix):
    out = tmp_path / f"a{suffix}"
    assert hcd("downscale", photo_file(), "-o", out, *PLAIN).exit_code == 0
    plain = read_lr(out)[0].rgb
    assert hcd("downscale", photo_file(), "-o", tmp_path / "b.png", *PLAIN).exit_code == 0
    exact = bool((plain == read_lr(tmp_path / "b.png")[0].rgb).all())
    assert exact == (suffix == ".webp")


def test_png_has_no_quality(hcd, photo_file, tmp_path):
    result = hcd("downscale", photo_file(), "-o", tmp_path / "a.png", *PLAIN, "--quality", "80")
    assert_one_line(result, 2, tmp_path / "a.png", "PNG is lossless", "another format")


def test_jpeg_of_a_transparent_picture_is_refused_before_the_work(hcd, tmp_path):
    source = tmp_path / "clear.png"
    Image.new("RGBA", (24, 20), (10, 20, 30, 128)).save(source)
    result = hcd("downscale", source, "-o", tmp_path / "a.jpg", *FAST)
    assert_one_line(result, 1, "transparency", ".webp")
    assert not (tmp_path / "a.jpg").exists()
    assert hcd("downscale", source, "-o", tmp_path / "a.avif", *FAST).exit_code == 0


def test_sixteen_bits_there_and_back(hcd, tmp_path):
    source = tmp_path / "deep.png"
    source.write_bytes(vips(bits16(), ".png"))
    small, big = tmp_path / "a.lr.png", tmp_path / "big.png"
    assert hcd("downscale", source, "-o", small, *FAST, "--depth", "16").exit_code == 0
    assert read_lr(small)[1].depth == 16
    assert hcd("upscale", small, "-o", big).exit_code == 0
    assert read_picture(big).depth == 16
    assert hcd("upscale", small, "-o", big, "--depth", "8").exit_code == 0
    assert read_picture(big).depth == 8
    said = hcd("upscale", small, "-o", tmp_path / "big.webp")
    assert said.exit_code == 0
    assert said.stderr.splitlines() == [
        f"Warning: {small}: {tmp_path / 'big.webp'}: 16 bits per sample are written as 8; use .png to keep them"
    ]


def test_depth_needs_png(hcd, photo_file, tmp_path):
    result = hcd("downscale", photo_file(), "-o", tmp_path / "a.webp", *PLAIN, "--depth", "16")
    assert_one_line(result, 2, tmp_path / "a.webp", "only PNG")


def test_a_warning_is_one_line_and_the_work_goes_on(hcd, tmp_path):
    source = tmp_path / "moves.png"
    frames = [Image.new("RGB", (24, 20), (value, 0, 0)) for value in (10, 200)]
    frames[0].save(source, save_all=True, append_images=frames[1:])
    result = hcd("downscale", source, "-o", tmp_path / "a.png", *PLAIN)
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [f"Warning: {source}: holds more than one picture; the first is taken"]
    assert read_picture(tmp_path / "a.png").rgb[0, 0].max() < 0.1


def test_max_pixels(hcd, photo_file, tmp_path):
    source = photo_file()
    result = hcd("downscale", source, "-o", tmp_path / "a.png", *PLAIN, "--max-pixels", "479")
    assert_one_line(result, 1, source, "24×20 pixels", "--max-pixels")
    assert hcd("downscale", source, "-o", tmp_path / "a.png", *PLAIN, "--max-pixels", "480").exit_code == 0
    result = hcd("upscale", tmp_path / "a.png", "-o", tmp_path / "b.png", "--max-pixels", "479")
    assert_one_line(result, 1, tmp_path / "a.png", "24×20 pixels", "--max-pixels")
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(("width", "height"), [(1, 400), (400, 1), (3, 211)])
def test_extreme_aspect_ratios(hcd, photo_file, tmp_path, width, height):
    source = photo_file(width=width, height=height)
    assert hcd("downscale", source, "-o", tmp_path / "a.png", *FAST).exit_code == 0
    assert hcd("upscale", tmp_path / "a.png", "-o", tmp_path / "b.png").exit_code == 0
    back = read_picture(tmp_path / "b.png")
    assert (back.width, back.height) == (width, height)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_pipes_folders_and_links_among_good_ones(hcd, photo_file, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty.png").touch()
    bad = [tmp_path / f"{name}.png" for name in ("pipe", "loop", "gone", "empty")]
    result = hcd("downscale", *bad, photo_file("a.png"), "-o", tmp_path / "out", *PLAIN)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines[:4]] == [str(path) for path in bad]
    assert len(lines) == 5
    assert files_in(tmp_path / "out") == ["a.lr.png"]


def test_full_disk_is_one_line_and_leaves_nothing(hcd, photo_file, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = hcd("downscale", photo_file(), "-o", tmp_path / "out" / "a.jpg", *PLAIN)
    assert_one_line(result, 1, tmp_path / "out" / "a.jpg", "No space left on device")
    assert files_in(tmp_path / "out") == []
