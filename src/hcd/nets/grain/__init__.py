"""GRAIN: extreme rescaling of faces, 1024×1024 to 16×16 and back, with StyleGAN2 as the prior for upscaling.

Source: Zhong et al., "Faithful Extreme Rescaling via Generative Prior Reciprocated Invertible
Representations", CVPR 2022; Karras et al., "Analyzing and Improving the Image Quality of StyleGAN",
CVPR 2020. Names and shapes of the state_dicts are those of the official checkpoints.
"""

from hcd.nets.grain.config import LR_SIDE, GRAINConfig
from hcd.nets.grain.network import GRAIN

__all__ = ["GRAIN", "LR_SIDE", "GRAINConfig"]
