"""Memory that solving takes, from which :mod:`hcd.memory` plans tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from hcd.collab.losses import LOSSES, Loss
from hcd.collab.objective import Reconstruction
from hcd.memory import fit
from hcd.rescaler import Rescaler

# LR-sized tensors that a solver keeps: a fixed number, a move and a gradient change per evaluation, and a limit on the
# sum, since only the last evaluations are kept. HR-sized tensors that an HR stage works with.
_LR_TENSORS, _LR_TENSORS_PER_STEP, _LR_TENSORS_AT_MOST, _HR_TENSORS = 16, 2, 32, 8


def fit_solving(
    hr: Tensor,
    model: Rescaler,
    *,
    steps_hr: int,
    steps_lr: int,
    loss: Loss = LOSSES["rgb+y"],
    memory: int | None = None,
) -> Rescaler:
    """Return the model as it is if an image can be solved at once, else the model in tiles.

    Args:
        hr: the image, ``[1, 3, H, W]``.
        model: the rescaler.
        steps_hr, steps_lr: gradient evaluations of the stages; without any, only the plain LR has to fit.
        loss: the loss, which takes memory too.
        memory: bytes that the process, or on a GPU its tensors, may take; None for most of what is free.

    Raises:
        PictureTooLargeError: not even the smallest tiles fit; the message says what is needed.
        ShapeError: the model takes images of one size only, and this is another.
    """
    if not (steps_hr or steps_lr):
        # A model of a fixed size cannot be cut, and takes no gradients here.
        return (
            model
            if model.hr_size is not None
            else fit(hr, model, work=_downscale, kept=0, gradients=False, memory=memory)
        )
    bytes_of_picture = hr.element_size() * hr.numel()
    tensors = min(_LR_TENSORS + _LR_TENSORS_PER_STEP * max(steps_hr, steps_lr), _LR_TENSORS_AT_MOST)
    kept = tensors * bytes_of_picture // model.scale**2 + _HR_TENSORS * bytes_of_picture * (steps_hr > 0)
    by_lr = Solving(loss=loss)
    # In tiles the HR stage runs one network at a time, otherwise both at once.
    work = Solving(loss=loss, by_hr=True) if steps_hr else by_lr
    return fit(hr, model, work=work, tile_work=by_lr, kept=kept, gradients=True, memory=memory)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Solving:
    """The objective and its gradient with respect to the LR or the HR sample.

    Two are equal if they take the same memory, that is for the same types of loss.
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
        return isinstance(other, Solving) and self._kind == other._kind

    def __hash__(self) -> int:
        return hash(self._kind)

    @property
    def _kind(self) -> tuple[object, ...]:
        return self.by_hr, *(type(term) for _, term in self.loss.terms)


@torch.no_grad()
def _downscale(model: Rescaler, hr: Tensor) -> tuple[Tensor, Tensor | None]:
    return model.downscale(hr), None
