"""Models for sender and receiver, given by name or already loaded."""

from __future__ import annotations

import itertools
from pathlib import Path

from hcd.errors import UsageError
from hcd.rescaler import Rescaler
from hcd.zoo import load


def loaded(model: str | Rescaler, weights: str | Path | None, device: str) -> Rescaler:
    """Load a model by name onto a device; return a model that is loaded already as it is.

    Raises:
        ModelError, WeightsError: the model cannot be loaded.
        UsageError: weights were given for a loaded model, or there is no such device.
    """
    if isinstance(model, str):
        return load(model, weights=weights, device=device)
    if weights is not None:
        raise UsageError(f"{weights}: '{model.name}' is loaded already and has its weights; leave these out")
    return model


def device_of(model: Rescaler) -> str:
    """Return the device of a model; ``cpu`` for models without weights."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    return next((str(tensor.device) for tensor in tensors), "cpu")
