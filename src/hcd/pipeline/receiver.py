"""The receiver: LR files back to large pictures, with the models that they name."""

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
    """Rebuild the large picture: exactly the original's size where ``info`` is given, else ``scale`` times the LR's.

    What does not fit into ``memory`` bytes (None: most of what is free) is restored in tiles.

    Args:
        depth: bits per sample to round to, 8 or 16; None for those of the LR picture.

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
    """Rebuilds LR files with the models that they name, or with one given model; loads each model once.

    Args:
        model: used instead of the model that files name: a name, or a loaded model; needed for files without metadata.
        weights: weights file (for GRAIN its folder), for ``model`` or, without it, for the files that were made with
            just these weights.
        device: where models are loaded; a loaded one stays where it is.
        memory: bytes that restoring may take, see :func:`upscale_picture`.
        max_pixels: larger files are refused before they are decoded, and larger pictures before they are rebuilt.
        depth: bits per sample of the large pictures, 8 or 16; None for those of the LR files.

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
            MetadataError: its metadata are missing or damaged, and no model was given.
            ModelError: the model that it names is not installed.
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
                f"{path}: carries no hcd metadata, so the model that made it is unknown; name one with --model"
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
        """The given model; of a name, with the file's latent policy where the file was made with the same weights."""
        if isinstance(given, Rescaler):
            return given
        model = self._load(given, self._weights)
        if info is None or info.weights != model.weights_hash or info.latent == model.latent:
            return model
        try:
            return self._load(given, self._weights, info.latent)
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
