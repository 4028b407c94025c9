"""Which input goes to which output, and what is left when someone interrupts."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from hcd.cli.batch import interruptible, plan, run
from hcd.errors import UsageError

SUFFIXES = (".png", ".jpg")


def paired(inputs, out):
    return plan(inputs, out, lambda path: f"{path.stem}.lr.png")


def test_one_input_to_a_named_file():
    assert paired([Path("a.png")], Path("small.PNG")) == [(Path("a.png"), Path("small.PNG"))]


@pytest.mark.parametrize("out", ["out", "out.v2", "out.d/"])
def test_one_input_into_a_folder(out):
    assert paired([Path("a.png")], Path(out)) == [(Path("a.png"), Path(out) / "a.lr.png")]


def test_folders_stand_for_their_pictures_in_order_of_name(tmp_path):
    for name in ("b.png", "a.JPG", "c.txt", "sub/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [source.name for source, _ in paired([tmp_path], Path("out"))] == ["a.JPG", "b.png"]


def test_many_inputs_and_a_picture_name_for_output(tmp_path):
    with pytest.raises(UsageError, match=r"out\.png: 2 inputs need a folder"):
        paired([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out.png")
    (tmp_path / "out.png").mkdir()
    pairs = paired([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out.png")
    assert [target.name for _, target in pairs] == ["a.lr.png", "b.lr.png"]


def test_two_inputs_to_one_output():
    with pytest.raises(UsageError, match="both would be written"):
        paired([Path("one/a.png"), Path("two/a.jpg")], Path("out"))


def test_input_onto_itself(tmp_path):
    with pytest.raises(UsageError, match="overwritten"):
        plan([tmp_path / "a.png"], tmp_path, lambda path: path.name)


def test_result_that_would_overwrite_another_input(tmp_path):
    """Inputs are never lost, whichever of them is read first."""
    for name in ("a.png", "a.lr.png"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=r"a\.lr\.png"):
        paired([tmp_path / "a.png", tmp_path / "a.lr.png"], tmp_path)


def test_unexpected_error_spares_the_other_inputs(tmp_path, capsys):
    done = []

    def work(source, target):
        if source.name == "bad.png":
            raise RuntimeError("a slip")
        done.append(source.name)

    pairs = [(Path(name), tmp_path / name) for name in ("bad.png", "good.png")]
    with pytest.raises(SystemExit) as ended:
        run(pairs, work, debug=False)
    assert ended.value.code == 1
    assert done == ["good.png"]
    shown = capsys.readouterr().err
    assert "bad.png: unexpected RuntimeError: a slip" in shown
    assert "1 of 2 inputs failed" in shown
    with pytest.raises(RuntimeError):
        run(pairs, work, debug=True)


def test_interrupted_inputs_are_counted(tmp_path, capsys):
    done = []
    pairs = [(Path(f"{name}.png"), tmp_path / f"{name}.png") for name in "abc"]
    with pytest.raises(SystemExit) as ended:
        run(pairs, lambda source, target: done.append(source.name), debug=False, interrupted=lambda: done == ["a.png"])
    assert ended.value.code == 1
    assert done == ["a.png"]
    assert capsys.readouterr().err == "interrupted: 2 of 3 inputs not done\n"


def test_interrupted_after_the_last_input_all_is_done(tmp_path, capsys):
    done = []
    run([(Path("a.png"), tmp_path / "a.png")], lambda *_: done.append(1), debug=False, interrupted=lambda: bool(done))
    assert done == [1]
    assert capsys.readouterr().err == ""


class TestInterruptible:
    @pytest.fixture(autouse=True)
    def handler(self):
        """Python's own handler, also where the tests run in the background, whose shells have Ctrl-C ignored."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        yield signal.default_int_handler
        signal.signal(signal.SIGINT, before)

    def test_the_first_signal_is_noted(self, handler, capsys):
        with interruptible() as interrupted:
            assert not interrupted()
            signal.raise_signal(signal.SIGINT)
            assert interrupted()
        shown = capsys.readouterr()
        assert shown.out == ""
        assert len(shown.err.splitlines()) == 1
        assert "press Ctrl-C again to stop at once" in shown.err

    def test_the_second_signal_ends_it(self):
        with interruptible() as interrupted:
            signal.raise_signal(signal.SIGINT)
            assert interrupted()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)

    @pytest.mark.parametrize("error", [None, RuntimeError])
    def test_the_handler_before_comes_back(self, handler, error):
        try:
            with interruptible():
                assert signal.getsignal(signal.SIGINT) is not handler
                if error is not None:
                    raise error
        except RuntimeError:
            pass
        assert signal.getsignal(signal.SIGINT) is handler
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    def test_every_use_begins_anew(self):
        for _ in range(2):
            with interruptible() as interrupted:
                assert not interrupted()
                signal.raise_signal(signal.SIGINT)

    def test_outside_the_main_thread_nothing_is_caught(self):
        answers = []

        def use():
            with interruptible() as interrupted:
                answers.append(interrupted())

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        assert answers == [False]
