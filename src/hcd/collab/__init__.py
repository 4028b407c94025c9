"""The method: settings and presets, losses, HR and LR stage, choice of the LR that is returned."""

from hcd.collab.collaborate import collaborate
from hcd.collab.compression import CompressedSize, Compression
from hcd.collab.fit import fit_solving
from hcd.collab.losses import LOSSES, Charbonnier, Loss, Mixed, SquaredError, get_loss
from hcd.collab.objective import EvaluationStats, Reconstruction
from hcd.collab.penalties import Penalty
from hcd.collab.result import Evaluation, Result
from hcd.collab.rounding import Rounding, Unrounded
from hcd.collab.settings import PRESETS, Changes, Settings, get_settings

__all__ = [
    "LOSSES",
    "PRESETS",
    "Changes",
    "Charbonnier",
    "CompressedSize",
    "Compression",
    "Evaluation",
    "EvaluationStats",
    "Loss",
    "Mixed",
    "Penalty",
    "Reconstruction",
    "Result",
    "Rounding",
    "Settings",
    "SquaredError",
    "Unrounded",
    "collaborate",
    "fit_solving",
    "get_loss",
    "get_settings",
]
