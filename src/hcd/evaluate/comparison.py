"""Plain against collaborative on one picture: pictures, difference maps, numbers and a page that shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from torch import Tensor

from hcd.collab import Evaluation
from hcd.errors import UsageError
from hcd.files import write_atomically
from hcd.image import Picture, decode_lr, encode, encode_lr
from hcd.jsontext import json_text
from hcd.metrics import psnr, ssim
from hcd.ops import quantize
from hcd.pipeline import downscale_picture, upscale_picture
from hcd.rescaler import Rescaler

ERROR_GAIN = 8
"""How much the error maps are amplified."""
_SMALLEST_FOR_SSIM = 11


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one preset gave on the picture, measured on the decoded LR file; PSNR in dB, on Y and RGB."""

    preset: str
    psnr_y: float
    psnr_rgb: float
    ssim_y: float | None
    lr_bytes: int
    grad_evals: int
    seconds: float
    max_change: int
    """Largest distance of the LR from the plain LR, in gray levels."""

    def gain_over(self, plain: Figures) -> str:
        """Difference of PSNR-Y in dB, signed; no difference where both are perfect."""
        return f"{0.0 if self.psnr_y == plain.psnr_y else self.psnr_y - plain.psnr_y:+.2f}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The page that was written, and the figures on it by preset, ``plain`` first."""

    page: Path
    figures: tuple[Figures, ...]


def compare(
    picture: Picture,
    title: str,
    model: Rescaler,
    folder: Path,
    *,
    preset: str = "balanced",
    device: str = "cpu",
    on_evaluation: Callable[[Evaluation], None] | None = None,
    **settings: Any,
) -> Comparison:
    """Downscale and rebuild a picture plainly and collaboratively, and write a page that shows both.

    Writes into ``folder``: ``original.png``, ``<preset>.lr.png``, ``<preset>.png`` and ``<preset>.error.png``
    (absolute error times 8) for both presets, ``perturbation.png`` (difference of the LR pictures around
    gray, amplified to full range), ``figures.json`` and ``index.html``, which opens from disk.

    Raises:
        OutputError: the folder cannot be written.
        UsageError: unknown preset or setting, or the preset ``plain``.
    """
    if preset == "plain":
        raise UsageError("preset 'plain': nothing to compare it with; use another preset")
    hr = picture.rgb
    files = {"original.png": encode(Picture(rgb=hr, gray=picture.gray, icc=picture.icc), ".png")}
    figures: list[Figures] = []
    # Small pictures are compared whole, tiny ones without SSIM.
    border = model.scale if min(hr.shape[-2:]) >= 2 * model.scale + _SMALLEST_FOR_SSIM else 0
    large_enough = min(hr.shape[-2:]) >= _SMALLEST_FOR_SSIM
    pictures: dict[str, Tensor] = {}
    for name in ("plain", preset):
        small = downscale_picture(
            Picture(rgb=hr, gray=picture.gray, icc=picture.icc),
            model,
            name,
            device=device,
            on_evaluation=on_evaluation,
            **({} if name == "plain" else settings),
        )
        data = encode_lr(small.picture, small.info)
        decoded, info = decode_lr(data, folder / f"{name}.lr.png")
        restored = upscale_picture(decoded, model, info, device=device)
        pictures[name] = decoded.rgb
        files[f"{name}.lr.png"] = data
        files[f"{name}.png"] = encode(restored, ".png")
        error = (quantize(restored.rgb) - quantize(hr)).abs() * ERROR_GAIN
        files[f"{name}.error.png"] = encode(Picture(rgb=error), ".png")
        change = (pictures[name] - pictures["plain"]) * 255
        figures.append(
            Figures(
                preset=name,
                psnr_y=psnr(restored.rgb, hr, border=border),
                psnr_rgb=psnr(restored.rgb, hr, channel="rgb", border=border),
                ssim_y=ssim(restored.rgb, hr, border=border) if large_enough else None,
                lr_bytes=len(data),
                grad_evals=small.result.grad_evals,
                seconds=small.result.seconds,
                max_change=round(float(change.abs().max())),
            )
        )
    perturbation = pictures[preset] - pictures["plain"]
    gain = 0.5 / max(float(perturbation.abs().max()), 1 / 255)
    files["perturbation.png"] = encode(Picture(rgb=0.5 + gain * perturbation), ".png")
    facts = {"title": title, "model": model.name, "scale": model.scale, "width": hr.shape[-1], "height": hr.shape[-2]}
    files["figures.json"] = json_text({**facts, "presets": [asdict(f) for f in figures]}).encode()
    page = _render(
        **facts,
        gain=figures[1].gain_over(figures[0]),
        preset=preset,
        figures=figures,
        lr_width=perturbation.shape[-1],
        lr_height=perturbation.shape[-2],
        border=border,
        perturbation_gain=round(gain),
        error_gain=ERROR_GAIN,
    )
    for file, data in {**files, "index.html": page.encode(errors="backslashreplace")}.items():
        write_atomically(folder / file, data)
    return Comparison(page=folder / "index.html", figures=tuple(figures))


def _render(**values: Any) -> str:
    source = resources.files("hcd.evaluate").joinpath("comparison.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(source).render(**values)
