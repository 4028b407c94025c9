"""Names → rescalers: the registry, shipped weights and checkpoint formats."""

from hcd.zoo.checkpoints import Checkpoint, hash_file, read_checkpoint, read_metadata
from hcd.zoo.registry import ModelEntry, get_entry, load, model_entries, pick_device, shipped_hash

__all__ = [
    "Checkpoint",
    "ModelEntry",
    "get_entry",
    "hash_file",
    "load",
    "model_entries",
    "pick_device",
    "read_checkpoint",
    "read_metadata",
    "shipped_hash",
]
