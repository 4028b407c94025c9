"""Memory planning: estimate the peak memory of a computation, and tile pictures for which it would be too much."""

from __future__ import annotations

import copy
import itertools
import math
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hcd.errors import PictureTooLargeError
from hcd.heap import give_back, keeps_freed
from hcd.nets import gradient_precision
from hcd.nets.cpu.dispatch import bytes_to_prepare
from hcd.rescaler import Rescaler, TiledRescaler, receptive_field_of
from hcd.rescaler.receptive_field import SMALLEST_PIECE
from hcd.tiling import cheapest_window

_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class _Allocator:
    """Model of an allocator: how much memory a computation takes depends on what happens to freed memory.

    Attributes:
        margin: peak memory of the process / peak of the tensors that are counted. The rest are working buffers of
            convolutions, and fragmentation.
        largest_window: HR pixels of the largest useful window.
    """

    margin: float
    largest_window: float


# Larger windows overlap less, but the kernel zeroes the pages of large blocks each time (note 0019).
_RETURNED = _Allocator(margin=1.3, largest_window=2**20)
# Freed memory that is kept is not cleared, but fragments (note 0021).
_KEPT = _Allocator(margin=2.0, largest_window=3 * 2**20)
_GPU = _Allocator(margin=1.3, largest_window=math.inf)

# Fragmentation between growing tensors, up to the size from which the C library maps blocks one by one.
_FRAGMENTATION = 48 * 2**20
# Added to the reported minimum: peak memory varies a little between runs.
_SLACK = 8 * 2**20
# Areas of windows are powers of this, so that small variations of free memory give the same tiles.
_AREA_STEP = 1.03
# Room for this many times the tensors is enough for them, working buffers and fragmentation.
_AMPLE = 4.0
# Share of the free memory that may be used without a limit; of the planned peak, above which the heap is trimmed.
_FREE_SHARE, _TRIM_SHARE = 0.75, 0.9
# Evaluations between two trims of the heap: fragmentation grows with each of them (note 0021).
_TRIM_EVERY = 8
# HR side of the piece that is counted, or 8 times the scale if that is more.
_PIECE = 64

Work = Callable[[Rescaler, Tensor], tuple[Tensor, Tensor | None]]
"""A computation with a model and an HR picture: returns a value, and the sample to take its gradient by, or None."""


# Planning.


