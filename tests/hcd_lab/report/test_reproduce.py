"""From pictures to a folder with a page and its numbers, and again."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from dataclasses import asdict, replace

import pytest
import torch

import hcd
from hcd.errors import MissingDependencyError, ModelError, OutputError, UsageError
from hcd.zoo import get_entry
from hcd_lab.report import FULL, QUICK, Study, read_config, reproduce
from hcd_lab.report.chapters.base import Chapter
from hcd_lab.report.chapters.quantitative import Quantitative
from hcd_lab.report.jobs import Solve
from hcd_lab.report.plots import draw, line
from hcd_lab.report.results import Label
from tests.cli.checks import files_in
from tests.conftest import make_tiny_irn
from tests.hcd_lab.report.conftest import TINY, Diary, write_picture
from tests.hcd_lab.report.pages import Page, assert_shows, values_of

module = importlib.import_module("hcd_lab.report.reproduce")
PRESETS = ("plain", "paper", "balanced")


class Drawn(Chapter):
    """A drawing and a time, of what the main table measures too."""

    slug, title, counterpart = "drawn", "Gain by picture", "none"

    def jobs(self, session):
        return [session.solve(image, session.models[0], "plain") for image in session.images]

    def blocks(self, session, table):
        outcomes = session.outcomes(self.jobs(session)) or []
        for outcome in outcomes:
            table.add(Label(chapter=self.slug), "seconds", outcome["seconds"], "s", of_machine=True)
        values = [outcome["psnr_y"] for outcome in outcomes]
        return [
            draw("by-picture", [lambda axes: line(axes, range(len(values)), values, 0, "plain")], alt="By picture.")
        ]


@pytest.fixture(autouse=True)
def _two_chapters(monkeypatch):
    """The others have tests of their own, and take their time."""
    monkeypatch.setattr(module, "CHAPTERS", (Quantitative(), Drawn()))


@pytest.fixture
def report(data, tmp_path):
    """A report, and its folder."""
    done = reproduce(TINY, tmp_path / "report", data=data, progress=(diary := Diary()))
    return done, tmp_path / "report", diary


def test_what_is_written(report):
    done, folder, _ = report
    assert [name for name in files_in(folder) if not name.startswith("cache/")] == [
        "figures/by-picture.svg",
        "index.html",
        "metrics.csv",
        "report.json",
        "report.toml",
        "timings.csv",
    ]
    assert done.page == folder / "index.html"
    assert (done.missing, done.failed) == (["Set14"], {})


def test_every_number_on_the_page_is_in_a_file(report):
    folder = report[1]
    page = Page((folder / "index.html").read_text("utf-8"))
    values = values_of(*((folder / f"{name}.csv").read_text("utf-8") for name in ("metrics", "timings")))
    assert len(page.numbers) > 20
    for row, text in page.numbers:
        assert_shows(text, values[row])


def test_page_fetches_nothing(report):
    html = (report[1] / "index.html").read_text("utf-8")
    outside = [value for _, _, value in Page(html).addresses if not value.startswith(("#", "data:"))]
    assert outside == ["https://arxiv.org/abs/2211.10643"]
    assert not re.search(r"@import|url\(|<script", html)


def test_metrics_are_those_of_the_protocol(report, data):
    """The same rows as ``hcd evaluate`` finds, by way of the CSV file."""
    text = (report[1] / "metrics.csv").read_text("utf-8")
    found = hcd.evaluate.evaluate_folder(data / "Set5", hcd.load("bicubic-x2"), hcd.evaluate.settings_of(PRESETS))
    for row in found.rows:
        name = row.image.removesuffix(".png")
        assert f",bicubic-x2,Set5,{name},{row.preset},psnr_y,dB,{row.psnr_y!r}\n" in text
    for preset, mean in found.mean().items():
        (value,) = re.findall(rf",bicubic-x2,Set5,mean,{preset},psnr_y,dB,(\S+)", text)
        assert float(value) == pytest.approx(mean["psnr_y"], rel=1e-12)


def test_two_runs_give_the_same_metrics(report, data, tmp_path):
    folder, again = report[1], tmp_path / "again"
    reproduce(TINY, again, data=data)
    for name in ("metrics.csv", "figures/by-picture.svg", "report.toml"):
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name
    # The times are those of each run.
    assert (folder / "timings.csv").read_bytes() != (again / "timings.csv").read_bytes()


def test_the_second_run_measures_only_what_changed(report, data, tmp_path):
    _, folder, first = report
    assert (first.cached, len(first.ahead)) == (0, 6)
    before = (folder / "index.html").read_bytes()
    reproduce(TINY, folder, data=data, progress=(second := Diary()))
    assert (second.cached, second.started) == (6, [])
    assert (folder / "index.html").read_bytes() == before
    write_picture(data / "Set5" / "head.png", seed=7)
    reproduce(TINY, tmp_path / "other", data=data, cache=folder / "cache", progress=(third := Diary()))
    assert third.finished == third.ahead == [f"bicubic-x2 Set5/head {preset}" for preset in PRESETS]
    assert third.cached == 3


def test_interrupted_in_the_middle(data, tmp_path, monkeypatch):
    """Ctrl-C while a picture is solved: what came before it is kept, and nothing half done is."""
    run = Solve.run

    def interrupted(self, on_evaluation=None):
        if self.title == "bicubic-x2 Set5/head paper":
            raise KeyboardInterrupt
        return run(self, on_evaluation)

    monkeypatch.setattr(Solve, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reproduce(TINY, tmp_path / "report", data=data, progress=(first := Diary()))
    assert not (tmp_path / "report" / "index.html").exists()
    monkeypatch.undo()
    monkeypatch.setattr(module, "CHAPTERS", (Quantitative(),))
    reproduce(TINY, tmp_path / "report", data=data, progress=(second := Diary()))
    assert (
        first.ahead[:3]
        == first.finished
        == [f"bicubic-x2 Set5/{name}" for name in ("bird plain", "head plain", "bird paper")]
    )
    assert second.finished == first.ahead[3:]


def test_a_picture_that_fails_is_left_out_of_every_row(data, tmp_path):
    write_picture(data / "Set5" / "tiny.png", width=12, height=12)
    (data / "Set5" / "torn.png").write_bytes((data / "Set5" / "bird.png").read_bytes()[:900])
    done = reproduce(TINY, tmp_path / "report", data=data)
    assert set(done.failed) == {f"bicubic-x2 Set5/{name} {preset}" for name in ("tiny", "torn") for preset in PRESETS}
    assert "too small" in done.failed["bicubic-x2 Set5/tiny paper"]
    text = (tmp_path / "report" / "metrics.csv").read_text("utf-8")
    for preset in PRESETS:
        assert f",bicubic-x2,Set5,all,{preset},pictures,,2.0\n" in text
    assert "tiny" not in text
    page = Page((tmp_path / "report" / "index.html").read_text("utf-8"))
    assert "bicubic-x2 Set5/torn plain: " in page.text


def test_rows_compare_the_same_pictures(data, tmp_path, monkeypatch):
    """A picture that one preset fails on would make the means of the others those of another set."""
    run = Solve.run

    def failing(self, on_evaluation=None):
        if self.title == "bicubic-x2 Set5/bird balanced":
            raise hcd.errors.PictureTooLargeError("no memory")
        return run(self, on_evaluation)

    monkeypatch.setattr(Solve, "run", failing)
    reproduce(TINY, tmp_path / "report", data=data)
    text = (tmp_path / "report" / "metrics.csv").read_text("utf-8")
    assert re.findall(r"Set5,all,(\w+),pictures,,(\S+)", text) == [(preset, "1.0") for preset in PRESETS]
    assert ",bird," not in text


def test_nothing_could_be_measured(data, tmp_path):
    """The two are copies of one picture, and each is named all the same."""
    for name in ("bird", "head"):
        write_picture(data / "Set5" / f"{name}.png", width=12, height=12)
    done = reproduce(replace(TINY, sets=("Set5",)), tmp_path / "report", data=data)
    assert len(done.failed) == 6
    assert Page(done.page.read_text("utf-8")).numbers == []


def test_json_is_standard_and_names_no_folder(data, tmp_path):
    """Plain bicubic is its own LR picture: an infinite PSNR, which JSON has no word for."""
    weights = shutil.copy(get_entry("irn-x2-small").weights_file, tmp_path / "mine.safetensors")
    config = replace(TINY, models=(f"irn-x2={weights}",), largest=1)
    reproduce(config, tmp_path / "report", data=data)
    text = (tmp_path / "report" / "report.json").read_text("utf-8")
    found = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert None in [row["value"] for row in found["metrics"] if row["metric"] == "lr_psnr"]
    assert found["config_hash"] == config.hash
    assert found["config"] == json.loads(json.dumps({**asdict(config), "models": ["irn-x2=mine.safetensors"]}))
    for name in ("report.json", "report.toml", "index.html"):
        assert str(tmp_path) not in (tmp_path / "report" / name).read_text("utf-8")


def test_written_configuration_makes_the_same_report(report):
    assert read_config(report[1] / "report.toml") == TINY


@pytest.mark.parametrize(
    ("config", "data", "device", "command"),
    [
        (FULL, None, "cpu", "hcd reproduce --models irn-x4,irn-x2 -o OUT"),
        (QUICK, "d", "cpu", "hcd reproduce --quick --models irn-x4,irn-x2 --data DIR -o OUT"),
        (
            replace(QUICK, models=("irn-x4=/a b/c d.pth",)),
            "d",
            "cuda:1",
            "hcd reproduce --quick --models 'irn-x4=c d.pth' --data DIR --device cuda:1 -o OUT",
        ),
        (replace(FULL, models=("irn-x4=a,b.pth",)), None, "cpu", "hcd reproduce --config report.toml -o OUT"),
        (replace(FULL, study=Study(pictures=1)), "d", "cpu", "hcd reproduce --config report.toml --data DIR -o OUT"),
    ],
)
def test_command_on_the_page_makes_the_report_again(config, data, device, command):
    assert module._command(config, data, device) == command


class TestRefused:
    def test_none_of_the_sets(self, data, tmp_path):
        with pytest.raises(UsageError, match="data: holds none of the sets Set14, DIV2K; give each a folder"):
            reproduce(replace(TINY, sets=("Set14", "DIV2K")), tmp_path / "report", data=data)
        assert not (tmp_path / "report").exists()

    def test_an_unknown_model(self, data, tmp_path):
        with pytest.raises(ModelError, match="Did you mean 'bicubic-x2'"):
            reproduce(replace(TINY, models=("bicubc-x2",)), tmp_path / "report", data=data)
        assert not (tmp_path / "report").exists()

    def test_two_models_of_one_name(self, data, tmp_path, monkeypatch):
        """Files that spandrel reads are called by their architecture."""
        monkeypatch.setattr("hcd_lab.report.session.load", lambda name, **_: make_tiny_irn(4))
        config = replace(TINY, models=("spandrel:a.pth", "spandrel:b.pth"))
        with pytest.raises(UsageError, match=r"'spandrel:a\.pth' and 'spandrel:b\.pth': both are tiny"):
            reproduce(config, tmp_path / "report", data=data)

    def test_a_folder_that_cannot_be_written_before_anything_is_measured(self, data, tmp_path):
        (tmp_path / "report").write_text("a file")
        with pytest.raises(OutputError):
            reproduce(TINY, tmp_path / "report", data=data, cache=tmp_path / "cache", progress=(diary := Diary()))
        assert diary.started == []

    @pytest.mark.parametrize(("missing", "name"), [("matplotlib", "matplotlib"), ("scipy", "SciPy")])
    def test_without_what_chapters_need(self, data, tmp_path, monkeypatch, missing, name):
        monkeypatch.setattr(module, "find_spec", lambda module: None if module == missing else sys)
        with pytest.raises(MissingDependencyError, match=rf"needs {name}; pip install 'hcd\[report\]'"):
            reproduce(TINY, tmp_path / "report", data=data, progress=(diary := Diary()))
        assert diary.started == []


def test_machine_is_told(report):
    assert f"PyTorch {torch.__version__}" in Page((report[1] / "index.html").read_text("utf-8")).text
