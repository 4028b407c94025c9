"""Whether a picture fits: memory for one gradient evaluation, found on a small piece or without any pixels."""

from __future__ import annotations

import copy
import itertools
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hcd.collab.objective import Reconstruction
from hcd.errors import PictureTooLargeError
from hcd.rescaler import Rescaler

_SIDE = 64
# Beside what autograd keeps: gradients in flight and the working buffers of convolutions.
_MARGIN = 1.3


def check_memory(hr: Tensor, model: Rescaler, *, through_downscale: bool) -> None:
    """Refuse a picture whose gradient evaluations cannot fit, before the system ends the process.

    Args:
        hr: the picture, ``[1, 3, H, W]``.
        model: the rescaler.
        through_downscale: whether an HR stage runs, which keeps both networks' activations.

    Raises:
        PictureTooLargeError: the estimate is above the memory of the device; says both.
        ShapeError: the model takes pictures of one size alone, and this is not it.
    """
    pixels = hr.shape[-2] * hr.shape[-1]
    if model.hr_size is not None:
        needed = _MARGIN * _bytes_at_once(hr, model, through_downscale)
    elif pixels > _SIDE**2:
        needed = _MARGIN * pixels * _bytes_per_pixel(hr, model, through_downscale)
    else:
        return
    there = _memory(hr.device)
    if needed > there:
        raise PictureTooLargeError(
            f"{hr.shape[-1]}×{hr.shape[-2]} pixels need about {needed / 2**30:.0f} GiB of memory with these settings, "
            f"the device has {there / 2**30:.0f}; {_remedy(model, through_downscale)}"
        )


def _remedy(model: Rescaler, through_downscale: bool) -> str:
    if model.hr_size is None:
        return "shrink the picture, leave the HR stage out, or use preset plain"
    return "leave the HR stage out, or use preset plain" if through_downscale else "use preset plain"


def _evaluation(hr: Tensor, model: Rescaler, through_downscale: bool) -> tuple[Tensor, Tensor]:
    """One evaluation of the objective: its value, and the sample that its gradient is taken with respect to."""
    objective = Reconstruction(hr=hr, model=model)
    if through_downscale:
        sample = hr.detach().requires_grad_()
        return objective.from_lr(model.downscale(sample)), sample
    with torch.no_grad():
        lr = model.downscale(hr)
    sample = lr.detach().requires_grad_()
    return objective.from_lr(sample), sample


def _bytes_per_pixel(hr: Tensor, model: Rescaler, through_downscale: bool) -> float:
    """Bytes that autograd keeps for one evaluation, per HR pixel."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    piece = hr[..., :_SIDE, :_SIDE].contiguous()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value, _ = _evaluation(piece, model, through_downscale)
    del value
    total = sum(size for pointer, size in kept.items() if pointer not in weights)
    return total / (piece.shape[-2] * piece.shape[-1])


def _bytes_at_once(hr: Tensor, model: Rescaler, through_downscale: bool) -> int:
    """The most bytes that tensors take at any moment of one gradient evaluation, backward pass included.

    For models that no piece can be given to, and that may recompute rather than keep: the whole
    evaluation runs on PyTorch's ``meta`` device, where tensors have sizes and no contents.
    """
    tensors = itertools.chain(model.parameters(), model.buffers())
    shapes: dict[int, Any] = {id(tensor): tensor.detach().to("meta") for tensor in tensors}
    ledger = _Ledger(given=shapes.values())
    # What the memo holds is taken in place of its original.
    empty_model = copy.deepcopy(model, shapes)
    with torch.enable_grad(), ledger:
        value, sample = _evaluation(hr.to("meta"), empty_model, through_downscale)
        torch.autograd.grad(value, sample)
    return ledger.peak


def _memory(device: torch.device) -> int:
    """Bytes that the device has in all."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


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
