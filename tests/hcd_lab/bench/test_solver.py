"""The frontier of presets and rules: what is measured is what files hold, and reports survive being written."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner

import hcd
from hcd.cli.main import main
from hcd.errors import UsageError
from hcd.image import read_picture
from hcd.jsontext import json_text
from hcd.solver import RULES
from hcd_lab.bench import (
    SolverReport,
    bench_solver,
    draw_frontier,
    figure_kind,
    folder_pictures,
    parse_contestant,
    sample_pictures,
)
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


def test_rows_are_figures_of_the_file(folder):
    model = make_tiny_irn(4)
    report = bench_solver([model], folder_pictures([folder]), [parse_contestant("paper"), parse_contestant("lbfgs@3")])
    assert [(row.picture, row.contestant) for row in report.rows] == [
        ("set/a.png", "paper"),
        ("set/a.png", "lbfgs@3"),
        ("set/b.png", "paper"),
        ("set/b.png", "lbfgs@3"),
    ]
    row = report.rows[1]
    hr = read_picture(folder / "a.png").rgb
    result = hcd.collaborate(hr, model, "balanced", rule="lbfgs", steps_lr=3)
    restored = hcd.quantize(model.upscale(result.lr))
    assert row.psnr_y == pytest.approx(hcd.psnr(restored, hr, border=4))
    assert row.evaluations == 3
    assert [count for count, _, _ in row.curve] == [1, 2, 3]
    gains = [gain for _, _, gain in row.curve]
    assert gains == sorted(gains)
    assert gains[-1] == pytest.approx(max(entry.psnr for entry in result.history) - result.plain_psnr[0])


def test_evaluations_of_all_stages_count_on(folder):
    report = bench_solver([make_tiny_irn(4)], folder_pictures([folder]), [parse_contestant("paper")], crop=16)
    assert [count for count, _, _ in report.rows[0].curve] == list(range(1, 31))


def test_means_compare_with_the_published_scheme(folder):
    contestants = [parse_contestant(name) for name in ("paper", "fast", "plain")]
    report = bench_solver([make_tiny_irn(4)], folder_pictures([folder]), contestants)
    paper, fast, plain = report.means()
    assert paper.of_baseline == paper.of_baseline_seconds == 1
    assert fast.gain == pytest.approx(sum(row.gain for row in report.rows if row.contestant == "fast") / 2)
    assert fast.of_baseline == pytest.approx(fast.gain / paper.gain)
    assert fast.of_baseline_seconds == pytest.approx(fast.seconds / paper.seconds)
    assert plain.gain == 0
    assert plain.worst_lr_psnr == 99


def test_without_the_published_scheme_nothing_is_compared(folder):
    (mean,) = bench_solver([make_tiny_irn(2)], folder_pictures([folder]), [parse_contestant("fast")]).means()
    assert math.isnan(mean.of_baseline)
    assert mean.gain > 0


def test_loss_in_place_of_the_presets_own(folder):
    """But for the published scheme, which is what is compared with."""
    assert parse_contestant("fast", loss="y").settings == {"loss": "y"}
    assert parse_contestant("lbfgs@4", loss="y").settings == {"rule": "lbfgs", "steps_lr": 4, "loss": "y"}
    assert parse_contestant("paper", loss="y").settings == {}
    with pytest.raises(UsageError, match="unknown loss 'lpips'"):
        parse_contestant("fast", loss="lpips")
    contestants = [parse_contestant("fast", loss=loss) for loss in (None, "y")]
    own, luma = bench_solver([make_tiny_irn(4)], folder_pictures([folder])[:1], contestants).rows
    assert own.psnr_y != luma.psnr_y


def test_loss_is_an_option(folder, tmp_path):
    command = ["bench", "solver", str(folder), "--models", "bicubic-x2", "--presets", "fast", "--crop", "16"]
    gains = []
    for loss in ("rgb", "y"):
        file = tmp_path / f"{loss}.json"
        assert CliRunner().invoke(main, [*command, "--loss", loss, "--json", str(file)]).exit_code == 0
        gains.append([row.gain for row in SolverReport.from_json(json.loads(file.read_text("utf-8"))).rows])
    assert gains[0] != gains[1]


def test_reports_survive_json(folder):
    report = bench_solver([make_tiny_irn(2)], folder_pictures([folder]), [parse_contestant("fast")], crop=24)
    assert SolverReport.from_json(json.loads(json_text(report.as_json()))) == report


def test_reports_of_several_runs_are_put_together(folder):
    reports = [
        bench_solver([make_tiny_irn(scale)], folder_pictures([folder]), [parse_contestant("fast")]) for scale in (2, 4)
    ]
    joined = SolverReport.joined(reports)
    assert joined.rows == reports[0].rows + reports[1].rows
    assert joined.means() == reports[0].means() + reports[1].means()


def test_other_json_is_refused():
    with pytest.raises(UsageError, match="bench solver"):
        SolverReport.from_json({"rows": [{"picture": 3}]})


def test_a_picture_that_cannot_be_used_is_named_and_the_others_are_measured(folder):
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    save(folder, "tiny.png", 5, 9)
    report = bench_solver([make_tiny_irn(4)], folder_pictures([folder]), [parse_contestant("fast")])
    assert {row.picture for row in report.rows} == {"set/a.png", "set/b.png"}
    assert len(report.failed) == 2
    assert "broken.png" in report.failed[0]
    assert "tiny.png" in report.failed[1]


def test_pictures_of_folders(folder):
    assert [picture.name for picture in folder_pictures([folder])] == ["set/a.png", "set/b.png"]
    (first,) = folder_pictures([folder], every=2)
    assert first.read().shape == (1, 3, 40, 32)
    with pytest.raises(UsageError, match="every 0"):
        folder_pictures([folder], every=0)


def test_photographs_to_begin_with():
    pictures = [picture.read() for picture in sample_pictures()]
    assert [picture.shape for picture in pictures] == [(1, 3, 256, 256)] * 3
    assert all(0 <= picture.min() < 0.2 and 0.8 < picture.max() <= 1 for picture in pictures)


def test_the_receiver_pays_nothing(folder):
    report = bench_solver([make_tiny_irn(2)], folder_pictures([folder]), [parse_contestant("fast")])
    # Two calls of the same network on pictures of one size; wide, as the machine has other work.
    assert all(0.02 < row.receiver_ratio < 50 for row in report.rows)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_runs_on_a_network(folder, rule):
    contestant = parse_contestant(f"{rule}@7")
    report = bench_solver([make_tiny_irn(4)], folder_pictures([folder]), [contestant], crop=24)
    assert all(row.gain > 0 for row in report.rows)
    assert all(row.evaluations <= 7 for row in report.rows)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fats", r"unknown preset 'fats'\. Did you mean 'fast'"),
        ("lbfsg@3", r"unknown step rule 'lbfsg'\. Did you mean 'lbfgs'"),
        ("lbfgs@", "number of evaluations"),
        ("lbfgs@0", "number of evaluations"),
        ("lbfgs@x", "number of evaluations"),
    ],
)
def test_wrong_contestants(text, told):
    with pytest.raises(UsageError, match=told):
        parse_contestant(text)


class TestFigure:
    @pytest.fixture
    def report(self, folder):
        contestants = [parse_contestant(name) for name in ("paper", "fast", "lbfgs@4", "adam@4")]
        return bench_solver([make_tiny_irn(2)], folder_pictures([folder]), contestants, crop=24)

    @pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
    def test_kinds(self, report, suffix, magic):
        assert draw_frontier(report, figure_kind(Path(f"f{suffix}"))).startswith(magic)

    def test_other_kinds_are_refused(self, report):
        with pytest.raises(UsageError, match=r"f\.gif"):
            figure_kind(Path("f.gif"))

    def test_needs_the_published_scheme(self, report):
        rows = tuple(row for row in report.rows if row.contestant != "paper")
        with pytest.raises(UsageError, match="paper"):
            draw_frontier(SolverReport(rows=rows), "png")


class TestCommand:
    def run(self, *arguments):
        return CliRunner().invoke(main, ["bench", "solver", *map(str, arguments)])

    def test_table_json_and_figure(self, folder, tmp_path):
        figures, plot = tmp_path / "f.json", tmp_path / "f.svg"
        shown = self.run(
            folder, "--models", "bicubic-x4", "--presets", "paper,fast", "--rules", "sign@2", "--json", figures,
            "--plot", plot,
        )  # fmt: skip
        assert shown.exit_code == 0, shown.output
        assert "bicubic-x4, 2 pictures" in shown.output
        assert {row["contestant"] for row in json.loads(figures.read_text())["rows"]} == {"paper", "fast", "sign@2"}
        assert plot.stat().st_size > 1000
        again = self.run("--read", figures)
        assert again.exit_code == 0
        assert again.output == shown.output
        both = self.run("--read", figures, "--read", figures)
        assert "bicubic-x4, 2 pictures" in both.output

    def test_all_rules(self, folder, tmp_path):
        figures = tmp_path / "f.json"
        shown = self.run(
            folder, "--models", "bicubic-x2", "--presets", "plain", "--rules", "all@2", "--crop", "8", "--json", figures
        )
        assert shown.exit_code == 0, shown.output
        rows = json.loads(figures.read_text())["rows"]
        assert {row["contestant"] for row in rows} == {"plain", *(f"{rule}@2" for rule in RULES)}

    def test_failures_are_named_and_exit_1(self, folder):
        (folder / "broken.png").write_bytes(b"\x89PNG")
        shown = self.run(folder, "--models", "bicubic-x2", "--presets", "fast", "--crop", "16")
        assert shown.exit_code == 1
        assert "broken.png" in shown.output

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
