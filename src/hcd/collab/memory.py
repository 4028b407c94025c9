"""Whether a picture fits, and into which tiles it is cut where it does not; memory is counted without any pixels."""

from __future__ import annotations

import copy
import itertools
import math
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hcd.collab.losses import LOSSES, Loss
from hcd.collab.objective import Reconstruction
from hcd.errors import PictureTooLargeError
from hcd.heap import give_back, keeps_freed
from hcd.nets.frozen import bytes_to_prepare
from hcd.rescaler import Rescaler, TiledRescaler, reach_of
from hcd.rescaler.reach import LARGEST_PIECE, SMALLEST_PIECE
from hcd.tiling import cheapest_window

_GIB = 2**30
# Beside the tensors that are counted: working buffers of convolutions, and what the allocator does not give back.
_MARGIN = 1.3
# The same where freed memory is kept, which has holes (note 0021): with gradients and without.
_MARGIN_KEPT, _MARGIN_KEPT_PLAIN = 1.7, 2.0
# Of the memory that may be taken, what may be held from one tile to the next.
_FULL = 0.9
# Without a limit, this share of the memory that is free may be used.
_SHARE = 0.75
# LR-sized tensors that a solver keeps: so many, and a move and a gradient change per evaluation, of which it keeps
# the last; in all at most. HR-sized ones that an HR stage works with.
_LR_TENSORS, _LR_TENSORS_PER_STEP, _LR_TENSORS_AT_MOST, _HR_TENSORS = 16, 2, 32, 8
# The heap has holes where growing tensors followed each other, up to the size from which on each is mapped by itself.
_HOLES = 48 * 2**20
# A process takes some bytes more in one run than in another: what the least is said to be leaves room for that.
_SLACK = 8 * 2**20
# What measuring how far a model looks may take, where that suffices.
_MEASURING = 2**25
_STEP = 1.03  # from one area of windows to the next
# HR pixels of a window on a CPU: above, clearing pages costs more than what smaller windows compute twice (note 0019).
# Where freed memory is kept, there is that much less to gain (note 0021).
_LARGEST_WINDOW, _LARGEST_KEPT = 2**20, 3 * 2**20
_PIECE = 64  # HR pixels a side of the piece that is counted, or 8 times the scale


def fit_solving(
    hr: Tensor,
    model: Rescaler,
    *,
    steps_hr: int,
    steps_lr: int,
    loss: Loss = LOSSES["rgb+y"],
    memory: int | None = None,
) -> Rescaler:
    """The model as it is where a picture can be solved whole, else tiled so that it keeps to the memory.

    Args:
        hr: the picture, ``[1, 3, H, W]``.
        model: the rescaler.
        steps_hr, steps_lr: gradient evaluations of the stages; with none, only the plain LR has to fit.
        loss: what is minimized, which takes memory of its own.
        memory: bytes that the process, or on a GPU its tensors, may take in all; None for most of what is free.

    Raises:
        PictureTooLargeError: not even the smallest tiles fit; says what the least is.
        ShapeError: the model takes pictures of one size alone, and this is not it.
    """
    height, width = hr.shape[-2:]
    bytes_of_picture = hr.element_size() * 3 * height * width
    kept = 0
    if steps_hr or steps_lr:
        tensors = min(_LR_TENSORS + _LR_TENSORS_PER_STEP * max(steps_hr, steps_lr), _LR_TENSORS_AT_MOST)
        kept = tensors * bytes_of_picture // model.scale**2 + _HR_TENSORS * bytes_of_picture * (steps_hr > 0)
    by_lr = _Solving(loss=loss)
    work = _Solving(loss=loss, by_hr=True) if steps_hr else by_lr if steps_lr else _downscale
    if model.hr_size is not None:
        if work is _downscale:
            return model
        at_once = _bytes_at_once(work, hr, model)
        return _fit(hr, model, kept=kept, whole=at_once, per_pixel=math.inf, gradients=True, memory=memory)
    whole = _bytes_per_pixel(work, hr, model) * height * width
    # Tiles take one network at a time.
    per_pixel = _bytes_per_pixel(by_lr if steps_hr else work, hr, model)
    gradients = work is not _downscale
    return _fit(hr, model, kept=kept, whole=whole, per_pixel=per_pixel, gradients=gradients, memory=memory)


