"""Memory planning: estimate peak memory on the meta device, and cut pictures that do not fit into tiles."""

from __future__ import annotations

import copy
import itertools
import math
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hcd.errors import PictureTooLargeError
from hcd.heap import give_back, keeps_freed
from hcd.nets.cpu.dispatch import bytes_to_prepare
from hcd.rescaler import Rescaler, TiledRescaler, receptive_field_of
from hcd.rescaler.receptive_field import LARGEST_PIECE, SMALLEST_PIECE
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


Work = Callable[[Rescaler, Tensor], tuple[Tensor, Tensor | None]]
"""Something done with a model and an HR picture: a value, and the sample that a gradient is taken by, if any."""


def fit_upscaling(lr: Tensor, model: Rescaler, *, memory: int | None = None) -> Rescaler:
    """Return the model as it is where an LR picture can be upscaled as a whole, else the model in tiles.

    Args:
        lr: ``[1, 3, h, w]``.
        model: the rescaler.
        memory: bytes that the process, or on a GPU its tensors, may take in all; None for most of what is free.

    Raises:
        PictureTooLargeError: not even the smallest tiles fit; says what the least is.
        ShapeError: the model takes pictures of one size alone, and this is not it.
    """
    if model.hr_size is not None:
        return model
    size = [side * model.scale for side in lr.shape[-2:]]
    hr = lr.new_empty(()).expand(1, 3, *size)
    # The restored picture in floats, rounded, and once in between.
    kept = 3 * hr.element_size() * 3 * size[0] * size[1]
    return fit(hr, model, work=_upscale, kept=kept, gradients=False, memory=memory)


def fit(
    hr: Tensor,
    model: Rescaler,
    *,
    work: Work,
    tile_work: Work | None = None,
    kept: int,
    gradients: bool,
    memory: int | None = None,
) -> Rescaler:
    """Return the model as it is where some work on a picture fits as a whole, else the model in tiles.

    Memory is counted on PyTorch's meta device, so that counting takes none.

    Args:
        hr: the picture, ``[1, 3, H, W]``; only its shape and type count.
        model: the rescaler.
        work: what is done with the whole picture.
        tile_work: what is done with one tile at a time; None for the same.
        kept: bytes that stay beside the work, however it is cut.
        gradients: whether the work takes gradients.
        memory: bytes that the process, or on a GPU its tensors, may take in all; None for most of what is free.

    Raises:
        PictureTooLargeError: not even the smallest tiles fit; says what the least is.
    """
    height, width = hr.shape[-2:]
    if model.hr_size is not None:
        whole, per_pixel = float(bytes_at_once(work, hr, model)), math.inf
    else:
        whole = bytes_per_pixel(work, hr, model) * height * width
        per_pixel = bytes_per_pixel(tile_work or work, hr, model)
    return _fit(hr, model, kept=kept, whole=whole, per_pixel=per_pixel, gradients=gradients, memory=memory)


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
    measuring = margin * scale**2 * bytes_per_pixel(_upscale_gradient, hr, model)
    side = min(max(SMALLEST_PIECE, math.isqrt(int(_MEASURING / measuring))), LARGEST_PIECE)
    halo = receptive_field_of(model, side=side)
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


def _upscale_gradient(model: Rescaler, hr: Tensor) -> tuple[Tensor, Tensor | None]:
    """What measuring the receptive field does: upscale, and take a gradient by the LR picture."""
    lr = hr[..., :: model.scale, :: model.scale].contiguous().requires_grad_()
    return (model.upscale(lr) - hr).square().sum(), lr


@torch.no_grad()
def _upscale(model: Rescaler, hr: Tensor) -> tuple[Tensor, Tensor | None]:
    return model.upscale(hr[..., :: model.scale, :: model.scale].contiguous()), None


_COUNTED: weakref.WeakKeyDictionary[Rescaler, dict[Work, float]] = weakref.WeakKeyDictionary()


def bytes_per_pixel(work: Work, hr: Tensor, model: Rescaler) -> float:
    """Bytes that tensors take at most, per HR pixel; every tensor of a convolutional network grows with the picture."""
    counted = _COUNTED.setdefault(model, {})
    if work not in counted:
        side = max(_PIECE, 8 * model.scale)
        piece = hr.new_empty(()).expand(1, 3, side, side)
        try:
            size = bytes_at_once(work, piece, model)
        except (RuntimeError, ValueError, TypeError):
            # A model of somebody else's, whose code asks for contents.
            size = bytes_at_once(work, piece, model, device=hr.device)
        counted[work] = size / side**2
    return counted[work]


def bytes_at_once(work: Work, hr: Tensor, model: Rescaler, *, device: torch.device | str = "meta") -> int:
    """The most bytes that tensors take at any moment of some work, its backward pass included.

    On PyTorch's ``meta`` device, tensors have sizes and no contents, so that counting takes no memory.
    """
    tensors = itertools.chain(model.parameters(), model.buffers())
    stands: dict[int, Any] = {id(tensor): tensor.detach().to(device) for tensor in tensors}
    ledger = AllocationCounter(given=stands.values())
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


class AllocationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
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
