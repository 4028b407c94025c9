"""Model names and their rescalers: registry, shipped weights, checkpoint formats, third-party upscalers, plug-ins."""

from hcd.zoo.checkpoints import Checkpoint, encode_checkpoint, hash_file, read_checkpoint, read_metadata
from hcd.zoo.conversion import Conversion, convert
from hcd.zoo.families import FAMILIES, Family, Layout
from hcd.zoo.plugins import Plugin, is_plugin, plugins
from hcd.zoo.registry import (
    ModelEntry,
    get_entry,
    hash_weights,
    load,
    model_entries,
    pick_device,
    shipped_hash,
)
from hcd.zoo.upscalers import SPANDREL, SPANDREL_RECORDED

__all__ = [
    "FAMILIES",
    "SPANDREL",
    "SPANDREL_RECORDED",
    "Checkpoint",
    "Conversion",
    "Family",
    "Layout",
    "ModelEntry",
    "Plugin",
    "convert",
    "encode_checkpoint",
    "get_entry",
    "hash_file",
    "hash_weights",
    "is_plugin",
    "load",
    "model_entries",
    "pick_device",
    "plugins",
    "read_checkpoint",
    "read_metadata",
    "shipped_hash",
]
