"""The method: objectives, HR stage, LR stage, rounding, presets. A rescaler in, an LR picture out."""

from hcd.collab.collaborate import collaborate
from hcd.collab.compression import CompressedSize, Compression
from hcd.collab.flips import LevelFlips
from hcd.collab.losses import LOSSES, Charbonnier, Loss, Mixed, SquaredError, StructuralDissimilarity, get_loss
from hcd.collab.memory import fit_solving, fit_upscaling
from hcd.collab.objective import Meter, Reconstruction
from hcd.collab.penalties import Fidelity, FileSize, Penalty
from hcd.collab.result import Evaluation, Result
from hcd.collab.rounding import (
    ROUNDINGS,
    GumbelRounding,
    Rounding,
    SoftRounding,
    StraightThrough,
    Unrounded,
    get_rounding,
)
from hcd.collab.settings import PRESETS, Settings, get_settings

__all__ = [
    "LOSSES",
    "PRESETS",
    "ROUNDINGS",
    "Charbonnier",
    "CompressedSize",
    "Compression",
    "Evaluation",
    "Fidelity",
    "FileSize",
    "GumbelRounding",
    "LevelFlips",
    "Loss",
    "Meter",
    "Mixed",
    "Penalty",
    "Reconstruction",
    "Result",
    "Rounding",
    "Settings",
    "SoftRounding",
    "SquaredError",
    "StraightThrough",
    "StructuralDissimilarity",
    "Unrounded",
    "collaborate",
    "fit_solving",
    "fit_upscaling",
    "get_loss",
    "get_rounding",
    "get_settings",
]
