"""The Haar transform of invertible networks: a picture of half the side and three bands of details.

Source: Xiao et al., "Invertible Image Rescaling", ECCV 2020, section 3.2; HCFlow uses the same one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_HAAR_SIGNS = torch.tensor([[[1, 1], [1, 1]], [[1, -1], [1, -1]], [[1, 1], [-1, -1]], [[1, -1], [-1, 1]]])


class Haar(nn.Module):
    """Haar transform ``[N, C, H, W] → [N, 4C, H/2, W/2]``, band-major: all averages first, then each detail band.

    The filters are fixed; ``haar_weights`` exists because official checkpoints contain it.
    """

    haar_weights: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("haar_weights", _HAAR_SIGNS[:, None].repeat(channels, 1, 1, 1).float())

    def forward(self, x: Tensor) -> Tensor:
        a, b = x[..., 0::2, 0::2], x[..., 0::2, 1::2]
        c, d = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
        ab_sum, ab_diff, cd_sum, cd_diff = a + b, a - b, c + d, c - d
        return torch.cat([ab_sum + cd_sum, ab_diff + cd_diff, ab_sum - cd_sum, ab_diff - cd_diff], dim=1) / 4

    def inverse(self, y: Tensor) -> Tensor:
        average, horizontal, vertical, diagonal = y.chunk(4, dim=1)
        top_sum, top_diff = average + vertical, horizontal + diagonal
        bottom_sum, bottom_diff = average - vertical, horizontal - diagonal
        corners = [top_sum + top_diff, top_sum - top_diff, bottom_sum + bottom_diff, bottom_sum - bottom_diff]
        return F.pixel_shuffle(torch.stack(corners, dim=2).flatten(1, 2), 2)
