"""The method: objectives, HR stage, LR stage, rounding, presets. A rescaler in, an LR picture out."""

from hcd.collab.collaborate import collaborate
from hcd.collab.memory import fit_solving, fit_upscaling
from hcd.collab.objective import Reconstruction
from hcd.collab.result import Evaluation, Result
from hcd.collab.settings import PRESETS, Settings, get_settings

__all__ = [
    "PRESETS",
    "Evaluation",
    "Reconstruction",
    "Result",
    "Settings",
    "collaborate",
    "fit_solving",
    "fit_upscaling",
    "get_settings",
]
