"""Whether a picture fits: memory for one gradient evaluation, found on a small piece and scaled up."""

from __future__ import annotations

import os

import torch
from torch import Tensor

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
    """
    pixels = hr.shape[-2] * hr.shape[-1]
    if pixels <= _SIDE**2:
        return
    needed = _MARGIN * pixels * _bytes_per_pixel(hr, model, through_downscale)
    there = _memory(hr.device)
    if needed > there:
        raise PictureTooLargeError(
            f"{hr.shape[-1]}×{hr.shape[-2]} pixels need about {needed / 2**30:.0f} GiB of memory with these settings, "
            f"the device has {there / 2**30:.0f}; shrink the picture, leave the HR stage out, or use preset plain"
        )


def _bytes_per_pixel(hr: Tensor, model: Rescaler, through_downscale: bool) -> float:
    """Bytes that autograd keeps for one evaluation, per HR pixel."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    piece = hr[..., :_SIDE, :_SIDE].contiguous()
    objective = Reconstruction(hr=piece, model=model)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        if through_downscale:
            value = objective.from_lr(model.downscale(piece.detach().requires_grad_()))
        else:
            with torch.no_grad():
                lr = model.downscale(piece)
            value = objective.from_lr(lr.detach().requires_grad_())
    del value
    total = sum(size for pointer, size in kept.items() if pointer not in weights)
    return total / (piece.shape[-2] * piece.shape[-1])


def _memory(device: torch.device) -> int:
    """Bytes that the device has in all."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
