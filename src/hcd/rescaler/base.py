"""The `Rescaler` contract: a frozen pair of differentiable maps between HR and LR."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

from torch import Tensor, nn

from hcd.errors import ShapeError
from hcd.ops import pad_to_multiple
from hcd.tiling import Tile, TileFunction, split


class Rescaler(nn.Module, ABC):
    """Downscales HR to LR and upscales LR to HR; both maps are deterministic and differentiable.

    Args:
        name: the model's name for ``hcd.load``, written into LR files.
        scale: HR side / LR side.
        weights_hash: first 16 hexadecimal digits of the SHA-256 of the weights file; empty without weights.
        latent: the latent policy as text; ``zeros`` for rescalers without a latent.
        hr_size: height and width that every HR picture must have, multiples of the scale; None for any size.
    """

    def __init__(
        self,
        *,
        name: str,
        scale: int,
        weights_hash: str = "",
        latent: str = "zeros",
        hr_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.scale = scale
        self.weights_hash = weights_hash
        self.latent = latent
        self.hr_size = hr_size

    @final
    def downscale(self, hr: Tensor) -> Tensor:
        """Downscale a picture. Sides that are not multiples of the scale are first padded by reflection.

        Args:
            hr: float ``[N, 3, H, W]``, RGB in [0, 1], H and W ≥ 1, or exactly ``hr_size``.

        Returns:
            ``[N, 3, ceil(H/scale), ceil(W/scale)]``, neither rounded nor clamped.

        Raises:
            ShapeError: wrong shape, not floating point, or another precision than that of the weights.
        """
        self._check("downscale", hr)
        if self.hr_size is None:
            hr = pad_to_multiple(hr, self.scale)
        else:
            self._check_size("downscale", hr, self.hr_size, "resize or crop the picture to that size first")
        return self._downscale(hr)

    @final
    def upscale(self, lr: Tensor, *, top: int = 0, left: int = 0) -> Tensor:
        """Restore HR from LR.

        The padding that ``downscale`` may have added is not removed: only the caller knows the original size.

        Args:
            lr: float ``[N, 3, h, w]``, RGB in [0, 1]; exactly ``hr_size / scale`` if the rescaler has an ``hr_size``.
            top, left: position of this tile in the whole LR picture; a random latent depends on it.

        Returns:
            ``[N, 3, h·scale, w·scale]``, neither rounded nor clamped.

        Raises:
            ShapeError: wrong shape, not floating point, or another precision than that of the weights.
        """
        self._check("upscale", lr)
        if self.hr_size is not None:
            height, width = self.hr_size
            needed = (height // self.scale, width // self.scale)
            self._check_size("upscale", lr, needed, "give an LR picture that this model made")
        return self._upscale(lr, top, left)

    def tiles(self, height: int, width: int) -> list[Tile]:
        """Return the tiles in which an LR picture of this size is computed: one, unless a subclass cuts pictures."""
        return split(height, width, window=(height, width), halo=0)

    def sum_over(self, function: TileFunction, lr: Tensor) -> Tensor:
        """Sum a scalar function of the restored picture over the tiles.

        Args:
            function: maps the restored HR core of a tile, and the tile, to a scalar tensor.
            lr: ``[N, 3, h, w]``.

        Returns:
            A scalar, differentiable with respect to ``lr``.
        """
        (tile,) = self.tiles(*lr.shape[-2:])
        return function(self.upscale(lr), tile)

    @property
    def unwrapped(self) -> Rescaler:
        """The rescaler inside wrappers that share its receptive field; itself if there are none."""
        return self

    def freeze(self) -> Rescaler:
        """Switch to evaluation mode and turn off gradients of the weights; return self."""
        self.eval().requires_grad_(False)
        return self

    def extra_repr(self) -> str:
        """Return name, scale, the beginning of the hash of the weights, and latent, for ``repr``."""
        weights = f"weights={self.weights_hash[:8]}…, " if self.weights_hash else ""
        return f"{self.name}, scale={self.scale}, {weights}latent={self.latent}"

    @abstractmethod
    def _downscale(self, hr: Tensor) -> Tensor:
        """Downscale a picture whose sides are multiples of the scale."""

    @abstractmethod
    def _upscale(self, lr: Tensor, top: int, left: int) -> Tensor:
        """Restore HR; ``top`` and ``left`` are the tile's position, which only random latents need."""

    def _check_size(self, operation: str, image: Tensor, needed: tuple[int, int], remedy: str) -> None:
        height, width = image.shape[-2:]
        if (height, width) != needed:
            raise ShapeError(
                f"{operation}: got a picture of {width}×{height} pixels, '{self.name}' takes exactly "
                f"{needed[1]}×{needed[0]}; {remedy}"
            )

    def _check(self, operation: str, image: Tensor) -> None:
        if image.ndim != 4 or image.shape[1] != 3 or min(image.shape) < 1 or not image.is_floating_point():
            raise ShapeError(
                f"{operation}: got {image.dtype} of shape {tuple(image.shape)}, needs floating point [N, 3, H, W] "
                "with every size at least 1; convert the picture to RGB in [0, 1] first"
            )
        weights = next(self.parameters(), image).dtype
        if image.dtype != weights:
            raise ShapeError(f"{operation}: got {image.dtype}, the weights are {weights}; convert the picture first")