def fit_upscaling(lr: Tensor, model: Rescaler, *, memory: int | None = None) -> Rescaler:
    """Return the model if an LR picture can be upscaled as a whole, else the model in tiles.

    Args:
        lr: ``[1, 3, h, w]``.
        model: the rescaler.
        memory: bytes that the process, or on a GPU its tensors, may take; None for most of the free memory.

    Raises:
        PictureTooLargeError: not even the smallest tiles fit; the message names the minimum.
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
    """Return the model if a computation fits with the whole picture, else the model in tiles for which it fits.

    Args:
        hr: the picture, ``[1, 3, H, W]``; only shape, type and device matter.
        model: the rescaler.
        work: the computation with the whole picture.
        tile_work: the computation with one tile at a time; default: the same.
        kept: further bytes that are held at any tile size.
        gradients: whether the computation takes gradients.
        memory: bytes that the process, or on a GPU its tensors, may take; None for most of the free memory.

    Raises:
        PictureTooLargeError: not even the smallest tiles fit; the message names the minimum.
    """
    allocator = _GPU if hr.device.type != "cpu" else _KEPT if keeps_freed() else _RETURNED
    height, width = hr.shape[-2:]
    if memory is None and model.hr_size is None and _fits_amply(hr, model, work, kept=kept, gradients=gradients):
        return model

    def budget() -> tuple[float, float]:
        """Return the bytes that may be taken, and those taken by all but the computation."""
        fixed = kept + _FRAGMENTATION + bytes_to_prepare(model, gradients=gradients)
        return _spare(hr.device, memory), fixed

    spare, fixed = budget()
    if model.hr_size is not None:
        whole = allocator.margin * bytes_at_once(work, hr, model)
    else:
        whole = allocator.margin * bytes_per_pixel(work, hr, model) * height * width
    if fixed + whole <= spare:
        return model
    if model.hr_size is not None:
        raise PictureTooLargeError(
            f"{width}×{height} pixels need {_gib(fixed + whole)} of memory with these settings, "
            f"{_gib(spare)} are left for them; give more, or use preset plain"
        )
    scale = model.scale
    by_tile, by_measuring = (
        allocator.margin * scale**2 * bytes_per_pixel(each, hr, model)
        for each in (tile_work or work, _upscale_with_gradient)
    )
    halo = receptive_field_of(model)
    # Again: measuring the receptive field has prepared kernels and loaded what convolutions need.
    spare, fixed = budget()
    # From here on in LR pixels.
    height, width = -(-height // scale), -(-width // scale)
    # On pieces up to this side the receptive field is measured, and smaller windows would hardly have a core.
    side = max(3 * halo + 1, SMALLEST_PIECE)
    smallest = min(side, height) * min(side, width)
    needed = max(_FRAGMENTATION + by_measuring * side**2, fixed + by_tile * smallest)
    if needed > spare:
        raise PictureTooLargeError(_does_not_fit(hr, needed=needed, spare=spare, memory=memory))
    area = min((spare - fixed) / by_tile, max(smallest, allocator.largest_window / scale**2))
    area = max(smallest, _AREA_STEP ** math.floor(math.log(area, _AREA_STEP)))
    window = cheapest_window(height, width, area=int(area), halo=halo)
    trim_above = _TRIM_SHARE * (_resident() + fixed + by_tile * area)

    def before_tile() -> None:
        if hr.device.type == "cpu" and _resident() > trim_above:
            give_back()

    return TiledRescaler(model, window=window, halo=halo, before_tile=before_tile)


def _fits_amply(hr: Tensor, model: Rescaler, work: Work, *, kept: int, gradients: bool) -> bool:
    """Return whether a picture certainly fits, so that exact counting is unnecessary.

    Exact counting runs on the meta device, whose operations import PyTorch's compiler: seconds at the start of a
    process. Running a small piece takes a fraction of one.
    """
    per_pixel = _RUN.setdefault(model, {})
    if work not in per_pixel:
        # The first run of a model prepares its weights, which do not grow with the picture.
        _bytes_of_run(work, hr.new_zeros(1, 3, 4 * model.scale, 4 * model.scale), model)
        side = max(_PIECE, 8 * model.scale)
        per_pixel[work] = _bytes_of_run(work, hr.new_zeros(1, 3, side, side), model) / side**2
    fixed = kept + _FRAGMENTATION + bytes_to_prepare(model, gradients=gradients)
    return fixed + _AMPLE * per_pixel[work] * hr.shape[-2] * hr.shape[-1] <= _spare(hr.device, None)


def trim_after(evaluations: int) -> None:
    """Trim the heap after every few gradient evaluations, where freed memory is kept.

    Args:
        evaluations: number of evaluations so far.
    """
    if keeps_freed() and evaluations % _TRIM_EVERY == 0:
        give_back()


def _does_not_fit(hr: Tensor, *, needed: float, spare: float, memory: int | None) -> str:
    missing = needed - spare + _SLACK
    remedy = f"free {_gib(missing, up=True)} more"
    if memory is not None:
        remedy = f"allow at least {_gib(memory + missing, up=True)}"
    return (
        f"{hr.shape[-1]}×{hr.shape[-2]} pixels do not fit into {_gib(max(0, spare))} beside what is in memory already, "
        f"not even in tiles; {remedy}, or shrink the picture"
    )


def _gib(size: float, *, up: bool = False) -> str:
    hundredths = size / _GIB * 100
    return f"{(math.ceil(hundredths) if up else round(hundredths)) / 100:g} GiB"


@torch.no_grad()
def _upscale(model: Rescaler, hr: Tensor) -> tuple[Tensor, Tensor | None]:
    return model.upscale(hr[..., :: model.scale, :: model.scale].contiguous()), None


def _upscale_with_gradient(model: Rescaler, hr: Tensor) -> tuple[Tensor, Tensor | None]:
    """Run the computation by which the receptive field is measured."""
    lr = hr[..., :: model.scale, :: model.scale].contiguous().requires_grad_()
    return (model.upscale(lr) - hr).square().sum(), lr


# Counting what a computation takes.

# Counting takes about as long as an evaluation of a small picture, hence once per model and computation.
_COUNTED: weakref.WeakKeyDictionary[Rescaler, dict[Work, float]] = weakref.WeakKeyDictionary()


def bytes_per_pixel(work: Work, hr: Tensor, model: Rescaler) -> float:
    """Return the peak bytes of the tensors of a computation per HR pixel, counted on a small piece.

    In a convolutional network every tensor grows with the picture.
    """
    counted = _COUNTED.setdefault(model, {})
    if work not in counted:
        side = max(_PIECE, 8 * model.scale)
        piece = hr.new_empty(()).expand(1, 3, side, side)
        try:
            size = bytes_at_once(work, piece, model)
        except (RuntimeError, ValueError, TypeError):
            # Third-party models may read values, which meta tensors do not have.
            size = bytes_at_once(work, piece, model, device=hr.device)
        counted[work] = size / side**2
    return counted[work]


def bytes_at_once(work: Work, hr: Tensor, model: Rescaler, *, device: torch.device | str = "meta") -> int:
    """Return the peak bytes of the tensors of a computation, its backward pass included.

    On PyTorch's ``meta`` device, tensors have shapes but no values, so that counting takes no memory.
    """
    tensors = itertools.chain(model.parameters(), model.buffers())
    replaced: dict[int, Any] = {id(tensor): tensor.detach().to(device) for tensor in tensors}
    counter = AllocationCounter(given=replaced.values())
    # deepcopy uses the tensors of its memo in place of the originals.
    stand_in = copy.deepcopy(model, replaced)
    # Kernels for float32 take more than those for bfloat16.
    with torch.inference_mode(False), torch.enable_grad(), gradient_precision("float32"), counter:
        value, sample = work(stand_in, torch.zeros(hr.shape, dtype=hr.dtype, device=device))
        if sample is not None:
            torch.autograd.grad(value, sample)
    return counter.peak


# As above, of pieces that were computed, without the working buffers of convolutions.
_RUN: weakref.WeakKeyDictionary[Rescaler, dict[Work, float]] = weakref.WeakKeyDictionary()


def _bytes_of_run(work: Work, piece: Tensor, model: Rescaler) -> int:
    """Return the peak bytes of the tensors of a computation that is done, its backward pass included."""
    counter = AllocationCounter(given=[*model.parameters(), *model.buffers(), piece])
    with torch.inference_mode(False), torch.enable_grad(), counter:
        value, sample = work(model, piece)
        if sample is not None:
            torch.autograd.grad(value, sample)
    return counter.peak


class AllocationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that operations allocate, and subtracts each when it is freed.

    Args:
        given: tensors whose storages do not count.
    """

    def __init__(self, given: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known = {id(tensor.untyped_storage()) for tensor in given}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False, without which PyTorch imports its compiler only to disable it here."""
        return False

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
                self._allocate(made.untyped_storage())
        return result

    def _allocate(self, storage: torch.UntypedStorage) -> None:
        if id(storage) in self._known:
            return
        self._known.add(id(storage))
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, id(storage), storage.nbytes())

    def _free(self, identity: int, size: int) -> None:
        self._known.discard(identity)
        self.now -= size


# Asking the system.


def available_bytes() -> int:
    """Return the memory that the system could give; half of all memory if it does not say."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text("ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, LookupError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _resident() -> int:
    """Return the resident bytes of this process; a typical size if the system does not report them."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, LookupError, ValueError):
        return _GIB // 2


def _spare(device: torch.device, memory: int | None) -> float:
    """Return the bytes that may be taken on top of those taken already."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return _FREE_SHARE * free if memory is None else memory - torch.cuda.memory_allocated(device)
    give_back()
    return _FREE_SHARE * available_bytes() if memory is None else memory - _resident()
