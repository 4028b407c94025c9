"""Published metrics, each with its source."""

from __future__ import annotations

from dataclasses import dataclass

HCD = "B. Xu et al., ICCV 2023, arXiv 2211.10643"
IRN = "M. Xiao et al., ECCV 2020, README of the official code"


@dataclass(frozen=True, kw_only=True)
class PublishedPlain:
    """Mean PSNR (dB) and SSIM of pictures restored from a network's plain LR pictures."""

    psnr_y: float
    ssim_y: float
    source: str


def _irn(psnr_y: float, ssim_y: float) -> PublishedPlain:
    return PublishedPlain(psnr_y=psnr_y, ssim_y=ssim_y, source=IRN)


PLAIN: dict[tuple[str, str], PublishedPlain] = {
    ("irn-x2", "Set5"): _irn(43.99, 0.9871),
    ("irn-x2", "Set14"): _irn(40.79, 0.9778),
    ("irn-x2", "BSD100"): _irn(41.32, 0.9876),
    ("irn-x2", "Urban100"): _irn(39.92, 0.9865),
    ("irn-x2", "DIV2K"): _irn(44.32, 0.9908),
    ("irn-x4", "Set5"): _irn(36.19, 0.9451),
    ("irn-x4", "Set14"): _irn(32.67, 0.9015),
    ("irn-x4", "BSD100"): _irn(31.64, 0.8826),
    ("irn-x4", "Urban100"): _irn(31.41, 0.9157),
    ("irn-x4", "DIV2K"): _irn(35.07, 0.9318),
}
"""Network and set → published metrics of plain. The channel is not stated there; the test script logs RGB and Y."""


GAINS: dict[str, tuple[float, float]] = {
    "irn-x2": (0.19, 0.68),
    "irn-x4": (0.27, 0.44),
    "hcflow-x4": (0.16, 0.7),
    "grain-x64": (0.66, 1.48),
}
"""Network → smallest and largest published gain of the method over the sets, dB (:data:`HCD`, table 1)."""

ADVERSARIAL, COLLABORATIVE = -0.93, 1.29
"""Published changes in both directions on the example of :data:`HCD`, figure 1, dB."""


def network(model: str) -> str:
    """Return the published network that a model is compared with: ``irn-x4`` for ``irn-x4-small``."""
    return model.removesuffix("-small")
