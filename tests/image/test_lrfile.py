"""The LR file: pixels and information there and back, and every way its metadata can be wrong."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from hcd.errors import MetadataError, UsageError
from hcd.image import LRInfo, Picture, encode, encode_lr, read_lr
from tests.image.samples import noise, saved

INFO = LRInfo(model="irn-x4", weights="0123456789abcdef", scale=4, width=33, height=18, latent="gaussian:7", gray=True)
FIELDS = {"version": 1, **asdict(INFO)}
SUFFIXES = pytest.mark.parametrize("suffix", [".png", ".webp"])


def picture(height=5, width=9, *, alpha=False, icc=None):
    samples = torch.from_numpy(noise(height, width, 4).astype(np.float32) / 255).permute(2, 0, 1)[None]
    return Picture(rgb=samples[:, :3], alpha=samples[:, 3:] if alpha else None, icc=icc)


def written(tmp_path, text, suffix=".png"):
    """An LR file whose metadata are ``text``."""
    path = tmp_path / f"photo.lr{suffix}"
    path.write_bytes(encode(picture(), suffix, comment=("hcd", text)))
    return path


def refused(path):
    """The message with which a file is refused: one line that names the file and the way out."""
    with pytest.raises(MetadataError) as caught:
        read_lr(path)
    message = str(caught.value)
    assert str(path) in message
    assert "--model" in message
    assert "\n" not in message
    return message


@SUFFIXES
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("with_icc", [False, True])
def test_round_trip(tmp_path, icc, suffix, alpha, with_icc):
    original = picture(alpha=alpha, icc=icc if with_icc else None)
    path = tmp_path / f"photo.lr{suffix}"
    path.write_bytes(encode_lr(original, INFO, suffix))
    back, info = read_lr(path)
    assert info == INFO
    torch.testing.assert_close(back.rgb, original.rgb, rtol=0, atol=1e-6)
    assert (back.alpha is None) == (original.alpha is None)
    if alpha:
        torch.testing.assert_close(back.alpha, original.alpha, rtol=0, atol=1e-6)
    assert back.icc == original.icc


@SUFFIXES
@pytest.mark.parametrize("alpha", [False, True])
def test_any_viewer_opens_it(tmp_path, suffix, alpha):
    original = picture(alpha=alpha)
    path = tmp_path / f"photo.lr{suffix}"
    path.write_bytes(encode_lr(original, INFO, suffix))
    with Image.open(path) as image:
        assert image.format == suffix[1:].upper()
        assert image.mode == ("RGBA" if alpha else "RGB")
        samples = np.asarray(image)
    np.testing.assert_array_equal(samples, noise(5, 9, 4)[..., : 4 if alpha else 3])


def test_same_bytes_every_time():
    assert encode_lr(picture(), INFO) == encode_lr(picture(), INFO)


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".gif"])
def test_other_suffixes_are_refused(suffix):
    with pytest.raises(UsageError, match=r"\.png"):
        encode_lr(picture(), INFO, suffix)


_TEXT = st.text(max_size=60)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from([".png", ".webp"]),
    model=_TEXT,
    weights=_TEXT,
    latent=_TEXT,
    gray=st.booleans(),
    scale=st.integers(1, 300),
    width=st.integers(1, 1200),
    height=st.integers(1, 1200),
)
def test_every_information_survives(tmp_path, suffix, model, weights, latent, gray, scale, width, height):
    scale = max(scale, max(width, height) // 40)
    info = LRInfo(model=model, weights=weights, scale=scale, width=width, height=height, latent=latent, gray=gray)
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(encode_lr(picture(-(-height // scale), -(-width // scale)), info, suffix))
    assert read_lr(path)[1] == info


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG", "BMP", "TIFF"])
def test_a_file_without_metadata(tmp_path, kind):
    path = tmp_path / "photo"
    path.write_bytes(saved(Image.fromarray(noise(5, 9)), kind))
    back, info = read_lr(path)
    assert info is None
    assert (back.width, back.height) == (9, 5)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG", "TIFF"])
@pytest.mark.parametrize("description", ["a cat", "hcd", "hcdx {}", "HCD {}"])
def test_descriptions_of_others_are_left_alone(tmp_path, kind, description):
    exif = Image.Exif()
    exif[0x010E] = description
    path = tmp_path / "photo"
    path.write_bytes(saved(Image.fromarray(noise(5, 9)), kind, exif=exif))
    assert read_lr(path)[1] is None


def test_text_chunks_of_others_are_left_alone(tmp_path):
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Software", "hcd {}")
    path = tmp_path / "photo.png"
    path.write_bytes(saved(Image.fromarray(noise(5, 9)), "PNG", pnginfo=chunks))
    assert read_lr(path)[1] is None


@SUFFIXES
@pytest.mark.parametrize("text", ["", "not JSON", '{"version": 1', "{'version': 1}", "\x01", json.dumps(FIELDS)[:-1]])
def test_not_json(tmp_path, suffix, text):
    assert "not JSON" in refused(written(tmp_path, text, suffix))


@pytest.mark.parametrize("text", ["[]", "1", "null", '"text"', "true", "NaN"])
def test_not_an_object(tmp_path, text):
    assert "not a JSON object" in refused(written(tmp_path, text))


@pytest.mark.parametrize("missing", sorted(set(FIELDS) - {"depth"}))
def test_missing_field(tmp_path, missing):
    fields = {name: value for name, value in FIELDS.items() if name != missing}
    assert f"'{missing}'" in refused(written(tmp_path, json.dumps(fields)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("version", "scale", "width", "height") for value in (True, 4.0, "4", None, [4])),
        *((name, value) for name in ("model", "weights", "latent") for value in (1, None, ["irn-x4"], {"a": "b\nc"})),
        *(("gray", value) for value in (0, 1, "false", None)),
    ],
)
def test_wrong_type(tmp_path, name, value):
    assert f"'{name}' is {value!r}" in refused(written(tmp_path, json.dumps({**FIELDS, name: value})))


@pytest.mark.parametrize("name", ["version", "scale", "width", "height"])
@pytest.mark.parametrize("value", [0, -1, -(2**70)])
def test_numbers_must_be_positive(tmp_path, name, value):
    assert "positive" in refused(written(tmp_path, json.dumps({**FIELDS, name: value})))


@SUFFIXES
def test_huge_text(tmp_path, suffix):
    text = json.dumps({**FIELDS, "model": "x" * 20_000})
    message = refused(written(tmp_path, text, suffix))
    assert f"{len(text)} characters" in message
    assert len(message) < 1000


@pytest.mark.parametrize(
    "text", ["[" * 4000, '{"a":' * 800, "[" * 2000 + "]" * 2000], ids=["lists", "objects", "closed"]
)
def test_deep_nesting(tmp_path, text):
    refused(written(tmp_path, text))


@pytest.mark.parametrize("digits", [100, 3900])
def test_absurdly_large_numbers(tmp_path, digits):
    """Refused by the size of the picture, and nothing of that size is ever computed with or allocated."""
    refused(written(tmp_path, json.dumps({**FIELDS, "width": 10**digits})))


def test_later_version(tmp_path):
    assert "later hcd" in refused(written(tmp_path, json.dumps({**FIELDS, "version": 2, "scale": "changed"})))


@pytest.mark.parametrize("change", [{"width": 37}, {"width": 32}, {"height": 21}, {"scale": 8}, {"scale": 2}])
def test_metadata_that_contradict_the_picture(tmp_path, change):
    assert "resized" in refused(written(tmp_path, json.dumps({**FIELDS, **change})))


def test_every_size_that_pads_to_the_picture_is_accepted(tmp_path):
    for width in range(33, 37):
        assert read_lr(written(tmp_path, json.dumps({**FIELDS, "width": width})))[1] == replace(INFO, width=width)


@pytest.mark.parametrize("turn", [Image.Transpose.ROTATE_90, Image.Transpose.TRANSPOSE])
def test_picture_turned_by_another_program(tmp_path, turn):
    path = tmp_path / "photo.lr.png"
    path.write_bytes(encode_lr(picture(), INFO))
    chunks = PngImagePlugin.PngInfo()
    with Image.open(path) as image:
        chunks.add_itxt("hcd", image.info["hcd"])
        turned = image.transpose(turn)
    path.write_bytes(saved(turned, "PNG", pnginfo=chunks))
    assert "5×9 pixels" in refused(path)
