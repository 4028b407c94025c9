"""``spandrel:FILE``: load super-resolution models with the spandrel library, as fixed-kernel rescalers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hcd.errors import MissingDependencyError, WeightsError, printable
from hcd.nets.cpu.conv2d import make_freezable
from hcd.rescaler import FixedKernelRescaler, SizeRequirement
from hcd.zoo.checkpoints import describe, hash_file, read_content
from hcd.zoo.torchvision_operators import import_torchvision

SPANDREL = "spandrel:"
"""Prefix of a model name that is followed by a file."""
SPANDREL_RECORDED = "spandrel-"
"""Prefix of the names of such models in LR files, which never contain a path."""

# Side of the LR picture that is upscaled to compare kernels, large enough for each of them; relative tolerance.
_TRIAL, _TOLERANCE = 20, 1e-4


def load_upscaler(path: Path) -> FixedKernelRescaler:
    """Make a rescaler of bicubic downscaling and a super-resolution model, which spandrel recognizes and describes.

    The rescaler's name is ``spandrel-ARCHITECTURE-xSCALE``; only ``weights_hash`` tells which file it was.

    Args:
        path: ``.safetensors``, or a pickled state_dict (``.pth``, ``.pt``, ``.ckpt``), which is read as data
            (``weights_only``): nothing is executed. TorchScript is refused.

    Raises:
        MissingDependencyError: the extra ``spandrel`` is not installed.
        WeightsError: the file cannot be read, spandrel does not know its architecture, or it is not a
            super-resolution model from RGB to RGB.
    """
    spandrel = _import_spandrel()
    weights_hash = hash_file(path)
    content = _read(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of third-party code
            model = spandrel.ModelLoader().load_from_state_dict(content)
    except spandrel.UnsupportedModelError as error:
        raise WeightsError(
            f"{path}: of no architecture that spandrel {spandrel.__version__} knows; {describe(_tensors(content))}"
        ) from error
    except Exception as error:  # recognized as an architecture that it does not fit
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path}: spandrel cannot build it ({reason}); {describe(_tensors(content))}") from error
    architecture = model.architecture.id
    if not isinstance(model, spandrel.ImageModelDescriptor) or model.purpose != "SR" or model.scale < 2:
        raise WeightsError(
            f"{path}: a {architecture} model for {model.purpose} at ×{model.scale}; needs super-resolution (SR) at ×2 "
            "or more"
        )
    if (model.input_channels, model.output_channels) != (3, 3):
        raise WeightsError(
            f"{path}: a {architecture} model from {model.input_channels} to {model.output_channels} channels; needs 3 "
            "and 3, RGB"
        )
    precisions = [torch.float32, torch.float64]
    precisions += [torch.float16] if model.supports_half else []
    precisions += [torch.bfloat16] if model.supports_bfloat16 else []
    size = model.size_requirements
    rescaler = FixedKernelRescaler(
        model.model,
        model.scale,
        name=f"{SPANDREL_RECORDED}{architecture.lower()}-x{model.scale}",
        weights_hash=weights_hash,
        size=SizeRequirement(minimum=size.minimum, multiple_of=size.multiple_of, square=size.square),
        precisions=tuple(precisions),
        # Calls the network as spandrel's descriptor does, but without its clamp and `no_grad`.
        call=getattr(model, "_call_fn", None),
    )
    rescaler.freeze()
    _use_fast_convolutions(rescaler)
    return rescaler


@torch.no_grad()
def _use_fast_convolutions(rescaler: FixedKernelRescaler) -> None:
    """Replace a network's convolutions by those of :mod:`hcd.nets.cpu`, unless its results then differ."""
    lr = torch.rand(1, 3, _TRIAL, _TRIAL, generator=torch.Generator().manual_seed(0))
    turned: list[nn.Conv2d] = []
    try:
        expected = rescaler.upscale(lr)
        turned = make_freezable(rescaler.upscaler)
        if (rescaler.upscale(lr) - expected).norm() <= _TOLERANCE * expected.norm():
            return
    except Exception:  # the network does not run at this size; using it will say why
        pass
    for conv in turned:
        conv.__class__ = nn.Conv2d


def _import_spandrel() -> Any:
    try:
        import_torchvision()
        import spandrel
    except ImportError as error:
        raise MissingDependencyError(
            f"spandrel:FILE: needs the spandrel library ({error}); install it with pip install 'hcd[spandrel]'"
        ) from error
    return spandrel


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a weights file, in which spandrel finds the state_dict."""
    content, _ = read_content(path)
    if not isinstance(content, dict) or not _tensors(content):
        raise WeightsError(f"{path}: holds no named tensors; give a .safetensors file or a pickled state_dict")
    for key, tensor in _tensors(content).items():
        if not tensor.isfinite().all():
            raise WeightsError(f"{path}: {printable(key)}: holds numbers that are not finite; get the file again")
    return content


def _tensors(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return named tensors, from the top or from one level below."""
    for level in (content, *content.values()):
        if isinstance(level, Mapping):
            named = {str(key): value for key, value in level.items() if isinstance(value, Tensor)}
            if named:
                return named
    return {}
