"""Replace colors under transparent pixels, which downscaling would mix into visible ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def fill_transparent(rgb: Tensor, alpha: Tensor) -> Tensor:
    """Replace the colors under alpha 0 by a smooth continuation of the visible ones.

    Args:
        rgb: float ``[1, 3, H, W]``.
        alpha: float ``[1, 1, H, W]`` in [0, 1], straight.

    Returns:
        ``[1, 3, H, W]``: visible pixels (alpha above 0) are unchanged; ``rgb`` itself if all pixels are visible, or
        none.

    Source: the pull-push scheme of Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 4.2.4.
    Departs: averages of 2×2 pixels in both directions, weighted by alpha.
    """
    hidden = alpha <= 0
    if not hidden.any() or hidden.all():
        return rgb
    return torch.where(hidden, _pull_push(rgb * alpha, alpha), rgb)


def _pull_push(weighted: Tensor, weight: Tensor) -> Tensor:
    """Return colors at every pixel: its own if it has weight, else those of its surroundings."""
    own = weighted / weight.clamp(min=1e-12)
    height, width = weight.shape[-2:]
    if height == 1 and width == 1:
        return own
    # Pixels outside the picture have no weight.
    padding = (0, width % 2, 0, height % 2)
    halved = _pull_push(F.avg_pool2d(F.pad(weighted, padding), 2), F.avg_pool2d(F.pad(weight, padding), 2))
    around = F.interpolate(halved, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    return torch.where(weight > 0, own, around)
