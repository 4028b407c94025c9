"""``hcd convert``: official weights in, this project's out, and back."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.cli.checks import assert_one_line
from tests.zoo.samples import tensors_of


@pytest.fixture
def official(tmp_path):
    path = tmp_path / "official.pth"
    torch.save(tensors_of("rlfn"), path)
    return path


def test_there_and_back(hcd, official, tmp_path):
    ours, back = tmp_path / "ours.safetensors", tmp_path / "back.pth"
    result = hcd("convert", official, "-o", ours)
    assert result.exit_code == 0, result.output
    settings = "scale 2, channels 8, attention_channels 4, blocks 2"
    assert result.stdout == f"{official} → {ours}  RLFN ×2 ({settings}), {6 + 2 * 18} tensors, latent zeros\n"
    assert hcd("convert", ours, "-o", back, "--to", "official").exit_code == 0
    wanted, got = torch.load(official), torch.load(back)
    assert got.keys() == wanted.keys() == load_file(ours).keys()
    assert all(torch.equal(got[name], tensor) for name, tensor in wanted.items())


def test_a_latent_that_is_lost_is_told(hcd, tmp_path):
    source = tmp_path / "irn.safetensors"
    save_file(tensors_of("irn"), source, metadata={"latent": "zeros"})
    result = hcd("convert", source, "-o", tmp_path / "IRN.pth", "--to", "official")
    assert result.exit_code == 0
    assert "upscale best with zeros" in result.stderr
    result = hcd("convert", tmp_path / "IRN.pth", "-o", tmp_path / "again.safetensors", "--latent", "zeros")
    assert result.stdout.rstrip().endswith("latent zeros")
    assert result.stderr == ""


def test_a_converted_file_upscales_what_it_made(hcd, official, tmp_path, photo_file):
    """By its own hash: the official file that it was made of is another one."""
    ours, small, big = tmp_path / "ours.safetensors", tmp_path / "small.png", tmp_path / "big.png"
    assert hcd("convert", official, "-o", ours).exit_code == 0
    model = ("--model", "bicubic-rlfn-x2", "--preset", "plain")
    assert hcd("downscale", photo_file(), "-o", small, "--weights", ours, *model).exit_code == 0
    assert hcd("upscale", small, "-o", big, "--weights", ours).exit_code == 0
    assert_one_line(hcd("upscale", small, "-o", big, "--weights", official), 1, "not the installed ones")


def test_what_fits_nothing_is_described(hcd, tmp_path):
    torch.save({"a": torch.zeros(3, 2)}, tmp_path / "x.pth")
    result = hcd("convert", tmp_path / "x.pth", "-o", tmp_path / "x.safetensors")
    assert_one_line(result, 2, "x.pth: fits no known model (tried IRN", "it holds 1 tensor: a (3, 2)")


@pytest.mark.parametrize("out", ["x.pth", "folder"])
def test_a_name_for_the_other_kind(hcd, official, tmp_path, out):
    assert_one_line(hcd("convert", official, "-o", tmp_path / out), 2, out, "name it ….safetensors")