def fit_upscaling(lr: Tensor, model: Rescaler, *, memory: int | None = None) -> Rescaler:
    """The model as it is where an LR picture ``[1, 3, h, w]`` can be upscaled whole, else tiled.

    Args, Raises: as for :func:`fit_solving`.
    """
    if model.hr_size is not None:
        return model
    size = [side * model.scale for side in lr.shape[-2:]]
    hr = lr.new_empty(()).expand(1, 3, *size)
    per_pixel = _bytes_per_pixel(_upscale, hr, model)
    # The restored picture in floats, rounded, and once in between.
    kept = 3 * hr.element_size() * 3 * size[0] * size[1]
    whole = per_pixel * size[0] * size[1]
    return _fit(hr, model, kept=kept, whole=whole, per_pixel=per_pixel, gradients=False, memory=memory)


def _fit(
    hr: Tensor,
    model: Rescaler,
    *,
    kept: int,
    whole: float,
    per_pixel: float,
    gradients: bool,
    memory: int | None,
) -> Rescaler:
    spare = _spare(hr.device, memory)
    on_cpu = hr.device.type == "cpu"
    keeps = on_cpu and keeps_freed()
    margin = _MARGIN if not keeps else _MARGIN_KEPT if gradients else _MARGIN_KEPT_PLAIN
    of_picture = kept + _HOLES
    kept = of_picture + bytes_to_prepare(model, gradients=gradients)
    if kept + margin * whole <= spare:
        return model
    height, width = hr.shape[-2:]
    if math.isinf(per_pixel):
        raise PictureTooLargeError(
            f"{width}×{height} pixels need {_gib(kept + margin * whole)} of memory with these settings, "
            f"{_gib(spare)} are left for them; give more, or use preset plain"
        )
    scale = model.scale
    # In bytes per LR pixel. How far the model looks is measured with a gradient.
    per_pixel *= margin * scale**2
    measuring = margin * scale**2 * _bytes_per_pixel(_solve_lr, hr, model)
    side = min(max(SMALLEST_PIECE, math.isqrt(int(_MEASURING / measuring))), LARGEST_PIECE)
    halo = reach_of(model, side=side)
    # Counted anew: the first convolutions of a process have loaded what all of them need.
    spare = _spare(hr.device, memory)
    kept = of_picture + bytes_to_prepare(model, gradients=gradients)
    least = 3 * halo + 1
    short, long = sorted((-(-height // scale), -(-width // scale)))
    area = (spare - kept) / per_pixel
    smallest = min(least, short) * min(least, long)
    measured = _HOLES + measuring * max(least, side) ** 2
    needed = max(measured, kept + per_pixel * smallest)
    if area < smallest or spare < measured:
        missing = needed - spare + _SLACK
        remedy = f"free {_gib(missing, up=True)} more"
        if memory is not None:
            remedy = f"allow at least {_gib(memory + missing, up=True)}"
        raise PictureTooLargeError(
            f"{width}×{height} pixels do not fit into {_gib(max(0, spare))} beside what is in memory already, not even "
            f"in tiles; {remedy}, or shrink the picture"
        )
    if on_cpu:
        area = min(area, max(smallest, (_LARGEST_KEPT if keeps else _LARGEST_WINDOW) / scale**2))
    # In steps, so that a process that takes a little more in one run than in another cuts the same tiles.
    area = max(smallest, _STEP ** math.floor(math.log(area, _STEP)))
    window = cheapest_window(-(-height // scale), -(-width // scale), area=int(area), halo=halo)
    before_tile = _tidying(_resident() + kept + per_pixel * area) if keeps else give_back if on_cpu else lambda: None
    return TiledRescaler(model, window=window, halo=halo, before_tile=before_tile)


def _tidying(most: float) -> Callable[[], None]:
    """What is called before every tile: tiles of different sizes leave holes in the heap, whose number would grow.

    Args:
        most: bytes that the process may come to.
    """

    def tidy() -> None:
        if _resident() > _FULL * most:
            give_back()

    return tidy


def _gib(size: float, *, up: bool = False) -> str:
    tenths = size / _GIB * 100
    return f"{(math.ceil(tenths) if up else round(tenths)) / 100:g} GiB"


Work = Callable[[Rescaler, Tensor], tuple[Tensor, Tensor | None]]
"""Something done with a model and an HR picture: a value, and the sample that a gradient is taken by, if any."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Solving:
    """The objective, with its gradient by the LR picture or by the HR one.

    Equal where the same memory is taken: by the same kinds of loss.
    """

    loss: Loss = LOSSES["rgb+y"]
    by_hr: bool = False

    def __call__(self, model: Rescaler, hr: Tensor) -> tuple[Tensor, Tensor | None]:
        with torch.set_grad_enabled(self.by_hr):
            sample = hr.detach().requires_grad_() if self.by_hr else hr
            lr = model.downscale(sample)
        if not self.by_hr:
            sample = lr = lr.detach().requires_grad_()
        return Reconstruction(hr=hr, model=model, loss=self.loss).from_lr(lr), sample

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Solving) and self._kind == other._kind

    def __hash__(self) -> int:
        return hash(self._kind)

    @property
    def _kind(self) -> tuple[object, ...]:
        return self.by_hr, *(type(term) for _, term in self.loss.terms)


_solve_lr = _Solving()


@torch.no_grad()
def _downscale(model: Rescaler, hr: Tensor) -> tuple[Tensor, Tensor | None]:
    return model.downscale(hr), None


@torch.no_grad()
def _upscale(model: Rescaler, hr: Tensor) -> tuple[Tensor, Tensor | None]:
    return model.upscale(hr[..., :: model.scale, :: model.scale].contiguous()), None


_COUNTED: weakref.WeakKeyDictionary[Rescaler, dict[Work, float]] = weakref.WeakKeyDictionary()


def _bytes_per_pixel(work: Work, hr: Tensor, model: Rescaler) -> float:
    """Bytes that tensors take at most, per HR pixel; every tensor of a convolutional network grows with the picture."""
    counted = _COUNTED.setdefault(model, {})
    if work not in counted:
        side = max(_PIECE, 8 * model.scale)
        piece = hr.new_empty(()).expand(1, 3, side, side)
        try:
            size = _bytes_at_once(work, piece, model)
        except (RuntimeError, ValueError, TypeError):
            # A model of somebody else's, whose code asks for contents.
            size = _bytes_at_once(work, piece, model, device=hr.device)
        counted[work] = size / side**2
    return counted[work]


def _bytes_at_once(work: Work, hr: Tensor, model: Rescaler, *, device: torch.device | str = "meta") -> int:
    """The most bytes that tensors take at any moment of some work, its backward pass included.

    On PyTorch's ``meta`` device, tensors have sizes and no contents, so that counting takes no memory.
    """
    tensors = itertools.chain(model.parameters(), model.buffers())
    stands: dict[int, Any] = {id(tensor): tensor.detach().to(device) for tensor in tensors}
    ledger = _Ledger(given=stands.values())
    # What the memo holds is taken in place of its original.
    stand_in = copy.deepcopy(model, stands)
    with torch.inference_mode(False), torch.enable_grad(), ledger:
        value, sample = work(stand_in, torch.zeros(hr.shape, dtype=hr.dtype, device=device))
        if sample is not None:
            torch.autograd.grad(value, sample)
    return ledger.peak


def _spare(device: torch.device, memory: int | None) -> float:
    """Bytes that may be taken on top of what is taken already."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return _SHARE * free if memory is None else memory - torch.cuda.memory_allocated(device)
    give_back()
    return _SHARE * available_bytes() if memory is None else memory - _resident()


def available_bytes() -> int:
    """Memory that the system could give; half of all where it does not say."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text("ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, LookupError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _resident() -> int:
    """Bytes that this process holds; its usual size where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, LookupError, ValueError):
        return _GIB // 2


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that operations make, and takes off each when it is freed.

    Args:
        given: tensors whose storages do not count.
    """

    def __init__(self, given: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known = {id(tensor.untyped_storage()) for tensor in given}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple | list) else (result,):
            if isinstance(made, Tensor):
                self._enter(made.untyped_storage())
        return result

    def _enter(self, storage: torch.UntypedStorage) -> None:
        if id(storage) in self._known:
            return
        self._known.add(id(storage))
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._leave, id(storage), storage.nbytes())

    def _leave(self, identity: int, size: int) -> None:
        self._known.discard(identity)
        self.now -= size
