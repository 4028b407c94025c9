"""EXIF, XMP, resolution and profiles: carried whole, upright, and never so much that it does harm."""

from __future__ import annotations

import io
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from hcd.image import Codec, LRInfo, encode, encode_lr, losses_of_format, read_lr, read_picture
from hcd.image.limits import MAX_EXIF, MAX_ICC, MAX_XMP
from tests.image.kinds import SRGB, XMP, exif, full_picture, gray_profile
from tests.image.samples import noise, saved

INFO = LRInfo(model="bicubic-x2", weights="", scale=2, width=85, height=60, latent="zeros")
LR_SUFFIXES = pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg", ".avif"])


def read(tmp_path, data):
    path = tmp_path / "photo"
    path.write_bytes(data)
    return read_picture(path)


def loaded(data):
    made = Image.Exif()
    made.load(data)
    return made


def photo(kind="JPEG", **options):
    return saved(Image.fromarray(noise(24, 20)), kind, **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_exif_is_carried_upright(tmp_path, kind):
    carried = loaded(read(tmp_path, photo(kind, exif=exif())).exif)
    assert (carried[0x0112], carried[0x010E], carried[0x010F]) == (1, "a description", "maker")
    assert carried.get_ifd(ExifTags.IFD.Exif)[0x9003] == "2020:01:01 00:00:00"
    assert carried.get_ifd(ExifTags.IFD.GPSInfo)[1] == "N"


def test_a_thumbnail_and_what_a_tiff_says_of_itself_are_left_out(tmp_path):
    made = exif()
    made.get_ifd(ExifTags.IFD.IFD1)[0x0201] = 1234
    made.get_ifd(ExifTags.IFD.Exif)[0xA002] = 9999
    carried = loaded(read(tmp_path, photo(exif=made)).exif)
    assert not carried.get_ifd(ExifTags.IFD.IFD1)
    assert 0xA002 not in carried.get_ifd(ExifTags.IFD.Exif)
    tags = loaded(read(tmp_path, photo("TIFF", exif=made)).exif)
    assert set(tags) <= {0x0112, 0x010E, 0x010F, 0x8769, 0x8825}


def test_orientation_in_xmp_becomes_upright_too(tmp_path):
    """Readers look there where EXIF says nothing."""
    for xmp in (XMP, b'<x:xmpmeta tiff:Orientation="6"/>', b"<x:xmpmeta tiff:Orientation='3'/>"):
        carried = read(tmp_path, photo(xmp=xmp)).xmp
        assert b"rientation>1<" in carried or b'n="1"' in carried or b"n='1'" in carried
        assert len(carried) == len(xmp)


def test_too_much_xmp_is_left_out_and_said(tmp_path):
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", "x" * (MAX_XMP + 1))
    picture = read(tmp_path, photo("PNG", pnginfo=chunks))
    assert picture.xmp is None
    assert picture.warnings == (
        f"{tmp_path / 'photo'}: its XMP of 60001 bytes is left out (at most 60000 are carried)",
    )


def test_too_much_exif_loses_the_makers_note_first(tmp_path):
    made = exif()
    made.get_ifd(ExifTags.IFD.Exif)[0x927C] = os.urandom(MAX_EXIF)
    picture = read(tmp_path, photo("PNG", exif=made))
    assert "maker's note" in picture.warnings[0]
    assert loaded(picture.exif)[0x010E] == "a description"
    made[0x010E] = "x" * (MAX_EXIF + 1)
    picture = read(tmp_path, photo("PNG", exif=made))
    assert picture.exif is None
    assert "is left out" in picture.warnings[-1]


def test_huge_profile_is_left_out_and_said(tmp_path, icc):
    huge = icc + bytes(MAX_ICC)
    picture = read(tmp_path, photo("TIFF", icc_profile=huge))
    assert picture.icc is None
    assert "is left out" in picture.warnings[0]


@pytest.mark.parametrize(("profile", "said"), [(b"no profile", "damaged"), (gray_profile(), "is for GRAY")])
def test_profile_that_does_not_fit_is_left_out_and_said(tmp_path, profile, said):
    picture = read(tmp_path, photo("PNG", icc_profile=profile))
    assert picture.icc is None
    assert said in picture.warnings[0]


def test_lab_is_converted_by_its_profile(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB", 5000))
    flat = Image.new("RGB", (8, 8), (200, 120, 40))
    lab = ImageCms.profileToProfile(flat, ImageCms.createProfile("sRGB"), profile, outputMode="LAB")
    picture = read(tmp_path, saved(lab, "TIFF", icc_profile=profile.tobytes()))
    np.testing.assert_allclose(picture.rgb[0, :, 4, 4].numpy() * 255, (200, 120, 40), atol=4)
    assert picture.icc is None
    assert picture.warnings == ()


def test_profile_of_another_space_is_not_used_for_cmyk(tmp_path):
    ink = Image.new("CMYK", (8, 8), (10, 120, 200, 60))
    picture = read(tmp_path, saved(ink, "TIFF", icc_profile=SRGB))
    assert picture.icc is None
    assert "CMYK color profile cannot be used" in picture.warnings[0]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_resolution_turns_with_the_picture(tmp_path, kind, orientation):
    made = Image.Exif()
    made[0x0112] = orientation
    dpi = read(tmp_path, photo(kind, exif=made, dpi=(300, 150))).dpi
    assert dpi == pytest.approx((150, 300) if orientation == 6 else (300, 150), abs=0.02)


@pytest.mark.parametrize("dpi", [(0, 0), (1, 1), (10**8, 10**8)])
def test_resolution_that_says_nothing(tmp_path, dpi):
    assert read(tmp_path, photo("TIFF", dpi=dpi)).dpi is None


@LR_SUFFIXES
@pytest.mark.parametrize("gray", [False, True])
def test_lr_file_carries_everything(tmp_path, suffix, gray):
    original = full_picture(gray=gray, alpha=False)
    small = replace(original, gray=False)
    info = replace(INFO, gray=gray, width=2 * small.width, height=2 * small.height)
    path = tmp_path / f"photo.lr{suffix}"
    if suffix in (".jpg", ".avif"):
        path.write_bytes(Codec(format={".jpg": "jpeg", ".avif": "avif"}[suffix]).encode(small, info))
    else:
        path.write_bytes(encode_lr(small, info, suffix))
    back, read_info = read_lr(path)
    assert read_info == info
    assert (back.icc, back.exif, back.xmp) == (original.icc, original.exif, original.xmp)
    assert back.dpi == pytest.approx(original.dpi, abs=0.6)
    assert back.warnings == ()


def test_description_without_metadata_is_no_description(tmp_path):
    """The LR metadata, where they cannot be used, are not handed on as a description of the result."""
    path = tmp_path / "photo.lr.webp"
    path.write_bytes(encode_lr(full_picture(alpha=False), INFO, ".webp"))
    assert 0x010E not in loaded(read_picture(path).exif)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.png", ()),
        ("a.webp", ()),
        ("a.jpg", ("transparency",)),
        ("a.bmp", ("transparency", "color profile, EXIF and XMP")),
    ],
)
def test_what_a_format_cannot_hold_is_said(tmp_path, name, parts):
    lines = losses_of_format(full_picture(), tmp_path / name)
    assert len(lines) == len(parts)
    for line, part in zip(lines, parts, strict=True):
        assert line.startswith(f"{tmp_path / name}: ")
        assert part in line


def test_an_older_reader_finds_what_it_knows():
    """Files of version 1 that need no new field are byte for byte what they were."""
    picture = replace(full_picture(alpha=False), exif=None, xmp=None, dpi=None, icc=None)
    with Image.open(io.BytesIO(encode_lr(picture, INFO))) as image:
        assert image.info == {
            "hcd": '{"version":1,"model":"bicubic-x2","weights":"","scale":2,"width":85,"height":60,'
            '"latent":"zeros","gray":false}'
        }
    assert encode(picture, ".png").startswith(b"\x89PNG")
