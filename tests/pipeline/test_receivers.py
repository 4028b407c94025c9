"""LR files of models outside the registry; a file neither names nor leads to a path."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import hcd
from hcd.errors import MetadataError, ModelError
from hcd.image import encode_lr, read_lr
from hcd.pipeline import Receiver, downscale_picture, upscale_picture
from hcd.zoo import convert
from hcd.zoo.grain_files import write_grain_folder
from tests.zoo.packages import make_package
from tests.zoo.samples import make_net, tensors_of
from tests.zoo.test_upscalers import build


@pytest.fixture
def upscaler(tmp_path):
    path = tmp_path / "my models" / "compact.pth"
    path.parent.mkdir()
    torch.save(build("Compact").state_dict(), path)
    return path


@pytest.fixture
def send(tmp_path, make_picture):
    """``send(model, height, width, info)`` is an LR file of that model, parts of its information changed."""

    def write(model, height=20, width=33, info=None):
        small = downscale_picture(make_picture(height, width), model, "plain")
        path = tmp_path / "photo.lr.png"
        path.write_bytes(encode_lr(small.picture, replace(small.info, **(info or {}))))
        return path

    return write


class TestSpandrel:
    def test_a_file_says_no_path(self, upscaler, send):
        path = send(hcd.load(f"spandrel:{upscaler}"))
        info = read_lr(path)[1]
        assert (info.model, info.weights) == ("spandrel-compact-x2", hcd.load(f"spandrel:{upscaler}").weights_hash)
        assert b"compact.pth" not in path.read_bytes()
        assert b"my models" not in path.read_bytes()

    def test_the_given_weights_are_found_by_their_hash(self, upscaler, send):
        model = hcd.load(f"spandrel:{upscaler}")
        path = send(model)
        wanted = upscale_picture(*_swap(read_lr(path), model)).rgb
        assert torch.equal(Receiver(weights=upscaler).restore(path).rgb, wanted)
        assert torch.equal(Receiver(model=f"spandrel:{upscaler}").restore(path).rgb, wanted)

    def test_without_them_the_error_says_how(self, upscaler, send):
        path = send(hcd.load(f"spandrel:{upscaler}"))
        weights = read_lr(path)[1].weights
        with pytest.raises(
            ModelError, match=rf"'spandrel-compact-x2' with weights {weights}; give the weights file of "
        ):
            Receiver().restore(path)

    def test_other_weights_are_not_taken(self, upscaler, send, tmp_path):
        path = send(hcd.load(f"spandrel:{upscaler}"))
        torch.save(build("Compact", num_conv=3).state_dict(), tmp_path / "other.pth")
        with pytest.raises(ModelError, match="--model spandrel:FILE or --weights FILE"):
            Receiver(weights=tmp_path / "other.pth").restore(path)

    @pytest.mark.parametrize("weights", ["", "0123456789abcdef"])
    def test_a_path_in_a_file_is_not_followed(self, upscaler, send, monkeypatch, weights):
        path = send(hcd.load(f"spandrel:{upscaler}"), info={"model": f"spandrel:{upscaler}", "weights": weights})
        monkeypatch.setattr("hcd.pipeline.receiver.load", None)  # nothing is loaded at all
        with pytest.raises(ModelError, match=r"made by model 'spandrel:.*', which is not installed"):
            Receiver().restore(path)

    def test_not_even_with_weights_at_hand(self, upscaler, send):
        model = hcd.load(f"spandrel:{upscaler}")
        path = send(model, info={"model": f"spandrel:{upscaler}"})
        with pytest.raises(ModelError, match="which is not installed"):
            Receiver(weights=upscaler).restore(path)

    def test_another_scale_in_the_file(self, upscaler, send):
        path = send(hcd.load(f"spandrel:{upscaler}"), info={"scale": 4, "width": 68, "height": 40})
        with pytest.raises(MetadataError, match=r"scale 4, but its model 'spandrel:.*' has 2"):
            Receiver(weights=upscaler).restore(path)


class TestPackages:
    @pytest.fixture
    def acme(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(make_package(tmp_path, "acme", "acme-x3 = acme:Block"))
        return hcd.load("acme-x3")

    def test_the_file_finds_it(self, acme, send):
        path = send(acme)
        wanted = upscale_picture(*_swap(read_lr(path), acme)).rgb
        assert torch.equal(Receiver().restore(path).rgb, wanted)

    def test_other_weights(self, acme, send):
        path = send(acme, info={"weights": "fedcba9876543210"})
        with pytest.raises(ModelError, match="with weights fedcba9876543210, which are not the installed ones"):
            Receiver().restore(path)

    def test_not_installed_any_more(self, acme, send, monkeypatch):
        path = send(acme)
        monkeypatch.undo()
        with pytest.raises(ModelError, match="made by model 'acme-x3', which is not installed"):
            Receiver().restore(path)


@pytest.mark.slow
class TestGrain:
    def test_round_trip_with_a_folder_and_with_a_file(self, tmp_path, send):
        folder, file = tmp_path / "grain", tmp_path / "grain.safetensors"
        write_grain_folder(make_net("grain").state_dict(), folder)
        convert(folder, file)
        for weights, other in ((folder, file), (file, folder)):
            path = send(hcd.load("grain-x16", weights=weights), 256, 256)
            restored = Receiver(weights=weights).restore(path)
            assert (restored.height, restored.width) == (256, 256)
            with pytest.raises(ModelError, match="which are not the installed ones"):
                Receiver(weights=other).restore(path)


def test_rlfn_round_trip(tmp_path, send):
    weights = tmp_path / "rlfn.pth"
    torch.save(tensors_of("rlfn"), weights)
    path = send(hcd.load("bicubic-rlfn-x2", weights=weights))
    restored = Receiver(weights=weights).restore(path)
    assert (restored.height, restored.width) == (20, 33)
    with pytest.raises(ModelError, match="which are not the installed ones"):
        Receiver().restore(path)


def _swap(read, model):
    picture, info = read
    return picture, model, info
