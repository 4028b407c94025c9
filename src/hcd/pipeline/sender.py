"""Sender: downscale a picture to an LR file, in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from hcd.collab import Evaluation, Lossless, Lossy, Result, Settings, Stored, collaborate
from hcd.errors import UsageError
from hcd.image import Codec, LRInfo, Picture, downscale_alpha, encode_lr, fill_transparent, lost_profile
from hcd.rescaler import GrayRescaler, Rescaler


@dataclass(frozen=True, kw_only=True)
class Downscaled:
    """LR picture that is ready to be encoded.

    Attributes:
        picture: the LR picture on the CPU, in multiples of 1/255, or of 1/65535 if ``info.depth`` is 16.
        info: metadata of the file.
        result: result of ``collaborate``; its metrics hold for the file. Where the original is transparent, they
            compare with the colors that were filled in.
        codec: the lossy codec of the file; None if it is lossless.
    """

    picture: Picture
    info: LRInfo
    result: Result
    codec: Codec | None = None

    @property
    def psnr(self) -> float | None:
        """PSNR over RGB in dB of the picture restored from the file; None if no stage ran."""
        return self.result.psnr[0]

    @property
    def plain_psnr(self) -> float | None:
        """PSNR over RGB in dB with the plain LR in a file of the same kind; None if no stage ran."""
        return self.result.plain_psnr[0]

    def encode(self, suffix: str = ".png") -> bytes:
        """Return the bytes of the LR file.

        Args:
            suffix: format of a lossless file; ignored for a lossy one.

        Raises:
            UsageError: no LR format has this suffix, or the format does not support this depth.
            OutputError: the picture does not fit into the format.
        """
        if self.codec is None:
            return encode_lr(self.picture, self.info, suffix)
        return self.codec.encode(self.picture, self.info)


def downscale_picture(
    picture: Picture,
    model: Rescaler,
    preset: str | Settings = "balanced",
    *,
    depth: int = 8,
    codec: Codec | None = None,
    device: str = "cpu",
    memory: int | None = None,
    on_evaluation: Callable[[Evaluation], None] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Downscaled:
    """Downscale one picture for the kind of file that will store it.

    Alpha is downscaled by bicubic interpolation. Color profile, EXIF, XMP and resolution are kept.

    Args:
        depth: bits per sample of the LR file, 8 or 16.
        codec: lossy codec of the LR file; None for a lossless one.
        device: device of the model.

    The other arguments and errors are those of :func:`hcd.collaborate`.

    Raises:
        UsageError: 16 bits were given with a lossy codec.
        OutputError: the codec cannot hold a picture of this size.
    """
    if codec is not None:
        codec.check(picture)
        if depth != 8:
            raise UsageError(f"depth {depth}: {codec.format} holds 8 bits per sample; use depth 8, or a lossless file")
    stored: Stored = Lossless(depth)
    alpha = None if picture.alpha is None else downscale_alpha(picture.alpha, model.scale, stored.levels)
    if codec is not None:
        # Only in WebP does alpha affect the decoded colors: JPEG has none, and AVIF stores it separately.
        stored = Lossy(codec, alpha=alpha if codec.format == "webp" else None)
    result = collaborate(
        visible_colors(picture).to(device),
        GrayRescaler(model) if picture.gray else model,
        preset,
        stored=stored,
        memory=memory,
        on_evaluation=on_evaluation,
        on_tile=on_tile,
        stop=stop,
    )
    info = LRInfo(
        model=model.name,
        weights=model.weights_hash,
        scale=model.scale,
        width=picture.width,
        height=picture.height,
        latent=model.latent,
        gray=picture.gray,
        depth=depth,
    )
    small = replace(
        picture, rgb=result.lr.cpu(), alpha=alpha, gray=False, depth=depth, warnings=lost_profile(picture, info)
    )
    return Downscaled(picture=small, info=info, result=result, codec=codec)


def visible_colors(picture: Picture) -> Tensor:
    """Return the colors of a picture; those of the visible pixels are extended into transparent areas."""
    return picture.rgb if picture.alpha is None else fill_transparent(picture.rgb, picture.alpha)
