"""What is measured of this machine: the receiver's time for two LR pictures in turn, and peaks of memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from statistics import median
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor

from hcd.collab import get_settings
from hcd.errors import PictureTooLargeError
from hcd.image import Picture
from hcd.ops import quantize
from hcd.pipeline import downscale_picture, upscale_picture
from hcd.rescaler import Rescaler
from hcd.zoo import load
from hcd_lab.bench import machine
from hcd_lab.bench.benchmark_model import describe_machine, in_fresh_process
from hcd_lab.report.config import split_model
from hcd_lab.report.datasets import BenchmarkImage
from hcd_lab.report.jobs import Job, OnEvaluation, Solve, device_of, identity, lr_of, original
from hcd_lab.report.store import Outcome, content_key

REPEATS = 21
"""Pairs of upscalings that a :class:`Receiver` times."""
UPSCALE = "upscale"
"""The work of a :class:`Footprint` that is no downscaling."""
_SHORTEST = 1e-9
# Of a process that loads a model, in gradient evaluations on a megapixel.
_STARTING = 0.5


def machine_facts() -> dict[str, Any]:
    """What times and amounts of memory depend on besides the work."""
    return describe_machine(torch.get_num_threads())


@final
@dataclass(frozen=True, kw_only=True)
class Receiver(Job):
    """The plain and the collaborative LR picture of one original, upscaled in turn.

    The outcome has lists of ``repeats`` seconds, a pair at the same index: ``plain_seconds``,
    ``collaborative_seconds``, and ``plain_cpu_seconds``, ``collaborative_cpu_seconds`` of all threads together.

    Attributes:
        plain, collaborative: what made the LR pictures; their keys stand for the content of both files.
        find: gives what these found.
        repeats: pairs, after one to warm up. Which of both comes first changes from pair to pair.
    """

    alone: ClassVar[bool] = True
    model: Rescaler
    plain: Solve
    collaborative: Solve
    find: Callable[[Job], Outcome]
    repeats: int = REPEATS

    @property
    def key(self) -> str:
        return content_key(
            job="receiver",
            plain=self.plain.key,
            collaborative=self.collaborative.key,
            model=identity(self.model),
            repeats=self.repeats,
            machine=machine_facts(),
        )

    @property
    def title(self) -> str:
        return f"{self.model.name} {self.plain.subject.label} upscaling, plain and {self.collaborative.preset} in turn"

    def cost(self) -> float:
        # Solving a plain picture costs three upscalings.
        return 2 * (self.repeats + 1) * self.plain.cost() / 3

    @torch.no_grad()
    def run(self, on_evaluation: OnEvaluation | None = None) -> Outcome:
        device = device_of(self.model)
        pictures = {
            "plain": lr_of(self.find(self.plain)).to(device),
            "collaborative": lr_of(self.find(self.collaborative)).to(device),
        }
        found: Outcome = {f"{name}_{kind}": [] for name in pictures for kind in ("seconds", "cpu_seconds")}
        for turn in range(self.repeats + 1):
            for name in sorted(pictures, reverse=turn % 2 == 0):
                wall, cpu = time.perf_counter(), time.process_time()
                self.model.upscale(pictures[name])
                if device.startswith("cuda"):
                    torch.cuda.synchronize(device)
                if turn:
                    found[f"{name}_seconds"].append(time.perf_counter() - wall)
                    found[f"{name}_cpu_seconds"].append(time.process_time() - cpu)
        return found


def ratios(outcome: Outcome, kind: str = "seconds") -> list[float]:
    """Collaborative over plain, pair by pair, of the ``seconds`` or ``cpu_seconds`` of a :class:`Receiver`."""
    pairs = zip(outcome[f"collaborative_{kind}"], outcome[f"plain_{kind}"], strict=True)
    return [max(a, _SHORTEST) / max(b, _SHORTEST) for a, b in pairs]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile."""
    low, high = np.quantile(values, [0.25, 0.75])
    return float(low), median(values), float(high)


@final
@dataclass(frozen=True, kw_only=True)
class Footprint(Job):
    """How much memory one piece of work takes beside the model, on the CPU, in a process of its own.

    The outcome has ``loaded_bytes``, the most that the process held before the work, when the model was loaded and had
    run on a small part, and ``taken_bytes``, by how much the work exceeded that.

    Attributes:
        text: of the configuration that the model is loaded by again, ``NAME`` or ``NAME=FILE``.
        work: a preset, or ``upscale`` for the plain LR picture.
    """

    alone: ClassVar[bool] = True
    model: Rescaler
    text: str
    subject: BenchmarkImage
    work: str

    @property
    def key(self) -> str:
        return content_key(
            job="footprint",
            picture=self.subject.digest,
            crop=self.subject.crop,
            model=identity(self.model),
            work=UPSCALE if self.work == UPSCALE else repr(get_settings(self.work)),
            machine=machine_facts(),
        )

    @property
    def title(self) -> str:
        return f"{self.model.name} {self.subject.label} memory of {self.work}"

    def cost(self) -> float:
        preset = "plain" if self.work == UPSCALE else self.work
        return _STARTING + Solve(subject=self.subject, model=self.model, preset=preset).cost()

    def run(self, on_evaluation: OnEvaluation | None = None) -> Outcome:
        picture = original(self.subject, self.model.scale)
        if self.work == UPSCALE:
            with torch.no_grad():
                picture = quantize(self.model.downscale(picture.to(device_of(self.model)))).cpu()
        arguments = (self.text, self.work, picture.numpy(), torch.get_num_threads())
        try:
            loaded, peak = in_fresh_process(_peaks, *arguments)
        except BrokenProcessPool as error:
            raise PictureTooLargeError(
                f"{self.title}: the process that measures it was ended; free some memory and run again"
            ) from error
        return {"loaded_bytes": loaded, "taken_bytes": peak - loaded}


def _peaks(text: str, work: str, samples: np.ndarray, threads: int) -> tuple[int, int]:
    """In the process of its own: the most memory held before the work, and at its end."""
    torch.set_num_threads(threads)
    name, file = split_model(text)
    model = load(name, weights=file or None, device="cpu")
    picture = torch.from_numpy(samples)
    if model.hr_size is None:
        # What a process loads at first use counts for the model.
        side = 16 if work == UPSCALE else 16 * model.scale
        _work(model, work, picture[..., :side, :side])
    loaded = machine.peak_bytes()
    _work(model, work, picture)
    return loaded, machine.peak_bytes()


def _work(model: Rescaler, work: str, picture: Tensor) -> None:
    if work == UPSCALE:
        upscale_picture(Picture(rgb=picture), model)
    else:
        downscale_picture(Picture(rgb=picture), model, work)
