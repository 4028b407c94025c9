"""A model by its name or as it is, for sender and receiver alike."""

from __future__ import annotations

import itertools
from pathlib import Path

from hcd.errors import UsageError
from hcd.rescaler import Rescaler
from hcd.zoo import load, pick_device


def loaded(model: str | Rescaler, weights: str | Path | None, device: str) -> Rescaler:
    """Return the model of this name on a device, or the given model where it is.

    Raises:
        ModelError, WeightsError: the model cannot be loaded.
        UsageError: weights for a model that is loaded already, or no such device.
    """
    if isinstance(model, str):
        return load(model, weights=weights, device=pick_device(device))
    if weights is not None:
        raise UsageError(f"{weights}: weights are for a model by its name; '{model.name}' is loaded already")
    return model


def device_of(model: Rescaler) -> str:
    """Return the device that a model is on; ``cpu`` for models without weights."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    return next((str(tensor.device) for tensor in tensors), "cpu")
