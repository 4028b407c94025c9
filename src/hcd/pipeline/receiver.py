"""Receiver: rebuild large pictures from LR files, with the models that they name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import final

import torch

from hcd.errors import ImageError, MetadataError, ModelError, UsageError, printable
from hcd.image import MAX_PIXELS, LRInfo, Picture, levels_of, read_lr, read_picture, upscale_alpha
from hcd.memory import fit_upscaling
from hcd.ops import quantize
from hcd.pipeline.model import device_of, loaded
from hcd.rescaler import GrayRescaler, Rescaler
from hcd.zoo import SPANDREL, SPANDREL_RECORDED, get_entry, hash_weights, is_plugin, load, shipped_hash


@torch.no_grad()
def upscale_picture(
    lr: Picture,
    model: Rescaler,
    info: LRInfo | None = None,
    *,
    depth: int | None = None,
    device: str = "cpu",
    memory: int | None = None,
) -> Picture:
    """Rebuild the large picture from an LR picture.

    Args:
        lr: the LR picture.
        model: the rescaler, on ``device``.
        info: metadata of the LR file; the result has the original's size. If None, it is ``scale`` times the size of
            the LR picture.
        depth: bits per sample to round to, 8 or 16; None for the depth of the LR picture.
        device: device of the model.
        memory: bytes that rebuilding may take, in tiles if necessary; None for most of what is free.

    Raises:
        PictureTooLargeError: not even the smallest tiles fit.
    """
    if info is None:
        height, width, gray = lr.height * model.scale, lr.width * model.scale, lr.gray
    else:
        height, width, gray = info.height, info.width, info.gray
    if depth is None:
        depth = lr.depth if info is None else min(info.depth, lr.depth)
    levels = levels_of(depth)
    receiver = fit_upscaling(lr.rgb.to(device), GrayRescaler(model) if gray else model, memory=memory)
    rgb = quantize(receiver.upscale(lr.rgb.to(device)), levels)[..., :height, :width].cpu()
    alpha = None
    if lr.alpha is not None:
        alpha = upscale_alpha(lr.alpha, model.scale, height=height, width=width, levels=levels)
    return replace(lr, rgb=rgb, alpha=alpha, gray=gray, depth=depth)


@final
class Receiver:
    """Rebuilder of LR files, with the models that they name or with one given model; loads each model once.

    Args:
        model: name of a model, or a loaded model, to use instead of the one that a file names; files without metadata
            need it.
        weights: weights file (for GRAIN its folder) of ``model``. Without a ``model``, it serves the files that were
            made with exactly these weights.
        device: device to load models onto; a loaded model stays where it is.
        memory: bytes that rebuilding may take, see :func:`upscale_picture`.
        max_pixels: larger files are refused before they are decoded, and larger pictures before they are rebuilt.
        depth: bits per sample of the large pictures, 8 or 16; None for the depth of the LR file.

    Raises:
        ModelError, WeightsError: the given model cannot be loaded.
    """

    def __init__(
        self,
        *,
        model: str | Rescaler | None = None,
        weights: Path | None = None,
        device: str = "cpu",
        memory: int | None = None,
        max_pixels: int = MAX_PIXELS,
        depth: int | None = None,
    ) -> None:
        self.depth = depth
        self._max_pixels = max_pixels
        self._model, self._weights, self._device, self._memory = model, weights, device, memory
        self._weights_hash = "" if weights is None else hash_weights(weights)
        self._loaded: dict[tuple[str, Path | None, str | None], Rescaler] = {}
        if isinstance(model, str):
            self._load(model, weights)
        elif model is not None:
            loaded(model, weights, device)

    def restore(self, path: Path) -> Picture:
        """Read an LR file and rebuild the large picture.

        Raises:
            ImageError: the file cannot be read, or the large picture would be too large.
            MetadataError: the metadata are missing or damaged, and no model was given.
            ModelError: the model that the file names is not installed.
        """
        try:
            picture, info = read_lr(path, max_pixels=self._max_pixels)
        except MetadataError:
            if self._model is None:
                raise
            picture, info = read_picture(path, max_pixels=self._max_pixels), None
        if self._model is not None:
            model = self._given(self._model, info)
            if info is not None and info.scale != model.scale:
                info = None
        elif info is not None:
            model = self._named(path, info)
        else:
            raise MetadataError(
                f"{path}: has no hcd metadata, so the model that made it is unknown; name one with --model"
            )
        if info is None:
            self._check_size(path, picture, model.scale)
        return upscale_picture(picture, model, info, depth=self.depth, device=device_of(model), memory=self._memory)

    def _check_size(self, path: Path, lr: Picture, scale: int) -> None:
        width, height = lr.width * scale, lr.height * scale
        if width * height > self._max_pixels:
            raise ImageError(
                f"{path}: would become {width}×{height} pixels, more than the {self._max_pixels / 1e6:.3g} megapixels "
                "allowed; allow it with --max-pixels"
            )

    def _given(self, given: str | Rescaler, info: LRInfo | None) -> Rescaler:
        """Return the given model, with the latent policy of the file if the file was made with the same weights."""
        if isinstance(given, Rescaler):
            return given
        model = self._load(given, self._weights)
        if info is None or info.weights != model.weights_hash or info.latent == model.latent:
            return model
        try:
            return self._load(given, self._weights, info.latent)
        except UsageError:  # not a policy; a given model is used whatever the metadata say
            return model

    def _named(self, path: Path, info: LRInfo) -> Rescaler:
        """Return the model that a file names, with the weights and the latent policy that the file was solved for."""
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


_BY_HAND = "name a model with --model to upscale it anyway"
_REMEDY = "install the hcd version that wrote it, give its weights with --weights, or name a model with --model"


def _registered(path: Path, info: LRInfo, given: Path | None) -> tuple[str, Path | None]:
    """Return name and weights of the model that a file names, as arguments of ``load``.

    Paths come from the caller only, never from the file.

    Args:
        given: the caller's weights, if the file was made with them.
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
    if given is None and info.weights and entry.missing:
        raise ModelError(f"{path}: made by model '{entry.name}'; {entry.missing}")
    missing = entry.family is not None and not info.weights
    if given is None and (missing or shipped_hash(entry.name) != info.weights):
        raise ModelError(_other_weights(path, info))
    return entry.name, given


def _other_weights(path: Path, info: LRInfo) -> str:
    return (
        f"{path}: made by model '{info.model}' with weights {printable(info.weights) or '(none)'}, "
        f"which are not the installed ones; {_REMEDY}"
    )
