"""The method: objectives, HR stage, LR stage, rounding, presets. A rescaler in, an LR picture out."""

from hcd.collab.collaborate import collaborate
from hcd.collab.compression import CompressedSize, Compression
from hcd.collab.fit import fit_solving
from hcd.collab.flips import LevelFlips
from hcd.collab.losses import LOSSES, Charbonnier, Loss, Mixed, SquaredError, StructuralDissimilarity, get_loss
from hcd.collab.objective import EvaluationStats, Reconstruction
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
    "EvaluationStats",
    "Fidelity",
    "FileSize",
    "GumbelRounding",
    "LevelFlips",
    "Loss",
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
    "get_loss",
    "get_rounding",
    "get_settings",
]
