"""Round trips of alpha, profiles, EXIF, depth and lossy files; metadata that are refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import skimage.data
import torch

import hcd
from hcd.errors import HcdError, ImageError, MetadataError, ModelError, OutputError, UsageError
from hcd.image import Codec, Picture, encode, encode_lr, fill_transparent, read_lr
from hcd.pipeline import Receiver, downscale_picture, upscale_picture
from tests.fuzz.memory import peak, start_peak
from tests.image.kinds import full_picture, gray_profile

CODECS = pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])


def round_trip(tmp_path, picture, suffix=".png", codec=None, preset="plain", **settings):
    """Downscale, write the file, and restore it: the LR picture, its bytes, and the restored picture."""
    small = downscale_picture(picture, hcd.load("bicubic-x2"), preset, codec=codec, **settings)
    path = tmp_path / f"photo.lr{suffix if codec is None else codec.suffix}"
    path.write_bytes(small.encode(suffix))
    return small, path.read_bytes(), Receiver().restore(path)


@pytest.mark.parametrize("depth", [8, 16])
def test_gray_keeps_its_profile(tmp_path, depth):
    original = full_picture(gray=True)
    _, _, back = round_trip(tmp_path, original, depth=depth)
    assert back.gray
    assert back.icc == original.icc == gray_profile()
    assert (back.exif, back.xmp) == (original.exif, original.xmp)


def test_gray_profile_that_is_too_long_is_said(make_picture):
    profile = gray_profile()[:128] + torch.randint(0, 256, (6000,), dtype=torch.uint8).numpy().tobytes()
    small = downscale_picture(make_picture(8, 8, gray=True, icc=profile), hcd.load("bicubic-x2"), "plain")
    assert "gray profile of 6128 bytes is left out" in small.picture.warnings[0]
    assert len(encode_lr(small.picture, small.info)) < 4000


@pytest.mark.parametrize("hidden", [0.0, 1.0])
def test_hidden_colors_do_not_bleed_into_visible_ones(tmp_path, hidden):
    rgb = torch.full((1, 3, 32, 32), 0.5)
    alpha = torch.ones(1, 1, 32, 32)
    alpha[..., 13:], rgb[..., 13:] = 0, hidden
    _, _, back = round_trip(tmp_path, Picture(rgb=rgb, alpha=alpha))
    # 0.5 is no multiple of 1/255.
    torch.testing.assert_close(back.rgb, torch.full_like(rgb, 128 / 255), rtol=0, atol=1e-6)
    assert (back.alpha - alpha)[..., 16:].abs().max() == 0


@CODECS
def test_metrics_of_a_lossy_file_are_those_of_the_file(tmp_path, make_picture, name):
    original, codec = make_picture(33, 41), Codec(format=name, quality=60)
    small, _, back = round_trip(tmp_path, original, codec=codec, preset="fast")
    assert small.psnr == pytest.approx(hcd.psnr(back.rgb, original.rgb, channel="rgb"), abs=1e-4)
    assert small.psnr >= small.plain_psnr
    assert (back.width, back.height) == (41, 33)


@pytest.mark.parametrize("gray", [False, True])
def test_metrics_of_a_lossy_file_with_alpha_are_those_of_the_file(tmp_path, make_picture, gray):
    """WebP's colors depend on the alpha beside them."""
    original = make_picture(40, 50, gray=gray, alpha=True)
    small, _, back = round_trip(tmp_path, original, codec=Codec(format="webp", quality=50), preset="fast")
    visible = fill_transparent(original.rgb, original.alpha)
    assert small.psnr == pytest.approx(hcd.psnr(back.rgb, visible, channel="rgb"), abs=1e-4)


