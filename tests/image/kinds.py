"""Every kind of picture file, made in code, and sent the whole way."""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401 - importing it registers the format
import pyvips
import torch
from PIL import Image, ImageCms

import hcd
from hcd.image import Codec, Picture, encode, encode_lr, read_picture
from hcd.pipeline import Downscaled, Receiver, downscale_picture
from tests.image.samples import saved

pillow_heif.register_heif_opener(thumbnails=False)

HEIGHT, WIDTH = 43, 30  # no multiples of the scale
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>'
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB = ImageCms.createProfile("LAB")


def gray_profile() -> bytes:
    """A small profile of gray with a gamma of 2.2, by hand."""
    curve = b"curv" + struct.pack(">IIHxx", 0, 1, round(2.2 * 256))
    white = b"XYZ " + struct.pack(">Iiii", 0, 63190, 65536, 54061)
    text = b"desc" + struct.pack(">II", 0, 5) + b"gray\0" + bytes(79)
    tags, body = b"", b""
    at = 128 + 4 + 12 * 3
    for name, data in ((b"desc", text), (b"wtpt", white), (b"kTRC", curve)):
        tags += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s", at + len(body), bytes(4), 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return header + bytes(128 - len(header)) + struct.pack(">I", 3) + tags + body


def waves(channels: int = 3, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """float ``[height, width, channels]`` in (0, 1), smooth enough for bicubic."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([0.5 + 0.4 * np.sin(rows / 9 + c) * np.cos(columns / 11 - c) for c in range(channels)], axis=-1)


def bits8(channels: int = 3) -> np.ndarray:
    return (waves(channels) * 255).round().astype(np.uint8)


def bits16(channels: int = 3) -> np.ndarray:
    return (waves(channels) * 65535).round().astype(np.uint16)


def lying(samples: np.ndarray) -> np.ndarray:
    """As a camera stores it that says orientation 6."""
    return np.ascontiguousarray(np.rot90(samples))


def exif() -> Image.Exif:
    made = Image.Exif()
    made[0x0112], made[0x010E], made[0x010F] = 6, "a description", "maker"
    made.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    made.get_ifd(0x8825)[1] = "N"
    return made


def pillow(mode: str, kind: str, *, turned: bool = True, icc: bytes | None = SRGB, **options: Any) -> bytes:
    """A file of one mode, with orientation, profile, EXIF and what else the format takes."""
    samples = bits8({"L": 1, "LA": 2, "RGBA": 4}.get(mode, 3))
    samples = lying(samples) if turned else samples
    image = Image.fromarray(samples[..., 0] if samples.shape[-1] == 1 else samples)
    if mode == "CMYK":
        image = image.convert("CMYK")
    elif mode == "LAB":
        image = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), LAB, outputMode="LAB")
    elif mode == "P":
        image = image.quantize(256)
    elif mode == "1":
        image = Image.fromarray(samples[..., 0] > 127)
    if icc is not None:
        options["icc_profile"] = icc
    if turned:
        options["exif"] = exif()
    return saved(image, kind, **options)


def vips(samples: np.ndarray, suffix: str, **options: Any) -> bytes:
    image = pyvips.Image.new_from_array(samples)
    if samples.dtype == np.uint16:
        image = image.copy(interpretation="grey16" if samples.shape[-1] < 3 else "rgb16")
    data: bytes = image.write_to_buffer(suffix, **options)
    return data


def heif16() -> bytes:
    buffer = io.BytesIO()
    made = pillow_heif.from_bytes(mode="RGB;16", size=(WIDTH, HEIGHT), data=bits16().tobytes())
    made.save(buffer, quality=95, chroma=444)
    return buffer.getvalue()


def animated(kind: str, **options: Any) -> bytes:
    first = Image.fromarray(bits8())
    return saved(first, kind, save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT))], **options)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of file: how it is made, and the restored picture's least PSNR against it."""

    format: str
    mode: str
    suffix: str
    make: Callable[[], bytes]
    floor: float = 36.0
    gray: bool = False
    channels: int = 3


_DPI = {"dpi": (300, 200)}
_JPEG = {"quality": 95, "subsampling": 0, "xmp": XMP, **_DPI}
_WEBP = {"lossless": True, "xmp": XMP, "exact": True}
_AVIF = {"quality": 95, "subsampling": "4:4:4", "xmp": XMP}
_GRAY = gray_profile()


def _png_info() -> Any:
    from PIL import PngImagePlugin

    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return chunks


_PNG = {**_DPI, "pnginfo": _png_info()}
KINDS = [
    Kind(format="PNG", mode="RGB", suffix=".png", make=lambda: pillow("RGB", "PNG", **_PNG)),
    Kind(format="PNG", mode="RGBA", suffix=".png", make=lambda: pillow("RGBA", "PNG", **_PNG), channels=4),
    Kind(format="PNG", mode="gray", suffix=".png", make=lambda: pillow("L", "PNG", icc=_GRAY, **_PNG), gray=True),
    Kind(
        format="PNG",
        mode="gray, alpha",
        suffix=".png",
        make=lambda: pillow("LA", "PNG", icc=_GRAY, **_PNG),
        gray=True,
        channels=2,
    ),
    Kind(format="PNG", mode="palette", suffix=".png", make=lambda: pillow("P", "PNG", **_PNG), floor=30),
    Kind(
        format="PNG",
        mode="1 bit",
        suffix=".png",
        make=lambda: pillow("1", "PNG", icc=None, **_PNG),
        gray=True,
        floor=18,
    ),
    Kind(format="PNG", mode="16-bit gray", suffix=".png", make=lambda: vips(bits16(1), ".png"), gray=True),
    Kind(
        format="PNG",
        mode="16-bit gray, alpha",
        suffix=".png",
        make=lambda: vips(bits16(2), ".png"),
        gray=True,
        channels=2,
    ),
    Kind(format="PNG", mode="16-bit RGB", suffix=".png", make=lambda: vips(bits16(), ".png")),
    Kind(format="PNG", mode="16-bit RGBA", suffix=".png", make=lambda: vips(bits16(4), ".png"), channels=4),
    Kind(format="PNG", mode="animated", suffix=".png", make=lambda: animated("PNG")),
    Kind(format="JPEG", mode="RGB", suffix=".jpg", make=lambda: pillow("RGB", "JPEG", **_JPEG)),
    Kind(format="JPEG", mode="gray", suffix=".jpg", make=lambda: pillow("L", "JPEG", icc=_GRAY, **_JPEG), gray=True),
    Kind(format="JPEG", mode="CMYK", suffix=".jpg", make=lambda: pillow("CMYK", "JPEG", icc=None, **_JPEG)),
    Kind(format="WebP", mode="RGB", suffix=".webp", make=lambda: pillow("RGB", "WEBP", **_WEBP)),
    Kind(format="WebP", mode="RGBA", suffix=".webp", make=lambda: pillow("RGBA", "WEBP", **_WEBP), channels=4),
    Kind(format="WebP", mode="lossy", suffix=".webp", make=lambda: pillow("RGB", "WEBP", quality=95, xmp=XMP)),
    Kind(format="WebP", mode="animated", suffix=".webp", make=lambda: animated("WEBP", lossless=True)),
    Kind(format="BMP", mode="RGB", suffix=".bmp", make=lambda: pillow("RGB", "BMP", turned=False, icc=None, **_DPI)),
    Kind(
        format="BMP",
        mode="palette",
        suffix=".bmp",
        make=lambda: pillow("P", "BMP", turned=False, icc=None, **_DPI),
        floor=30,
    ),
    Kind(format="TIFF", mode="RGB", suffix=".tif", make=lambda: pillow("RGB", "TIFF", **_DPI)),
    Kind(format="TIFF", mode="RGBA", suffix=".tif", make=lambda: pillow("RGBA", "TIFF", **_DPI), channels=4),
    Kind(format="TIFF", mode="gray", suffix=".tif", make=lambda: pillow("L", "TIFF", icc=_GRAY, **_DPI), gray=True),
    Kind(format="TIFF", mode="CMYK", suffix=".tif", make=lambda: pillow("CMYK", "TIFF", icc=None, **_DPI)),
    Kind(format="TIFF", mode="Lab", suffix=".tif", make=lambda: pillow("LAB", "TIFF", icc=None, **_DPI), floor=34),
    Kind(format="TIFF", mode="16-bit gray", suffix=".tif", make=lambda: vips(bits16(1), ".tif"), gray=True),
    Kind(format="TIFF", mode="16-bit RGB", suffix=".tif", make=lambda: vips(bits16(), ".tif")),
    Kind(format="TIFF", mode="16-bit RGBA", suffix=".tif", make=lambda: vips(bits16(4), ".tif"), channels=4),
    Kind(
        format="TIFF",
        mode="float32 gray",
        suffix=".tif",
        make=lambda: vips(waves(1).astype(np.float32), ".tif"),
        gray=True,
    ),
    Kind(format="TIFF", mode="float32 RGB", suffix=".tif", make=lambda: vips(waves().astype(np.float32), ".tif")),
    Kind(format="TIFF", mode="many pages", suffix=".tif", make=lambda: animated("TIFF")),
    Kind(format="AVIF", mode="RGB", suffix=".avif", make=lambda: pillow("RGB", "AVIF", **_AVIF)),
    Kind(format="AVIF", mode="RGBA", suffix=".avif", make=lambda: pillow("RGBA", "AVIF", **_AVIF), channels=4),
    Kind(
        format="AVIF",
        mode="10-bit RGB",
        suffix=".avif",
        make=lambda: vips(bits16(), ".avif", Q=95, bitdepth=10, subsample_mode="off"),
    ),
    Kind(
        format="AVIF",
        mode="12-bit RGB",
        suffix=".avif",
        make=lambda: vips(bits16(), ".avif", Q=95, bitdepth=12, subsample_mode="off"),
    ),
    Kind(
        format="HEIF", mode="RGB", suffix=".heic", make=lambda: pillow("RGB", "HEIF", quality=95, chroma=444, xmp=XMP)
    ),
    Kind(format="HEIF", mode="10-bit RGB", suffix=".heic", make=heif16),
    Kind(format="JPEG XL", mode="RGB", suffix=".jxl", make=lambda: pillow("RGB", "JXL", turned=False, lossless=True)),
    Kind(
        format="JPEG XL",
        mode="16-bit gray",
        suffix=".jxl",
        make=lambda: saved(Image.fromarray(bits16(1)[..., 0]), "JXL", lossless=True),
        gray=True,
    ),
]


def tensor(samples: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(samples)).float().permute(2, 0, 1)[None]


@dataclass(frozen=True, kw_only=True)
class Way:
    """What became of one file on the way there and back."""

    read: Picture
    restored: Picture
    psnr: float
    alpha_error: float
    warnings: tuple[str, ...] = field(default=())


def send(kind: Kind, folder: Path, depth: int = 8) -> Way:
    """File → picture → LR file → restored file → picture, by bicubic; PSNR against the upright original."""
    source = folder / f"photo{kind.suffix}"
    source.write_bytes(kind.make())
    read = read_picture(source)
    small = downscale_picture(read, hcd.load("bicubic-x2"), "plain", depth=depth)
    lr = folder / "photo.lr.png"
    lr.write_bytes(encode_lr(small.picture, small.info))
    restored = Receiver().restore(lr)
    big = folder / "photo.png"
    big.write_bytes(encode(restored, ".png", depth=depth))
    back = read_picture(big)
    expected = waves(1 if kind.gray else 3)
    if kind.mode == "1 bit":
        expected = (waves()[..., :1] > 127.5 / 255).astype(float)
    original = tensor(expected.repeat(3, axis=2) if kind.gray else expected)
    alpha_error = 0.0
    if back.alpha is not None:
        alpha_error = float((back.alpha[0, 0] - tensor(waves(kind.channels))[0, -1]).abs().mean())
    return Way(
        read=read,
        restored=back,
        psnr=hcd.psnr(back.rgb, original, channel="rgb", border=2),
        alpha_error=alpha_error,
        warnings=read.warnings,
    )


def full_picture(*, gray: bool = False, alpha: bool = True, depth: int = 8) -> Picture:
    """A picture that carries all that can be carried."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "full.png"
        path.write_bytes(pillow("RGBA", "PNG", **_PNG))
        read = read_picture(path)
    rgb = read.rgb[:, :1].expand(-1, 3, -1, -1) if gray else read.rgb
    return Picture(
        rgb=rgb, alpha=read.alpha if alpha else None, gray=gray, icc=_GRAY if gray else read.icc, exif=read.exif,
        xmp=read.xmp, dpi=read.dpi, depth=depth,
    )  # fmt: skip


LR_WAYS: list[tuple[str, str, Codec | None, int]] = [
    ("PNG", ".png", None, 8),
    ("PNG, `--depth 16`", ".png", None, 16),
    ("WebP", ".webp", None, 8),
    ("WebP, `--quality Q`", ".webp", Codec(format="webp"), 8),
    ("JPEG", ".jpg", Codec(format="jpeg"), 8),
    ("AVIF", ".avif", Codec(format="avif"), 8),
]


def write_lr(small: Downscaled, suffix: str, codec: Codec | None) -> bytes:
    return encode_lr(small.picture, small.info, suffix) if codec is None else codec.encode(small.picture, small.info)
