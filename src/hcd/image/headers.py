"""Identify a file by its first bytes, and read the claims to check before a decoder runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_JXL_BOX = b"\0\0\0\x0cJXL \r\n\x87\n"
_HEAD = 4096


@dataclass(frozen=True, kw_only=True)
class Header:
    """A file's format and claims, read from its first bytes.

    Attributes:
        kind: Pillow's name of the format.
        size: width and height if they must be known before Pillow opens the file, else None.
        depth: bits per sample if the first bytes tell, else 8.
    """

    kind: str
    size: tuple[int, int] | None = None
    depth: int = 8


def read_header(file: BinaryIO) -> Header | None:
    """Identify an open file, and rewind it; return None if the format is unknown."""
    file.seek(0)
    head = file.read(_HEAD)
    try:
        if head.startswith(b"\xff\x0a") or head.startswith(_JXL_BOX):
            return _jxl(file, head)
        return _by_signature(head)
    finally:
        file.seek(0)


def _by_signature(head: bytes) -> Header | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Header(kind="PNG", depth=16 if head[24:25] == b"\x10" else 8)
    if head.startswith(b"\xff\xd8\xff"):
        return Header(kind="JPEG")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Header(kind="WEBP", size=_webp_size(head))
    if head.startswith(b"BM"):
        return Header(kind="BMP")
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return Header(kind="TIFF")
    if head[4:8] == b"ftyp":
        length = int.from_bytes(head[:4], "big")
        brands = {head[at : at + 4] for at in (8, *range(16, min(length, len(head)), 4))}
        if brands & {b"avif", b"avis"}:
            return Header(kind="AVIF", depth=_av1_depth(head))
        if brands & _HEIF_BRANDS:
            return Header(kind="HEIF")
    return None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Read the canvas size of a WebP, all of which its decoder allocates on opening."""
    kind, body = head[12:16], head[20:30]
    if len(body) < 10:
        return None
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return None


def _av1_depth(head: bytes) -> int:
    """Read the bits per sample of an AVIF from its codec configuration box (AV1-ISOBMFF, section 2.3.3)."""
    at = head.find(b"av1C")
    if at < 0 or len(head) < at + 7 or not head[at + 6] & 0x40:
        return 8
    return 12 if head[at + 6] & 0x20 else 10


def _jxl(file: BinaryIO, head: bytes) -> Header:
    """Read size and depth of a JPEG XL, all of which its plug-in decodes on opening (ISO/IEC 18181-1)."""
    codestream = head if head.startswith(b"\xff\x0a") else _jxl_codestream(file)
    bits = _Bits(codestream[2:])
    try:
        size = _jxl_size(bits)
        return Header(kind="JXL", size=size, depth=_jxl_depth(bits))
    except EOFError:
        # An unreadable size is refused like an empty picture.
        return Header(kind="JXL", size=(0, 0))


def _jxl_codestream(file: BinaryIO) -> bytes:
    """Read the first bytes of the codestream in a container's boxes."""
    at, end = 0, file.seek(0, 2)
    # Each box takes at least eight bytes; files have few before the codestream.
    for _ in range(1000):
        file.seek(at)
        box = file.read(20)
        if len(box) < 8:
            return b""
        length, name, start = int.from_bytes(box[:4], "big"), box[4:8], at + 8
        if length == 1:
            length, start = int.from_bytes(box[8:16], "big"), at + 16
        if name in (b"jxlc", b"jxlp"):
            file.seek(start + (4 if name == b"jxlp" else 0))
            return file.read(64)
        at += length
        # Lengths of 64 bits can exceed the largest file offset.
        if length < 8 or at > end:
            return b""
    return b""


class _Bits:
    """Reads the bits of a JPEG XL codestream, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise EOFError
        value = self._value & ((1 << count) - 1)
        self._value, self._left = self._value >> count, self._left - count
        return value


_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def _jxl_size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)

    def side() -> int:
        return (bits.take(5) + 1) * 8 if small else bits.take((9, 13, 18, 30)[bits.take(2)]) + 1

    height = side()
    ratio = bits.take(3)
    if ratio == 0:
        return side(), height
    numerator, denominator = _RATIOS[ratio - 1]
    return height * numerator // denominator, height


def _jxl_depth(bits: _Bits) -> int:
    """Read the bits per sample; 8 if a preview or animation precedes them (the plug-in then decides)."""
    if bits.take(1):
        return 8
    if bits.take(1):
        bits.take(3)
        if bits.take(3):
            return 8
    if bits.take(1):
        return 16
    selector = bits.take(2)
    return bits.take(6) + 1 if selector == 3 else (8, 10, 12)[selector]
