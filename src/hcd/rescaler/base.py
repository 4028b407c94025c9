"""The contract that every rescaler keeps: a frozen pair of differentiable maps between HR and LR."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from hcd.errors import ShapeError
from hcd.ops import pad_to_multiple


class Rescaler(nn.Module, ABC):
    """Downscales HR to LR and upscales LR to HR; both maps are deterministic and differentiable.

    Args:
        name: the name under which ``hcd.load`` finds it again; goes into LR files.
        scale: HR side / LR side.
        weights_hash: first 16 hexadecimal digits of the SHA-256 of the weights file; empty without weights.
        latent: latent policy in text; ``zeros`` for rescalers without a latent.
    """

    def __init__(self, *, name: str, scale: int, weights_hash: str = "", latent: str = "zeros") -> None:
        super().__init__()
        self.name = name
        self.scale = scale
        self.weights_hash = weights_hash
        self.latent = latent

    def downscale(self, hr: Tensor) -> Tensor:
        """LR of a picture. Sides that are not multiples of the scale are first extended by reflection.

        Args:
            hr: float ``[N, 3, H, W]``, RGB in [0, 1], H and W ≥ 1.

        Returns:
            ``[N, 3, ceil(H/scale), ceil(W/scale)]``, neither rounded nor clamped.

        Raises:
            ShapeError: not a floating point tensor of that shape, or not of the precision of the weights.
        """
        self._check("downscale", hr)
        return self._downscale(pad_to_multiple(hr, self.scale))

    def upscale(self, lr: Tensor) -> Tensor:
        """HR rebuilt from LR: ``[N, 3, h, w]`` → ``[N, 3, h·scale, w·scale]``, neither rounded nor clamped.

        A picture whose sides were extended by ``downscale`` is cropped back by whoever knows its size.

        Raises:
            ShapeError: not a floating point tensor of that shape, or not of the precision of the weights.
        """
        self._check("upscale", lr)
        return self._upscale(lr)

    @abstractmethod
    def _downscale(self, hr: Tensor) -> Tensor:
        """LR of a picture whose sides are multiples of the scale."""

    @abstractmethod
    def _upscale(self, lr: Tensor) -> Tensor: ...

    def freeze(self) -> Rescaler:
        """Evaluation mode, no gradients for weights; returns itself."""
        self.eval().requires_grad_(False)
        return self

    def _check(self, operation: str, image: Tensor) -> None:
        if image.ndim != 4 or image.shape[1] != 3 or min(image.shape) < 1 or not image.is_floating_point():
            raise ShapeError(
                f"{operation}: got {image.dtype} of shape {tuple(image.shape)}, needs floating point [N, 3, H, W] "
                "with every size at least 1; convert the picture to RGB in [0, 1] first"
            )
        weights = next(self.parameters(), image).dtype
        if image.dtype != weights:
            raise ShapeError(f"{operation}: got {image.dtype}, the weights are {weights}; convert the picture first")
