"""The way of one picture, in memory: picture → LR picture with its information, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from hcd.collab import Evaluation, Result, collaborate, fit_upscaling
from hcd.errors import MetadataError, ModelError, UsageError, printable
from hcd.image import LRInfo, Picture, downscale_alpha, read_lr, read_picture, upscale_alpha
from hcd.ops import quantize
from hcd.rescaler import GrayRescaler, Rescaler
from hcd.zoo import SPANDREL, SPANDREL_RECORDED, get_entry, hash_weights, is_plugin, load, shipped_hash


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
    memory: int | None = None,
    on_evaluation: Callable[[Evaluation], None] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **settings: Any,
) -> Downscaled:
    """Downscale one picture collaboratively; alpha is downscaled by bicubic, the color profile carried.

    Args, Raises: as :func:`hcd.collaborate`; ``device`` is where the model is.
    """
    solved_for = GrayRescaler(model) if picture.gray else model
    result = collaborate(
        picture.rgb.to(device),
        solved_for,
        preset,
        memory=memory,
        on_evaluation=on_evaluation,
        on_tile=on_tile,
        stop=stop,
        **settings,
    )
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
def upscale_picture(
    lr: Picture, model: Rescaler, info: LRInfo | None = None, *, device: str = "cpu", memory: int | None = None
) -> Picture:
    """Rebuild the large picture: exactly the original's size where ``info`` is given, else ``scale`` times the LR's.

    What does not fit into ``memory`` bytes (None: most of what is free) is restored in tiles.

    Raises:
        PictureTooLargeError: not even the smallest tiles fit.
    """
    if info is None:
        height, width, gray = lr.height * model.scale, lr.width * model.scale, lr.gray
    else:
        height, width, gray = info.height, info.width, info.gray
    receiver = fit_upscaling(lr.rgb.to(device), GrayRescaler(model) if gray else model, memory=memory)
    rgb = quantize(receiver.upscale(lr.rgb.to(device)))[..., :height, :width].cpu()
    alpha = None if lr.alpha is None else upscale_alpha(lr.alpha, model.scale, height=height, width=width)
    return Picture(rgb=rgb, alpha=alpha, gray=gray, icc=lr.icc)


@final
class Receiver:
    """Rebuilds LR files with the models that they name, or with one given model; loads each model once.

    Args:
        model: used instead of the model that files name; needed for files without metadata.
        weights: weights file (for GRAIN its folder), for ``model`` or, without it, for the files that were made with
            just these weights.
        device: where the models run.
        memory: bytes that restoring may take, see :func:`upscale_picture`.

    Raises:
        ModelError, WeightsError: the given model cannot be loaded.
    """

    def __init__(
        self,
        *,
        model: str | None = None,
        weights: Path | None = None,
        device: str = "cpu",
        memory: int | None = None,
    ) -> None:
        self._model, self._weights, self._device, self._memory = model, weights, device, memory
        self._weights_hash = "" if weights is None else hash_weights(weights)
        self._loaded: dict[tuple[str, Path | None, str | None], Rescaler] = {}
        if model is not None:
            self._load(model, weights)

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
            if self._model is None:
                raise
            picture, info = read_picture(path), None
        if self._model is not None:
            model = self._given(self._model, info)
            if info is not None and info.scale != model.scale:
                info = None
        elif info is not None:
            model = self._named(path, info)
        else:
            raise MetadataError(
                f"{path}: carries no hcd metadata, so the model that made it is unknown; name one with --model"
            )
        return upscale_picture(picture, model, info, device=self._device, memory=self._memory)

    def _given(self, name: str, info: LRInfo | None) -> Rescaler:
        """The given model. A latent policy belongs to weights: the file's counts where it was made with these."""
        model = self._load(name, self._weights)
        if info is None or info.weights != model.weights_hash or info.latent == model.latent:
            return model
        try:
            return self._load(name, self._weights, info.latent)
        except UsageError:  # no policy at all; the model was given so that damaged metadata do not matter
            return model

    def _named(self, path: Path, info: LRInfo) -> Rescaler:
        """The model that a file names, with its weights and the latent policy that it was solved for."""
        given = self._weights if info.weights and info.weights == self._weights_hash else None
        name, weights = _registered(path, info, given)
        try:
            model = self._load(name, weights, info.latent)
        except UsageError as error:
            raise MetadataError(f"{path}: its hcd metadata are damaged ({error}); {_BY_HAND}") from error
        if model.scale != info.scale:
            raise MetadataError(f"{path}: scale {info.scale}, but its model '{name}' has {model.scale}; {_BY_HAND}")
        if model.weights_hash != info.weights:
            raise ModelError(_other_weights(path, info))
        return model

    def _load(self, name: str, weights: Path | None, latent: str | None = None) -> Rescaler:
        key = (name, weights, latent)
        if key not in self._loaded:
            self._loaded[key] = load(name, weights=weights, latent=latent, device=self._device)
        return self._loaded[key]


_BY_HAND = "name a model with --model to upscale it all the same"
_REMEDY = "install the hcd version that wrote it, give its weights with --weights, or name a model with --model"


def _registered(path: Path, info: LRInfo, given: Path | None) -> tuple[str, Path | None]:
    """Name and weights of the model that a file names, as ``load`` takes them.

    Args:
        given: the weights that the caller gave, where they are the file's.

    A path comes from the caller alone, never from the file.
    """
    try:
        entry = get_entry(info.model)
    except ModelError as error:
        if is_plugin(info.model):
            return info.model, None
        if not info.model.startswith(SPANDREL_RECORDED):
            raise ModelError(f"{path}: made by model {info.model!r}, which is not installed; {_REMEDY}") from error
        if given is None:
            raise ModelError(
                f"{path}: made by model {info.model!r} with weights {printable(info.weights) or '(none)'}; give the "
                f"weights file of that hash with --model {SPANDREL}FILE or --weights FILE"
            ) from error
        return f"{SPANDREL}{given}", None
    missing = entry.family is not None and not info.weights
    if given is None and (missing or shipped_hash(entry.name) != info.weights):
        raise ModelError(_other_weights(path, info))
    return entry.name, given


def _other_weights(path: Path, info: LRInfo) -> str:
    return (
        f"{path}: made by model '{info.model}' with weights {printable(info.weights) or '(none)'}, "
        f"which are not the installed ones; {_REMEDY}"
    )
