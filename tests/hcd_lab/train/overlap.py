"""Finding copies: pictures that share a region with others, whole or cropped, scaled or encoded anew.

Coarse to fine. Squares of a picture, described by 8×8 gray values, are compared with squares of every size and place
of the known pictures; the best match of each is then looked at closely, where only a copy agrees in its fine detail.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

_CELLS = 8  # a side of the coarse description
_SMALLEST = 72  # side of a square of the known pictures
_RATIO = 1.22  # between the sides of squares
_CONTRAST = 5.0  # standard deviation of a description, in gray levels: flat squares look like each other
_ALIKE = 0.92  # correlation of descriptions that is worth a closer look
_FINE, _SLACK = 32, 4  # a side of the close look, and how far around it goes
_NOISE = 2.0  # gray levels of detail that say nothing
_BUSY = 0.4  # share of a square that must hold more than that
_ZOOMS = (0.88, 0.94, 1.0, 1.06, 1.12)


@dataclass(frozen=True, kw_only=True)
class Match:
    """A square of a picture, the known picture that it looks like most, and how closely they agree (1: a copy)."""

    picture: str
    known: str
    agreement: float


@dataclass(frozen=True, kw_only=True)
class _Squares:
    """Corners and sides of squares, the picture of each, and its description."""

    owner: Tensor
    top: Tensor
    left: Tensor
    side: Tensor
    description: Tensor


def read_gray(path: Path) -> Tensor:
    """Gray levels ``[H, W]``."""
    with Image.open(path) as image:
        return torch.from_numpy(np.asarray(image.convert("L"), dtype=np.float32))


class KnownPictures:
    """Pictures that others are compared with.

    Args:
        pictures: their gray levels by name.
    """

    def __init__(self, pictures: dict[str, Tensor]) -> None:
        self._names, self._pictures = list(pictures), list(pictures.values())
        self._squares = _join([_dense_squares(index, gray) for index, gray in enumerate(self._pictures)])

    def matches(self, pictures: Iterable[tuple[str, Tensor]]) -> list[Match]:
        """The closest match of every picture that has one, the best first."""
        names, grays = zip(*pictures, strict=True)
        squares = _join([_sparse_squares(index, gray) for index, gray in enumerate(grays)])
        best: dict[int, Match] = {}
        values, indices = _nearest(squares.description, self._squares.description)
        for i in (values > _ALIKE).nonzero().flatten().tolist():
            owner, known = int(squares.owner[i]), self._squares
            j = int(indices[i])
            square = (int(squares.top[i]), int(squares.left[i]), int(squares.side[i]))
            place = (float(known.top[j]), float(known.left[j]), float(known.side[j]))
            agreement = _agreement(grays[owner], square, self._pictures[int(known.owner[j])], place)
            if owner not in best or agreement > best[owner].agreement:
                name = self._names[int(known.owner[j])]
                best[owner] = Match(picture=names[owner], known=name, agreement=agreement)
        return sorted(best.values(), key=lambda match: -match.agreement)


def _resize(gray: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(gray[None, None], (height, width), mode="bilinear", antialias=True)[0, 0]


def _describe(owner: int, tops: Tensor, lefts: Tensor, sides: Tensor, values: Tensor) -> _Squares:
    values = values - values.mean(dim=1, keepdim=True)
    norms = values.norm(dim=1, keepdim=True)
    keep = norms[:, 0] > _CONTRAST * _CELLS
    owners = torch.full((len(values),), owner)
    return _Squares(
        owner=owners[keep],
        top=tops[keep],
        left=lefts[keep],
        side=sides[keep],
        description=(values / norms.clamp_min(1e-6))[keep],
    )


def _dense_squares(owner: int, gray: Tensor) -> _Squares:
    """Squares of every size, an eighth of their side apart."""
    found = []
    side = float(min(gray.shape))
    while side >= _SMALLEST:
        cell = side / _CELLS
        small = _resize(gray, *(max(_CELLS, round(length / cell)) for length in gray.shape))
        values = F.unfold(small[None, None], _CELLS)[0].T
        rows, columns = (length - _CELLS + 1 for length in small.shape)
        tops, lefts = torch.arange(rows) * cell, torch.arange(columns) * cell
        sides = torch.full((len(values),), side)
        found.append(_describe(owner, tops.repeat_interleave(columns), lefts.repeat(rows), sides, values))
        side /= _RATIO
    return _join(found)


def _sparse_squares(owner: int, gray: Tensor) -> _Squares:
    """The largest squares of a picture, and nine of half their side."""
    height, width = gray.shape
    side = min(height, width)
    places = {(top, left, side) for top in (0, (height - side) // 2, height - side) for left in _along(width, side)}
    places |= {(top, left, side // 2) for top in _along(height, side // 2) for left in _along(width, side // 2)}
    ordered = sorted(places)
    values = [
        _resize(gray[top : top + size, left : left + size], _CELLS, _CELLS).flatten() for top, left, size in ordered
    ]
    tops, lefts, sides = torch.tensor(ordered).T
    return _describe(owner, tops, lefts, sides, torch.stack(values))


def _along(length: int, side: int) -> tuple[int, ...]:
    return 0, (length - side) // 2, length - side


def _join(parts: Sequence[_Squares]) -> _Squares:
    names = ("owner", "top", "left", "side", "description")
    return _Squares(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _nearest(descriptions: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Highest correlation with a known description, and which one; in blocks that stay in the cache."""
    values = torch.full((len(descriptions),), -2.0)
    indices = torch.zeros(len(descriptions), dtype=torch.long)
    for first in range(0, len(known), 8192):
        block = known[first : first + 8192].T.contiguous()
        for start in range(0, len(descriptions), 64):
            rows = slice(start, start + 64)
            value, index = (descriptions[rows] @ block).max(dim=1)
            better = value > values[rows]
            values[rows] = torch.where(better, value, values[rows])
            indices[rows] = torch.where(better, index + first, indices[rows])
    return values, indices


