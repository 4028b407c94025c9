"""Lossy codecs: what is asked of them in a loop is what the receiver reads from the file."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from hcd.errors import ImageError, OutputError, ShapeError, UsageError
from hcd.image import CODECS, Codec, LRInfo, Picture, decode_lr, read_lr
from tests.conftest import make_smooth_picture

INFO = LRInfo(model="bicubic-x2", weights="", scale=2, width=95, height=80, latent="zeros")
EVERY = pytest.mark.parametrize("name", CODECS)


@pytest.fixture
def rgb():
    return make_smooth_picture(40, 48)


@EVERY
@pytest.mark.parametrize("quality", [30, 90])
def test_round_trip_is_what_the_receiver_decodes_from_the_file(tmp_path, rgb, name, quality):
    codec = Codec(format=name, quality=quality)
    decoded, size = codec.roundtrip(rgb)
    assert decoded.shape == rgb.shape
    assert decoded.dtype == rgb.dtype
    path = tmp_path / f"photo.lr{codec.suffix}"
    path.write_bytes(codec.encode(Picture(rgb=rgb), INFO))
    picture, info = read_lr(path)
    assert info == INFO
    assert torch.equal(picture.rgb, decoded)
    # The difference is the metadata.
    assert 0 < path.stat().st_size - size < 600
    with Image.open(path) as image:
        assert image.format == name.upper()


@EVERY
def test_more_quality_costs_more_and_errs_less(rgb, name):
    errors, sizes = [], []
    for quality in (20, 60, 95):
        decoded, size = Codec(format=name, quality=quality).roundtrip(rgb)
        errors.append(float((decoded - rgb).square().mean()))
        sizes.append(size)
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 2e-4


@EVERY
def test_same_picture_same_bytes(rgb, name):
    codec = Codec(format=name, quality=70)
    assert codec.encode(Picture(rgb=rgb), INFO) == codec.encode(Picture(rgb=rgb), INFO)
    assert codec == Codec(format=name, quality=70)
    assert hash(codec) == hash(Codec(format=name, quality=70))


@EVERY
def test_round_trip_gives_no_gradient_and_takes_tensors_that_want_one(rgb, name):
    decoded, _ = Codec(format=name).roundtrip(rgb.clone().requires_grad_())
    assert not decoded.requires_grad


@EVERY
def test_decoded_values_are_levels_of_eight_bits(rgb, name):
    decoded, _ = Codec(format=name).roundtrip(rgb * 1.4 - 0.2)
    torch.testing.assert_close((decoded * 255).round() / 255, decoded, rtol=0, atol=1e-6)
    assert decoded.min() >= 0
    assert decoded.max() <= 1


def test_subsampling_costs_color(rgb):
    color = rgb.clone()
    color[:, 0, :, ::2] = 1
    errors = [
        float((Codec(format="jpeg", quality=95, subsampling=kind).roundtrip(color)[0] - color).abs().mean())
        for kind in ("4:4:4", "4:2:2", "4:2:0")
    ]
    assert errors[0] < min(errors[1:]) / 2


@pytest.mark.parametrize("name", ["webp", "avif"])
def test_alpha_travels_with_the_picture(rgb, name):
    alpha = torch.linspace(0, 1, 48).expand(1, 1, 40, 48).contiguous()
    codec = Codec(format=name)
    back = codec.decode(codec.encode(Picture(rgb=rgb, alpha=alpha), INFO))
    assert (back.alpha - alpha).abs().mean() < 0.01
    assert torch.equal(codec.roundtrip(rgb, alpha)[0], back.rgb)


def test_jpeg_refuses_transparency_and_drops_an_opaque_alpha(rgb):
    codec = Codec(format="jpeg")
    with pytest.raises(OutputError, match=r"transparency, which JPEG cannot hold; use \.webp, \.avif or \.png"):
        codec.encode(Picture(rgb=rgb, alpha=torch.full((1, 1, 40, 48), 0.5)))
    opaque = codec.encode(Picture(rgb=rgb, alpha=torch.ones(1, 1, 40, 48)))
    assert codec.decode(opaque).alpha is None


@EVERY
def test_profile_is_carried(rgb, icc, name):
    codec = Codec(format=name)
    assert decode_lr(codec.encode(Picture(rgb=rgb, icc=icc), INFO), "photo")[0].icc == icc


@EVERY
def test_one_pixel(name):
    decoded, size = Codec(format=name).roundtrip(torch.full((1, 3, 1, 1), 0.5))
    assert decoded.shape == (1, 3, 1, 1)
    assert size > 0


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"format": "jpg"}, r"unknown codec 'jpg'\. Did you mean 'jpeg'\?"),
        ({"format": "png"}, "unknown codec"),
        ({"format": "jpeg", "quality": 0}, "quality 0"),
        ({"format": "jpeg", "quality": 101}, "quality 101"),
        ({"format": "webp", "subsampling": "4:4:4"}, "subsampling of webp"),
        ({"format": "jpeg", "subsampling": "4:1:1"}, "subsampling of jpeg"),
    ],
)
def test_settings_that_cannot_be(settings, match):
    with pytest.raises(UsageError, match=match):
        Codec(**settings)


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 3, 4, 4), (1, 1, 4, 4), (1, 3, 0, 4)])
def test_what_is_no_picture(shape):
    with pytest.raises(ShapeError, match="roundtrip"):
        Codec(format="jpeg").roundtrip(torch.zeros(shape))


@pytest.mark.parametrize(("name", "side"), [("webp", 16383), ("avif", 32768), ("jpeg", 65500)])
def test_longest_side(name, side):
    """What is written can be read: decoders of AVIF refuse sides that its encoder takes."""
    codec = Codec(format=name)
    assert codec.roundtrip(torch.zeros(1, 3, 1, side))[0].shape[-1] == side
    with pytest.raises(OutputError, match=f"{side + 1}×1 pixels do not fit"):
        codec.roundtrip(torch.zeros(1, 3, 1, side + 1))


@EVERY
def test_damage_is_an_image_error(rgb, name):
    codec = Codec(format=name)
    data = codec.encode(Picture(rgb=rgb))
    with pytest.raises(ImageError, match="LR file: "):
        codec.decode(data[: len(data) // 2])


def test_metadata_of_a_jpeg_survive_saving_it_again_with_its_exif(rgb):
    """As the programs do that keep metadata."""
    with Image.open(io.BytesIO(Codec(format="jpeg").encode(Picture(rgb=rgb), INFO))) as image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=80, exif=image.getexif())
    assert decode_lr(buffer.getvalue(), "photo")[1] == INFO
