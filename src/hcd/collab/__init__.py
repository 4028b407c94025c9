"""The method: settings and presets, losses, what a file keeps, HR and LR stage, choice of the LR that is returned."""

from hcd.collab.collaborate import collaborate
from hcd.collab.fit import fit_solving
from hcd.collab.losses import LOSSES, Charbonnier, Loss, Mixed, SquaredError, get_loss
from hcd.collab.objective import EvaluationStats, Reconstruction
from hcd.collab.result import Evaluation, Result
from hcd.collab.settings import PRESETS, Changes, Settings, get_settings
from hcd.collab.stored import Lossless, Lossy, Stored

__all__ = [
    "LOSSES",
    "PRESETS",
    "Changes",
    "Charbonnier",
    "Evaluation",
    "EvaluationStats",
    "Loss",
    "Lossless",
    "Lossy",
    "Mixed",
    "Reconstruction",
    "Result",
    "Settings",
    "SquaredError",
    "Stored",
    "collaborate",
    "fit_solving",
    "get_loss",
    "get_settings",
]