def test_a_lossy_file_is_solved_for_and_takes_no_more_bytes(tmp_path):
    """More is restored from the file than from the plain one, and it is no larger."""
    rgb = torch.from_numpy(skimage.data.astronaut()[60:156, 170:298]).permute(2, 0, 1)[None].float() / 255
    original, codec = Picture(rgb=rgb), Codec(format="jpeg", quality=75)
    _, plain, _ = round_trip(tmp_path, original, codec=codec)
    small, solved, _ = round_trip(tmp_path, original, codec=codec, preset="balanced")
    assert small.psnr > small.plain_psnr + 0.2
    assert len(solved) < 1.02 * len(plain)


@CODECS
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 1)])
def test_the_smallest_pictures_as_lossy_files(tmp_path, make_picture, name, size):
    small, _, back = round_trip(tmp_path, make_picture(*size), codec=Codec(format=name, quality=5), preset="fast")
    assert (back.height, back.width) == size
    assert small.result.lr.isfinite().all()
    assert small.psnr >= small.plain_psnr


def test_no_codec_holds_sixteen_bits(make_picture):
    with pytest.raises(UsageError, match="depth 16: jpeg holds 8 bits per sample; use depth 8, or a lossless file"):
        downscale_picture(make_picture(8, 8), hcd.load("bicubic-x2"), "plain", depth=16, codec=Codec(format="jpeg"))


def test_transparency_is_refused_before_the_work(make_picture, monkeypatch):
    monkeypatch.setattr("hcd.pipeline.sender.collaborate", None)
    with pytest.raises(OutputError, match="transparency"):
        downscale_picture(make_picture(20, 20, alpha=True), hcd.load("bicubic-x2"), "fast", codec=Codec(format="jpeg"))


@CODECS
def test_plain_lossy_file_has_no_metrics(tmp_path, make_picture, name):
    small, _, back = round_trip(tmp_path, make_picture(20, 20, gray=True), codec=Codec(format=name))
    assert small.psnr is None
    assert back.gray


def test_sixteen_bits_restore_better_than_eight(tmp_path, make_picture, shipped):
    original = make_picture(48, 48)
    model = hcd.load("irn-x2")
    reached = {}
    for depth in (8, 16):
        small = downscale_picture(original, model, "fast", depth=depth)
        path = tmp_path / f"{depth}.lr.png"
        path.write_bytes(small.encode())
        back = Receiver().restore(path)
        assert back.depth == depth
        reached[depth] = hcd.psnr(back.rgb, original.rgb, channel="rgb")
        assert small.psnr == pytest.approx(reached[depth], abs=1e-3)
        assert small.psnr >= small.plain_psnr
    assert reached[16] > reached[8]


def test_depth_of_the_result_can_be_asked_for(tmp_path, make_picture):
    small, _, _ = round_trip(tmp_path, make_picture(9, 9))
    path = tmp_path / "photo.lr.png"
    assert encode_lr(small.picture, small.info) == path.read_bytes()
    deep = Receiver(depth=16).restore(path)
    assert deep.depth == 16
    assert ((deep.rgb * 255) % 1).std() > 0.1


def claiming(tmp_path, original, **fields):
    """An LR file whose metadata claim something else."""
    small = downscale_picture(original, hcd.load("bicubic-x2"), "plain")
    path = tmp_path / "photo.lr.png"
    text = json.dumps({"version": 1, **asdict(small.info), **fields})
    path.write_bytes(encode(small.picture, ".png", comment=("hcd", text)))
    return path


@pytest.mark.parametrize("scale", [10**5, 2**31, 10**12])
def test_a_giant_original_is_refused_before_anything_is_made(tmp_path, make_picture, scale):
    """One pixel may stand for any original, if its metadata name a scale to match."""
    path = claiming(tmp_path, make_picture(2, 2), scale=scale, width=scale, height=scale)
    with pytest.raises(MetadataError, match=r"stand for an original of .* more than the 179 megapixels.*--max-pixels"):
        Receiver().restore(path)
    assert Receiver(model="bicubic-x2").restore(path).width == 2


