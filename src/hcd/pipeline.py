"""The way of one picture, in memory: picture → LR picture with its information, and back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hcd.collab import Evaluation, Result, collaborate
from hcd.errors import MetadataError, ModelError, UsageError, printable
from hcd.image import LRInfo, Picture, downscale_alpha, read_lr, read_picture, upscale_alpha
from hcd.ops import quantize
from hcd.rescaler import GrayRescaler, Rescaler
from hcd.zoo import get_entry, load, shipped_hash


def pick_device(name: str) -> str:
    """``auto`` → ``cuda`` where there is one, else ``cpu``; other names are checked and returned.

    Raises:
        UsageError: PyTorch knows no such device, or it is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise UsageError(f"device '{name}': not available here ({reason}); use auto or cpu") from error
    return name


@dataclass(frozen=True, kw_only=True)
class Downscaled:
    """An LR picture on its way to a file.

    Attributes:
        picture: the LR picture, multiples of 1/255, on the CPU.
        info: what goes into its metadata.
        result: how it was found.
    """

    picture: Picture
    info: LRInfo
    result: Result


def downscale_picture(
    picture: Picture,
    model: Rescaler,
    preset: str = "balanced",
    *,
    device: str = "cpu",
    on_evaluation: Callable[[Evaluation], None] | None = None,
    **settings: Any,
) -> Downscaled:
    """Downscale one picture collaboratively; alpha is downscaled by bicubic, the color profile carried.

    Args, Raises: as :func:`hcd.collaborate`; ``device`` is where the model is.
    """
    solved_for = GrayRescaler(model) if picture.gray else model
    result = collaborate(picture.rgb.to(device), solved_for, preset, on_evaluation=on_evaluation, **settings)
    alpha = None if picture.alpha is None else downscale_alpha(picture.alpha, model.scale)
    info = LRInfo(
        model=model.name,
        weights=model.weights_hash,
        scale=model.scale,
        width=picture.width,
        height=picture.height,
        latent=model.latent,
        gray=picture.gray,
    )
    return Downscaled(picture=Picture(rgb=result.lr.cpu(), alpha=alpha, icc=picture.icc), info=info, result=result)


@torch.no_grad()
def upscale_picture(lr: Picture, model: Rescaler, info: LRInfo | None = None, *, device: str = "cpu") -> Picture:
    """Rebuild the large picture: exactly the original's size where ``info`` is given, else ``scale`` times the LR's."""
    if info is None:
        height, width, gray = lr.height * model.scale, lr.width * model.scale, lr.gray
    else:
        height, width, gray = info.height, info.width, info.gray
    receiver = GrayRescaler(model) if gray else model
    rgb = quantize(receiver.upscale(lr.rgb.to(device)))[..., :height, :width].cpu()
    alpha = None if lr.alpha is None else upscale_alpha(lr.alpha, model.scale, height=height, width=width)
    return Picture(rgb=rgb, alpha=alpha, gray=gray, icc=lr.icc)


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """Rebuilds LR files, with the models that they name or with one given model; loads each model once.

    Attributes:
        model: overrides the model that files name; needed for files without metadata.
        weights: weights file for that model.
        device: where the models run.
    """

    model: str | None = None
    weights: Path | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.weights is not None and self.model is None:
            raise UsageError(f"weights {self.weights}: name the model that they belong to as well")
        if self.model is not None:
            self._load(self.model, None)

    def restore(self, path: Path) -> Picture:
        """Read an LR file and rebuild the large picture.

        Raises:
            ImageError: the file cannot be read.
            MetadataError: its metadata are missing or damaged, and no model was given.
            ModelError: the model that it names is not installed.
        """
        try:
            picture, info = read_lr(path)
        except MetadataError:
            if self.model is None:
                raise
            picture, info = read_picture(path), None
        if self.model is not None:
            name = self.model
        elif info is not None:
            name = _installed(path, info)
        else:
            raise MetadataError(
                f"{path}: carries no hcd metadata, so the model that made it is unknown; name one with --model"
            )
        try:
            model = self._load(name, info.latent if info else None)
        except UsageError as error:
            if self.model is None:
                remedy = "name a model with --model to upscale it all the same"
                raise MetadataError(f"{path}: its hcd metadata are damaged ({error}); {remedy}") from error
            model = self._load(name, None)
        if info is not None and model.scale != info.scale:
            if self.model is None:
                raise MetadataError(f"{path}: scale {info.scale}, but its model '{info.model}' has {model.scale}")
            info = None
        return upscale_picture(picture, model, info, device=self.device)

    def _load(self, name: str, latent: str | None) -> Rescaler:
        return _load_cached(name, self.weights, latent, self.device)


def _installed(path: Path, info: LRInfo) -> str:
    """The registered name of the model that the file names, its weights being the installed ones."""
    remedy = "install the hcd version that wrote it, or name a model with --model (and --weights)"
    try:
        entry = get_entry(info.model)
    except ModelError as error:
        raise ModelError(f"{path}: made by model {info.model!r}, which is not installed; {remedy}") from error
    if shipped_hash(entry.name) != info.weights or (entry.architecture != "bicubic" and not info.weights):
        raise ModelError(
            f"{path}: made by model '{info.model}' with weights {printable(info.weights) or '(none)'}, "
            f"which are not the installed ones; {remedy}"
        )
    return entry.name


@functools.lru_cache(maxsize=4)
def _load_cached(name: str, weights: Path | None, latent: str | None, device: str) -> Rescaler:
    return load(name, weights=weights, latent=latent, device=device)


def crop_to_multiple(picture: Picture, scale: int) -> Picture:
    """Cut right and bottom so that both sides are multiples of the scale, as benchmark protocols do."""
    height, width = picture.height - picture.height % scale, picture.width - picture.width % scale
    alpha = None if picture.alpha is None else picture.alpha[..., :height, :width]
    return replace(picture, rgb=picture.rgb[..., :height, :width], alpha=alpha)
