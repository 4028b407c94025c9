"""Gain and cost of presets and rules, measured on the files; results survive being written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import hcd
from hcd.cli.main import main
from hcd.errors import UsageError
from hcd.image import read_picture
from hcd.jsontext import json_text
from hcd.solver import RULES
from hcd_lab.bench import BenchResult, bench_solver, draw_frontier, figure_kind, folder_images, parse_method
from hcd_lab.bench.solver import FIELDS, means
from tests.conftest import make_smooth_picture, make_tiny_irn


def save(folder, name, height, width):
    from PIL import Image

    levels = (make_smooth_picture(height, width)[0].permute(1, 2, 0) * 255).round().byte().numpy()
    folder.mkdir(exist_ok=True)
    Image.fromarray(levels).save(folder / name)


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "set", "a.png", 40, 32)
    save(tmp_path / "set", "b.png", 36, 47)
    return tmp_path / "set"


@pytest.fixture
def measured(folder):
    """``measured(*names, **settings)`` runs methods on two images."""

    def run(*names, scale=4, **settings):
        methods = [parse_method(name) for name in names]
        return bench_solver([make_tiny_irn(scale)], folder_images(folder), methods, **settings)

    return run


@pytest.mark.slow
def test_rows_are_metrics_of_the_file(folder, measured):
    result = measured("paper", "lbfgs@3")
    assert [(row["picture"], row["method"]) for row in result.rows] == [
        ("set/a", "paper"),
        ("set/a", "lbfgs@3"),
        ("set/b", "paper"),
        ("set/b", "lbfgs@3"),
    ]
    # The evaluations of both stages count on.
    assert [count for count, _, _ in result.rows[0]["curve"]] == list(range(1, 31))
    row, model = result.rows[1], make_tiny_irn(4)
    hr = read_picture(folder / "a.png").rgb
    solved = hcd.collaborate(hr, model, "balanced", rule="lbfgs", steps_lr=3)
    restored = hcd.quantize(model.upscale(solved.lr))
    assert row["psnr_y"] == pytest.approx(hcd.psnr(restored, hr, border=4))
    assert row["evaluations"] == 3
    assert [count for count, _, _ in row["curve"]] == [1, 2, 3]
    gains = [gain for _, _, gain in row["curve"]]
    assert gains == sorted(gains)
    assert gains[-1] == pytest.approx(max(entry.psnr for entry in solved.history) - solved.plain_psnr[0])
    # Two calls of the same network on images of one size; wide, as the machine has other work.
    assert 0.02 < row["receiver_ratio"] < 50


def test_means_compare_with_the_published_scheme(measured):
    result = measured("paper", "fast", "plain")
    paper, fast, plain = means(result)
    assert paper["gain_of_paper"] == paper["seconds_of_paper"] == 1
    assert fast["gain"] == pytest.approx(sum(row["gain"] for row in result.select(method="fast")) / 2)
    assert fast["gain_of_paper"] == pytest.approx(fast["gain"] / paper["gain"])
    assert fast["seconds_of_paper"] == pytest.approx(fast["seconds"] / paper["seconds"])
    assert plain["gain"] == 0
    assert plain["worst_lr_psnr"] == 99


def test_without_the_published_scheme_nothing_is_compared(measured):
    (mean,) = means(measured("fast", scale=2))
    assert mean["gain_of_paper"] is mean["seconds_of_paper"] is None
    assert mean["gain"] > 0


def test_the_loss_is_replaced_but_for_the_published_scheme(folder, tmp_path):
    assert parse_method("lbfgs@4", loss="y").settings == {"rule": "lbfgs", "steps_lr": 4, "loss": "y"}
    assert parse_method("paper", loss="y").settings == {}
    with pytest.raises(UsageError, match="unknown loss 'lpips'"):
        parse_method("fast", loss="lpips")
    command = ["bench", "solver", str(folder), "--models", "bicubic-x2", "--presets", "fast", "--crop", "16"]
    gains = []
    for loss in ("rgb", "y"):
        file = tmp_path / f"{loss}.json"
        assert CliRunner().invoke(main, [*command, "--loss", loss, "--json", str(file)]).exit_code == 0
        gains.append([row["gain"] for row in json.loads(file.read_text("utf-8"))["rows"]])
    assert gains[0] != gains[1]


def test_results_survive_json(measured):
    result = measured("fast", scale=2, crop=24)
    value = json.loads(json_text(result.as_json()))
    assert BenchResult.joined([value], benchmark="solver", fields=FIELDS).as_json() == value
    assert value["rows"] == list(result.rows)


def test_a_picture_that_cannot_be_used_is_named_and_the_others_are_measured(folder, measured):
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    save(folder, "tiny.png", 5, 9)
    result = measured("fast")
    assert result.values("picture") == ["set/a", "set/b"]
    assert [failure.partition(":")[0] for failure in result.failed] == ["set/broken", "set/tiny"]


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_runs_on_a_network(measured, rule):
    result = measured(f"{rule}@7", crop=24)
    assert all(row["gain"] > 0 for row in result.rows)
    assert all(row["evaluations"] <= 7 for row in result.rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fats", r"unknown preset 'fats'\. Did you mean 'fast'"),
        ("lbfsg@3", r"unknown step rule 'lbfsg'\. Did you mean 'lbfgs'"),
        ("lbfgs@", "number of evaluations"),
        ("lbfgs@0", "number of evaluations"),
    ],
)
def test_wrong_methods(text, message):
    with pytest.raises(UsageError, match=message):
        parse_method(text)


def test_figures(measured):
    result = measured("paper", "fast", "lbfgs@4", scale=2, crop=24)
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        assert draw_frontier(result, figure_kind(Path(f"f{suffix}"))).startswith(magic)
    with pytest.raises(UsageError, match=r"f\.gif"):
        figure_kind(Path("f.gif"))
    with pytest.raises(UsageError, match="paper"):
        draw_frontier(BenchResult(benchmark="solver", rows=result.select(method="fast")), "png")


class TestCommand:
    def run(self, *arguments):
        return CliRunner().invoke(main, ["bench", "solver", *map(str, arguments)])

    def test_table_json_and_figure(self, folder, tmp_path):
        metrics, plot = tmp_path / "m.json", tmp_path / "f.svg"
        shown = self.run(
            folder, "--models", "bicubic-x4", "--presets", "paper,fast", "--rules", "all@2", "--json", metrics,
            "--plot", plot,
        )  # fmt: skip
        assert shown.exit_code == 0, shown.output
        assert "bicubic-x4, 2 pictures" in shown.output
        found = json.loads(metrics.read_text())
        assert {row["method"] for row in found["rows"]} == {"paper", "fast", *(f"{rule}@2" for rule in RULES)}
        assert found["mean"][0]["gain_of_paper"] == 1
        assert plot.stat().st_size > 1000
        again = self.run("--read", metrics)
        assert again.exit_code == 0
        assert again.output == shown.output
        assert "bicubic-x4, 2 pictures" in self.run("--read", metrics, "--read", metrics).output

    def test_failures_are_named_and_exit_1(self, folder):
        (folder / "broken.png").write_bytes(b"\x89PNG")
        shown = self.run(folder, "--models", "bicubic-x2", "--presets", "fast", "--crop", "16")
        assert shown.exit_code == 1
        assert "set/broken" in shown.output

    @pytest.mark.parametrize(
        "arguments",
        [
            ("nowhere",),
            ("--read", "nowhere.json"),
            ("--rules", "best"),
            ("--plot", "f.gif"),
            ("--plot", "f.png", "--presets", "fast"),
            ("--crop", "0"),
        ],
    )
    def test_wrong_usage(self, arguments):
        assert self.run(*arguments).exit_code == 2