@pytest.mark.parametrize("size", [(10539, 30), (22, 6671)])
def test_a_ribbon_takes_memory_for_its_pixels_alone(size):
    """Found by fuzzing AVIF: resampling a very long side took gigabytes, and kept them."""
    picture = Picture(rgb=torch.full((1, 3, *size), 0.5), alpha=torch.ones(1, 1, *size))
    if not start_peak():
        pytest.skip("this system does not count peaks anew")
    before = peak()
    back = upscale_picture(picture, hcd.load("bicubic-x2"))
    assert (back.height, back.width) == (2 * size[0], 2 * size[1])
    assert peak() - before < 150 * 2**20


def test_max_pixels_bounds_the_original_and_the_result(tmp_path, make_picture):
    path = claiming(tmp_path, make_picture(20, 30))
    assert Receiver(max_pixels=600).restore(path).width == 30
    with pytest.raises(MetadataError, match="30×20 pixels"):
        Receiver(max_pixels=599).restore(path)
    path.write_bytes(encode(read_lr(path)[0], ".png"))
    with pytest.raises(ImageError, match="would become 60×40 pixels"):
        Receiver(model="bicubic-x4", max_pixels=2000).restore(path)


@pytest.mark.parametrize(
    "model",
    [
        "../../../../etc/passwd",
        "/etc/passwd",
        "spandrel:/etc/passwd",
        "spandrel:../weights.pth",
        "irn-x2/../../x",
        "irn-x2\0",
        "",
        ".",
        "x" * 3000,
        "bicubic-x2\n",
        "\u202egnp",
    ],
)
def test_model_names_of_an_attacker_name_no_file(tmp_path, make_picture, monkeypatch, model):
    path = claiming(tmp_path, make_picture(8, 8), model=model)
    monkeypatch.setattr("hcd.pipeline.receiver.load", None)  # nothing is loaded at all
    with pytest.raises((ModelError, MetadataError), match="--model") as caught:
        Receiver().restore(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"depth": 12},
        {"depth": "8"},
        {"depth": True},
        {"depth": None},
        {"icc": 3},
        {"description": ["x"]},
        {"width": float("nan")},
        {"height": float("inf")},
        {"width": 1e300},
        {"scale": 2.0},
    ],
)
def test_fields_that_cannot_be(tmp_path, make_picture, fields):
    with pytest.raises(MetadataError, match=r"damaged \("):
        Receiver().restore(claiming(tmp_path, make_picture(8, 8), **fields))


@pytest.mark.parametrize("text", ["!!!!", "AAAA", "eNoDAAAAAAE=", "x" * 1500])
def test_damaged_gray_profile_is_said_and_the_picture_rebuilt(tmp_path, make_picture, text):
    back = Receiver().restore(claiming(tmp_path, make_picture(8, 8, gray=True), icc=text))
    assert back.icc is None
    assert "gray profile" in back.warnings[0]


def test_profile_that_unpacks_to_megabytes(tmp_path, make_picture):
    import base64
    import zlib

    bomb = base64.b64encode(zlib.compress(bytes(2**20), 9)).decode()
    back = Receiver().restore(claiming(tmp_path, make_picture(8, 8, gray=True), icc=bomb))
    assert back.icc is None


def test_unknown_fields_mean_nothing(tmp_path, make_picture):
    path = claiming(tmp_path, make_picture(8, 8), codec={"a": [1]}, future="x")
    assert Receiver().restore(path).width == 8


def test_vanishing_file(tmp_path):
    with pytest.raises(HcdError, match="no such file"):
        Receiver().restore(tmp_path / "gone.png")


def test_visible_pixels_are_what_is_solved_for(make_picture):
    original = replace(make_picture(16, 16, alpha=True))
    original.alpha[..., :8] = 0
    small = downscale_picture(original, hcd.load("bicubic-x2"), hcd.PRESETS["fast"].replace(steps_lr=2))
    assert torch.equal(small.result.collaborative_hr, fill_transparent(original.rgb, original.alpha))
