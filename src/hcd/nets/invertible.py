"""Networks of Haar transforms and couplings in sequence, computed exactly in both directions.

Source: Xiao et al., "Invertible Image Rescaling", ECCV 2020 (arXiv 2005.05650), section 3.2.
"""

from __future__ import annotations

import re
from abc import ABC
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from hcd.nets.haar import Haar


class InvertibleNetwork(nn.Module, ABC):
    """A Haar transform and ``blocks[i]`` couplings per halving of the side.

    Args:
        blocks: couplings per level, from HR to LR; its length is log2(scale).
        coupling: makes a coupling from its level, counted from 0, and its channels.
    """

    def __init__(self, blocks: Sequence[int], coupling: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.scale = 2 ** len(blocks)
        operations: list[nn.Module] = []
        for level, couplings in enumerate(blocks):
            channels = 3 * 4**level
            operations.append(Haar(channels))
            operations.extend(coupling(level, 4 * channels) for _ in range(couplings))
        self.operations = nn.ModuleList(operations)

    def forward(self, hr: Tensor) -> Tensor:
        """Map HR ``[N, 3, H, W]``, sides multiples of the scale, to LR and latent ``[N, 3·scale², …]``."""
        for operation in self.operations:
            hr = operation(hr)
        return hr

    def inverse(self, y: Tensor) -> Tensor:
        """Map LR and latent ``[N, 3·scale², h, w]`` to HR ``[N, 3, h·scale, w·scale]``; undoes ``forward``."""
        for operation in reversed(self.operations):
            y = operation.inverse(y)  # type: ignore[operator]
        return y


def coupling_indices(state_dict: Mapping[str, Tensor], weight: str) -> list[list[int]]:
    """Return the numbers of the couplings of each level, read from a state_dict; empty if there are none.

    Args:
        weight: a tensor that every coupling of the architecture has, for instance ``F.conv1.weight``.
    """
    levels = _numbers(state_dict, "haar_weights")
    couplings = _numbers(state_dict, weight)
    if not levels or not couplings:
        return []
    ends = [*levels[1:], couplings[-1] + 1]
    return [[i for i in couplings if start < i < end] for start, end in zip(levels, ends, strict=True)]


def _numbers(state_dict: Mapping[str, Tensor], tensor: str) -> list[int]:
    pattern = re.compile(rf"operations\.(\d{{1,4}})\.{re.escape(tensor)}")
    return sorted(int(match[1]) for match in map(pattern.fullmatch, state_dict) if match)
