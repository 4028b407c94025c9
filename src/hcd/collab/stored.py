"""Kinds of LR files, by what they keep of an LR image: its 8- or 16-bit samples, or a lossy version of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor

from hcd.collab.jpeg import differentiable_jpeg, estimate_bits
from hcd.errors import UsageError
from hcd.image import Codec, levels_of
from hcd.ops import quantize, straight_through


class Stored(ABC):
    """Kind of an LR file, which determines what the receiver decodes of an LR image."""

    @property
    @abstractmethod
    def levels(self) -> int:
        """Largest integer sample of the file: the pixels that are written are multiples of ``1/levels``."""

    @abstractmethod
    def stand_in(self, lr: Tensor) -> Tensor:
        """Return the differentiable stand-in of :meth:`decode` that the LR stage sees, for a sample in [0, 1]."""

    @abstractmethod
    def decode(self, lr: Tensor) -> Tensor:
        """Return the image that the receiver decodes from the file, for an LR in multiples of ``1/levels``."""

    def size_penalty(self, plain_lr: Tensor, file_loss: Callable[[Tensor], float]) -> Callable[[Tensor], Tensor] | None:
        """Return a penalty on the file size as a function of the LR; None if the size does not count.

        Args:
            plain_lr: ``[1, 3, h, w]``, multiples of ``1/levels``.
            file_loss: loss per HR pixel of the image restored from a decoded LR.
        """
        return None


@final
@dataclass(frozen=True)
class Lossless(Stored):
    """PNG or lossless WebP, which keep the samples. The descent sees the LR unrounded; it is rounded once, at the end.

    Args:
        bits: bits per sample, 8 or 16.

    Raises:
        UsageError: another number of bits.

    >>> Lossless(16).levels
    65535
    """

    bits: int = 8

    def __post_init__(self) -> None:
        if self.bits not in (8, 16):
            raise UsageError(f"Lossless: got {self.bits} bits per sample; use 8 or 16")

    @property
    def levels(self) -> int:
        return levels_of(self.bits)

    def stand_in(self, lr: Tensor) -> Tensor:
        return lr

    def decode(self, lr: Tensor) -> Tensor:
        return lr


# Two qualities that are this far apart tell what a bit is worth.
_APART = 8
# Where a file takes one bit, the estimate says about 1.2. The rest of the factor favors restoration over size.
_WORTH = 0.75


@final
@dataclass(frozen=True, eq=False)
class Lossy(Stored):
    """A lossy codec: the descent sees what the codec leaves of the LR, and weighs the file size against the loss.

    For JPEG without chroma subsampling the stand-in is a differentiable JPEG. For other codecs it is the decoded image
    with the gradient of the identity.

    The weight of a bit is its worth for the plain LR: the change of the loss between this quality and a lower one,
    divided by the change of the file size. So a result takes no more bytes than the plain file, and saves none at the
    expense of the restored image.

    Args:
        codec: encoder and decoder of the file.
        alpha: ``[1, 1, h, w]``, the alpha channel of the file; None without one. The colors of WebP depend on it.
        size_weight: weight of a bit per LR pixel, in units of the loss, ≥ 0; None for its worth as described.

    Raises:
        UsageError: negative or infinite weight.
    """

    codec: Codec
    alpha: Tensor | None = None
    size_weight: float | None = None

    def __post_init__(self) -> None:
        if self.size_weight is not None and not 0 <= self.size_weight < math.inf:
            raise UsageError(f"size_weight {self.size_weight}: must be 0 or more, and finite")

    @property
    def levels(self) -> int:
        return levels_of(8)

    def stand_in(self, lr: Tensor) -> Tensor:
        if self.codec.format == "jpeg" and self.codec.subsampling == "4:4:4":
            return differentiable_jpeg(lr, self.codec.quality)
        # An encoder would hide NaN, and the descent has to see that a step went wrong.
        return straight_through(lr, self.decode) if lr.isfinite().all() else lr

    def decode(self, lr: Tensor) -> Tensor:
        return self.codec.roundtrip(quantize(lr), self.alpha)[0]

    def size_penalty(self, plain_lr: Tensor, file_loss: Callable[[Tensor], float]) -> Callable[[Tensor], Tensor] | None:
        weight = self._worth_of_a_bit(plain_lr, file_loss) if self.size_weight is None else self.size_weight
        return (lambda lr: weight * estimate_bits(lr, self.codec.quality)) if weight > 0 else None

    def _worth_of_a_bit(self, plain_lr: Tensor, file_loss: Callable[[Tensor], float]) -> float:
        quality = self.codec.quality
        other = replace(self.codec, quality=quality - _APART if quality > _APART else quality + _APART)
        losses, bits = [], []
        for codec in (self.codec, other):
            decoded, size = codec.roundtrip(plain_lr, self.alpha)
            losses.append(file_loss(decoded))
            bits.append(8 * size / (plain_lr.shape[-2] * plain_lr.shape[-1]))
        if bits[0] == bits[1]:
            return 0.0
        # Negative if the codec does worse with more bytes, as on images of a few pixels.
        return max(0.0, _WORTH * (losses[1] - losses[0]) / (bits[0] - bits[1]))