def _agreement(gray: Tensor, square: tuple[int, int, int], known: Tensor, place: tuple[float, float, float]) -> float:
    """Highest correlation of the fine detail of two squares, over small shifts and zooms of the known one."""
    top, left, side = square
    template, strength = _detail(_resize(gray[top : top + side, left : left + side], _FINE, _FINE)[None, None])
    if (strength > 2 * _NOISE).float().mean() < _BUSY:
        return -1.0
    template = template - template.mean()
    template = template / template.norm().clamp_min(1e-6)
    best = -1.0
    for zoom in _ZOOMS:
        size = place[2] * zoom
        reach = size * (1 + 2 * _SLACK / _FINE)
        middle = [corner + place[2] / 2 for corner in place[:2]]
        ends = [
            (max(0, round(center - reach / 2)), min(length, round(center + reach / 2)))
            for center, length in zip(middle, known.shape, strict=True)
        ]
        region = known[ends[0][0] : ends[0][1], ends[1][0] : ends[1][1]]
        sides = [round((end - start) / size * _FINE) for start, end in ends]
        if min(sides) < _FINE:
            continue
        detail, _ = _detail(_resize(region, *sides)[None, None])
        products = F.conv2d(detail, template)
        ones = torch.ones_like(template) / template.numel()
        variance = F.conv2d(detail.square(), ones) - F.conv2d(detail, ones).square()
        norms = (variance * template.numel()).clamp_min(1e-6).sqrt()
        best = max(best, float((products / norms).max()))
    return best


def _detail(picture: Tensor) -> tuple[Tensor, Tensor]:
    """What a blur over five pixels takes away, in proportion to how much of it there is around; and how much it is.

    Only copies agree in it; and a strong edge, which many pictures have, counts no more than the rest.
    """
    detail = picture - _blur(picture, 5)
    strength = (_blur(detail.square(), 9) + _NOISE**2).sqrt()
    return detail / strength, strength


def _blur(picture: Tensor, width: int) -> Tensor:
    padded = F.pad(picture, (width // 2,) * 4, mode="replicate")
    return F.avg_pool2d(padded, width, stride=1)
