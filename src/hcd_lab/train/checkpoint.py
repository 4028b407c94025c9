"""Files of a run: the checkpoint, from which it resumes exactly, and the weights."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hcd.errors import TrainingError
from hcd.files import write_atomically
from hcd.zoo import encode_checkpoint
from hcd_lab.train.recipe import Recipe
from hcd_lab.train.step import Execution


def recipe_text(recipe: Recipe) -> str:
    """Return the recipe as one line of JSON, equal for equal recipes."""
    return json.dumps(asdict(recipe), sort_keys=True)


def write_checkpoint(path: Path, state: Mapping[str, Any], recipe: Recipe, execution: Execution) -> None:
    """Write a state with its recipe and execution, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({**state, "recipe": recipe_text(recipe), "execution": asdict(execution)}, buffer)
    write_atomically(path, buffer.getvalue())


def read_checkpoint_state(path: Path, recipe: Recipe, device: str) -> dict[str, Any]:
    """Read the state of a checkpoint of this recipe.

    Raises:
        TrainingError: the file is damaged, or belongs to another recipe.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        if state["recipe"] != recipe_text(recipe):
            raise ValueError("it was made by another recipe")
        missing = {"net", "ema", "optimizer", "step", "seconds", "execution"} - state.keys()
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError) as error:
        raise not_continued(path, recipe, error) from error
    return dict(state)


def not_continued(path: Path, recipe: Recipe, error: Exception) -> TrainingError:
    """Return the error for a checkpoint that cannot be resumed, with its first reason."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return TrainingError(
        f"{path}: cannot be continued as {recipe.name} ({reason}); move it away or choose another folder"
    )


def weights_bytes(net: nn.Module, recipe: Recipe, facts: Mapping[str, object]) -> bytes:
    """Encode a ``.safetensors`` file of half-precision weights, with facts about their training as metadata.

    Half precision costs under 0.001 dB at ×4; both weights and buffers are stored in it.
    """
    metadata = {
        "architecture": recipe.network.family,
        "latent": "zeros",
        "recipe": recipe_text(recipe),
        **{key: str(value) for key, value in facts.items()},
    }
    return encode_checkpoint({key: tensor.half().cpu() for key, tensor in net.state_dict().items()}, metadata)
