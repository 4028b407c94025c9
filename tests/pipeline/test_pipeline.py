"""From a picture to an LR file and back, through real files."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from PIL import Image, ImageCms

import hcd
from hcd.errors import ImageError, MetadataError, ModelError
from hcd.files import write_atomically
from hcd.image import LRInfo, encode, encode_lr, read_lr, read_picture
from hcd.pipeline import Receiver, downscale_picture, upscale_picture

SIZES = pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 5), (33, 20), (64, 64)])


def write_lr(path, small):
    """The LR file on disk; returns its path."""
    write_atomically(path, encode_lr(small.picture, small.info, path.suffix))
    return path


def with_text(path, text):
    """Rewrite an LR file with another text for metadata."""
    path.write_bytes(encode(read_picture(path), path.suffix, comment=("hcd", text)))
    return path


def changed(path, **fields):
    """Rewrite an LR file with some of its metadata changed."""
    _, info = read_lr(path)
    return with_text(path, json.dumps({"version": 1, **asdict(info), **fields}))


def stripped(path):
    """Rewrite an LR file without metadata."""
    path.write_bytes(encode(read_picture(path), path.suffix))
    return path


@SIZES
@pytest.mark.parametrize(
    ("suffix", "name", "preset"), [(".png", "bicubic-x4", "fast"), (".webp", "bicubic-x2", "plain")]
)
def test_original_size_comes_back(tmp_path, make_picture, width, height, suffix, name, preset):
    model = hcd.load(name)
    original = make_picture(height, width)
    small = downscale_picture(original, model, preset)
    assert (small.picture.width, small.picture.height) == (-(-width // model.scale), -(-height // model.scale))
    restored = Receiver().restore(write_lr(tmp_path / f"photo.lr{suffix}", small))
    assert restored.rgb.shape == original.rgb.shape
    assert restored.alpha is None
    assert not restored.gray


@pytest.mark.parametrize(("width", "height", "preset"), [(1, 1, "fast"), (33, 20, "plain")])
def test_network_is_found_by_the_metadata(tmp_path, make_picture, shipped, width, height, preset):
    original = make_picture(height, width)
    small = downscale_picture(original, hcd.load("irn-x2"), preset)
    assert small.info.model == "irn-x2"
    assert len(small.info.weights) == 16
    restored = Receiver().restore(write_lr(tmp_path / "photo.lr.png", small))
    assert restored.rgb.shape == original.rgb.shape


@SIZES
@pytest.mark.parametrize("alpha", [False, True])
def test_gray_stays_gray_and_alpha_comes_back(tmp_path, make_picture, width, height, alpha):
    original = make_picture(height, width, gray=True, alpha=alpha)
    small = downscale_picture(original, hcd.load("bicubic-x2"), "plain")
    restored = Receiver().restore(write_lr(tmp_path / "photo.lr.png", small))
    assert restored.gray
    if alpha:
        assert restored.alpha.shape == original.alpha.shape
        assert (restored.alpha - original.alpha).abs().mean() < 0.15
    else:
        assert restored.alpha is None
    path = tmp_path / "restored.png"
    path.write_bytes(encode(restored, ".png"))
    with Image.open(path) as image:
        assert image.mode == ("LA" if alpha else "L")
        assert image.size == (width, height)


def test_opaque_and_transparent_regions_stay_so(tmp_path, make_picture):
    original = make_picture(32, 32, alpha=True)
    original.alpha[..., :16, :] = 0
    original.alpha[..., 16:, :] = 1
    small = downscale_picture(original, hcd.load("bicubic-x4"), "plain")
    restored = Receiver().restore(write_lr(tmp_path / "photo.lr.png", small))
    assert restored.alpha[..., :8, :].max() == 0
    assert restored.alpha[..., 24:, :].min() == 1


def test_color_profile_is_carried(tmp_path, make_picture):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    small = downscale_picture(make_picture(8, 8, icc=icc), hcd.load("bicubic-x2"), "plain")
    assert Receiver().restore(write_lr(tmp_path / "photo.lr.png", small)).icc == icc


def test_profile_of_a_gray_picture_does_not_end_up_on_a_color_file(tmp_path, make_picture):
    """The LR picture has three channels, so a profile for one channel would make it an invalid file."""
    gray_profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    gray_profile[16:20] = b"GRAY"
    original = make_picture(8, 8, gray=True, icc=bytes(gray_profile))
    path = write_lr(tmp_path / "photo.lr.png", downscale_picture(original, hcd.load("bicubic-x2"), "plain"))
    with Image.open(path) as image:
        assert image.mode == "RGB"
        assert image.info.get("icc_profile") is None


@pytest.mark.parametrize(
    ("size", "suffix", "preset"),
    [((33, 20), ".png", "fast"), ((33, 20), ".webp", "balanced"), ((48, 48), ".png", "paper")],
)
def test_reported_psnr_is_that_of_the_decoded_file(tmp_path, make_picture, shipped, size, suffix, preset):
    original = make_picture(*size)
    small = downscale_picture(original, hcd.load("irn-x2"), preset)
    assert small.result.grad_evals > 0
    restored = Receiver().restore(write_lr(tmp_path / f"photo.lr{suffix}", small))
    path = tmp_path / "restored.png"
    path.write_bytes(encode(restored, ".png"))
    psnr = hcd.psnr(read_picture(path).rgb, original.rgb, channel="rgb")
    assert small.result.psnr[0] == pytest.approx(psnr, abs=1e-4)


def test_reported_psnr_of_a_gray_picture_is_that_of_the_gray_file(tmp_path, make_picture, shipped):
    original = make_picture(32, 32, gray=True)
    small = downscale_picture(original, hcd.load("irn-x2"), "fast")
    path = tmp_path / "restored.png"
    path.write_bytes(encode(Receiver().restore(write_lr(tmp_path / "photo.lr.png", small)), ".png"))
    psnr = hcd.psnr(read_picture(path).rgb, original.rgb, channel="rgb")
    assert small.result.psnr[0] == pytest.approx(psnr, abs=1e-4)


def test_collaborative_file_restores_better_than_plain(tmp_path, make_picture, shipped):
    original, model, reached = make_picture(48, 48), hcd.load("irn-x2"), {}
    for preset in ("plain", "balanced"):
        path = write_lr(tmp_path / f"{preset}.png", downscale_picture(original, model, preset))
        reached[preset] = hcd.psnr(Receiver().restore(path).rgb, original.rgb, channel="rgb")
    assert reached["balanced"] > reached["plain"] + 0.1


def test_same_input_same_bytes(make_picture, shipped):
    files = []
    for _ in range(2):
        small = downscale_picture(make_picture(33, 20), hcd.load("irn-x2"), "fast")
        files.append(encode_lr(small.picture, small.info))
    assert files[0] == files[1]


def test_sixteen_bit_gray_goes_the_whole_way(tmp_path):
    path = tmp_path / "deep.png"
    samples = torch.arange(24 * 16).mul(150).reshape(24, 16).to(torch.uint16).numpy()
    Image.fromarray(samples).save(path)
    small = downscale_picture(read_picture(path), hcd.load("bicubic-x2"), "plain")
    restored = Receiver().restore(write_lr(tmp_path / "deep.lr.png", small))
    assert restored.gray
    assert (restored.width, restored.height) == (16, 24)


def test_progress_is_handed_on(make_picture):
    seen = []
    small = downscale_picture(
        make_picture(8, 8), hcd.load("bicubic-x2"), hcd.PRESETS["fast"].replace(steps_lr=3), on_evaluation=seen.append
    )
    assert [entry.step for entry in seen] == [1, 2, 3]
    assert small.result.history == tuple(seen)


def test_upscaling_without_information_is_scale_times_the_picture(make_picture):
    restored = upscale_picture(make_picture(5, 7, gray=True, alpha=True), hcd.load("bicubic-x4"))
    assert (restored.width, restored.height) == (28, 20)
    assert restored.alpha.shape == (1, 1, 20, 28)
    assert restored.gray


@pytest.fixture
def lr_file(tmp_path, make_picture, shipped):
    """An LR file of a tiny network that ships in these tests; the original has 33×20 pixels."""
    return write_lr(tmp_path / "photo.lr.png", downscale_picture(make_picture(20, 33), hcd.load("irn-x2"), "plain"))


def size(picture):
    return picture.width, picture.height


def refused(path, error):
    """The message with which a file is refused: one line that names the file."""
    with pytest.raises(error) as caught:
        Receiver().restore(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_unknown_model(lr_file):
    message = refused(changed(lr_file, model="irn-x3\n\x1b[2J"), ModelError)
    assert "not installed" in message
    assert "--model" in message
    assert "\x1b" not in message
    assert size(Receiver(model="bicubic-x2").restore(lr_file)) == (33, 20)


def test_model_whose_weights_do_not_ship(lr_file):
    assert "(none)" in refused(changed(lr_file, model="irn-x8", weights=""), ModelError)


def test_other_weights(lr_file, weights):
    message = refused(changed(lr_file, weights="f" * 16), ModelError)
    assert "f" * 16 in message
    assert "--weights" in message
    assert size(Receiver(model="irn-x2", weights=weights(2, seed=1)).restore(lr_file)) == (33, 20)


def test_weights_with_control_characters(lr_file):
    assert "\x1b" not in refused(changed(lr_file, weights="\x1b[2J\n"), ModelError)


def test_weights_file_of_ones_own(tmp_path, make_picture, weights):
    """Made with ``--weights``: found again only with ``--weights``."""
    own = weights(4, seed=3)
    small = downscale_picture(make_picture(20, 33), hcd.load("irn-x4", weights=own), "plain")
    path = write_lr(tmp_path / "photo.lr.png", small)
    refused(path, ModelError)
    restored = Receiver(model="irn-x4", weights=own).restore(path)
    torch.testing.assert_close(
        restored.rgb, upscale_picture(small.picture, hcd.load("irn-x4", weights=own), small.info).rgb
    )


def test_no_metadata(lr_file):
    assert "--model" in refused(stripped(lr_file), MetadataError)
    # Nothing says that the original was smaller than scale times the LR picture.
    assert size(Receiver(model="irn-x2").restore(lr_file)) == (34, 20)


def test_resized_after_writing(lr_file):
    with Image.open(lr_file) as image:
        text, smaller = image.info["hcd"], image.resize((9, 6))
    smaller.save(lr_file)
    path = with_text(lr_file, text)
    assert "resized" in refused(path, MetadataError)
    assert size(Receiver(model="irn-x2").restore(path)) == (18, 12)


def test_damaged_metadata(lr_file):
    path = with_text(lr_file, "not JSON")
    assert "not JSON" in refused(path, MetadataError)
    assert size(Receiver(model="irn-x2").restore(path)) == (34, 20)


@pytest.mark.parametrize("latent", ["", "ones", "gaussian:", "gaussian:-1", "gaussian:99999999999", "zeros\n\x1b[2J"])
def test_bad_latent(lr_file, latent):
    message = refused(changed(lr_file, latent=latent), MetadataError)
    assert "latent" in message
    assert "\x1b" not in message


@pytest.mark.parametrize("model", ["bicubic-x2", "irn-x2"])
def test_bad_latent_is_overridden(lr_file, model):
    """The remedy that the message names has to work."""
    assert size(Receiver(model=model).restore(changed(lr_file, latent="ones"))) == (33, 20)


def test_latent_of_the_file_is_the_one_that_is_used(lr_file):
    zeros = Receiver().restore(lr_file).rgb
    gaussian = Receiver().restore(changed(lr_file, latent="gaussian:3")).rgb
    assert not torch.equal(zeros, gaussian)
    picture, info = read_lr(lr_file)
    torch.testing.assert_close(
        gaussian, upscale_picture(picture, hcd.load("irn-x2", latent="gaussian:3"), info).rgb, rtol=0, atol=1e-6
    )


def test_scale_that_is_not_the_models(lr_file):
    path = changed(lr_file, model="bicubic-x4", weights="")
    assert "scale" in refused(path, MetadataError)


def test_model_of_another_scale_upscales_the_picture_as_it_is(lr_file):
    assert size(Receiver(model="bicubic-x4").restore(lr_file)) == (4 * 17, 4 * 10)


@pytest.mark.parametrize("override", [None, "bicubic-x2"])
def test_unreadable_file(tmp_path, override):
    path = tmp_path / "photo.lr.png"
    path.write_text("not a picture")
    with pytest.raises(ImageError, match=r"photo\.lr\.png"):
        Receiver(model=override).restore(path)


def test_unknown_override_fails_at_once():
    with pytest.raises(ModelError, match="Did you mean 'bicubic-x4'"):
        Receiver(model="bicubic-4")


def test_weights_alone_serve_the_files_that_were_made_with_them(tmp_path, make_picture, weights):
    """As with official checkpoints, which do not ship."""
    original, path, file = make_picture(21, 30), tmp_path / "photo.lr.png", weights(2)
    write_lr(path, downscale_picture(original, hcd.load("irn-x2", weights=file), "plain"))
    with pytest.raises(ModelError, match=r"photo\.lr\.png: .*not the installed ones"):
        Receiver(weights=weights(2, seed=1)).restore(path)
    restored = Receiver(weights=file).restore(path)
    assert (restored.height, restored.width) == (21, 30)
    assert torch.equal(restored.rgb, Receiver(model="irn-x2", weights=file).restore(path).rgb)


def test_given_model_takes_the_latent_that_its_weights_were_solved_with(tmp_path, make_picture, weights):
    file = weights(2)
    sender = hcd.load("irn-x2", weights=file, latent="gaussian:5")
    path = write_lr(tmp_path / "photo.lr.png", downscale_picture(make_picture(24, 24), sender, "plain"))
    restored = Receiver(model="irn-x2", weights=file).restore(path).rgb
    assert torch.equal(restored, Receiver(weights=file).restore(path).rgb)
    zeros = upscale_picture(read_lr(path)[0], hcd.load("irn-x2", weights=file), read_lr(path)[1]).rgb
    assert not torch.equal(restored, zeros)


def test_given_model_keeps_the_latent_of_its_weights(tmp_path, make_picture, shipped):
    """The latent is a policy of the weights: that of other weights would spoil the picture."""
    path = write_lr(tmp_path / "photo.lr.png", downscale_picture(make_picture(24, 24), hcd.load("irn-x2"), "plain"))
    wanted = Receiver().restore(path).rgb
    info = read_lr(path)[1]
    foreign = {"version": 1, **asdict(info), "weights": "0" * 16, "latent": "gaussian:0"}
    assert torch.equal(Receiver(model="irn-x2").restore(with_text(path, json.dumps(foreign))).rgb, wanted)


def test_info_is_that_of_the_original(make_picture):
    info = downscale_picture(make_picture(20, 33, gray=True), hcd.load("bicubic-x4"), "plain").info
    assert info == LRInfo(model="bicubic-x4", weights="", scale=4, width=33, height=20, latent="zeros", gray=True)
