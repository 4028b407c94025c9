"""Patches: which, where, how turned, and the LR that belongs to them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from hcd.errors import TrainingError
from hcd.ops import resize_bicubic
from hcd.train import Patches


def test_pictures_are_found_in_all_folders_and_small_ones_left_out(data, patches):
    assert len(patches) == 4
    assert len(Patches([data / "more"], scale=2, patch=16)) == 2
    assert len(Patches([data], scale=2, patch=40)) == 3


@pytest.mark.parametrize(("scale", "patch", "count"), [(2, 16, 1), (2, 16, 5), (4, 32, 3)])
def test_batch_has_its_shapes_and_range(data, scale, patch, count):
    hr, lr = Patches([data], scale=scale, patch=patch).batch(count, seed=0, step=0)
    assert hr.shape == (count, 3, patch, patch)
    assert lr.shape == (count, 3, patch // scale, patch // scale)
    assert hr.dtype == lr.dtype == torch.float32
    assert hr.min() >= 0
    assert hr.max() <= 1
    torch.testing.assert_close((hr * 255).round() / 255, hr)


def test_batch_depends_on_seed_and_step_alone(data, patches):
    again = Patches([data], scale=2, patch=16)
    again.batch(3, seed=5, step=7)
    for seed, step in [(0, 0), (0, 1), (1, 0), (3, 10**6)]:
        first, second = patches.batch(4, seed=seed, step=step), again.batch(4, seed=seed, step=step)
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[1])
    assert not torch.equal(patches.batch(4, seed=0, step=0)[0], patches.batch(4, seed=0, step=1)[0])
    assert not torch.equal(patches.batch(4, seed=0, step=0)[0], patches.batch(4, seed=1, step=0)[0])


@pytest.mark.parametrize(("scale", "patch", "border"), [(2, 32, 3), (4, 32, 3)])
def test_lr_is_the_bicubic_lr_of_the_same_patch_turned_the_same_way(data, scale, patch, border):
    """But for the border, where the LR patch knows what lies outside, and for half precision."""
    patches = Patches([data], scale=scale, patch=patch)
    for step in range(16):
        hr, lr = patches.batch(2, seed=0, step=step)
        inside = (..., slice(border, -border), slice(border, -border))
        expected = resize_bicubic(hr, Fraction(1, scale))
        torch.testing.assert_close(lr[inside], expected[inside], rtol=0, atol=1e-3)


def test_all_eight_turns_occur_and_nothing_else(tmp_path):
    samples = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(samples).save(tmp_path / "square.png")
    upright = torch.from_numpy(samples).permute(2, 0, 1) / 255
    turned = [torch.rot90(upright, turns, (1, 2)) for turns in range(4)]
    turned += [picture.flip(2) for picture in turned]
    hr, _ = Patches([tmp_path], scale=2, patch=16).batch(100, seed=0, step=0)
    seen = [[torch.allclose(patch, candidate) for candidate in turned].index(True) for patch in hr]
    assert set(seen) == set(range(8))


def test_patches_come_from_everywhere(tmp_path):
    """The grid of the LR is that of the crops, first and last position included."""
    columns = np.arange(24, dtype=np.uint8)[None, :, None].repeat(24, axis=0).repeat(3, axis=2)
    rows = columns.transpose(1, 0, 2)
    Image.fromarray(np.concatenate([columns[..., :1], rows[..., :2]], axis=2)).save(tmp_path / "ramps.png")
    hr, _ = Patches([tmp_path], scale=4, patch=16).batch(200, seed=0, step=0)
    corners = {(round(float(patch[0].min()) * 255), round(float(patch[1].min()) * 255)) for patch in hr}
    assert corners == {(left, top) for left in (0, 4, 8) for top in (0, 4, 8)}


def test_large_pictures_are_drawn_more_often(tmp_path):
    Image.new("RGB", (16, 16), "white").save(tmp_path / "small.png")
    Image.new("RGB", (48, 48), "black").save(tmp_path / "large.png")
    hr, _ = Patches([tmp_path], scale=2, patch=16).batch(1000, seed=0, step=0)
    assert float((hr.mean(dim=(1, 2, 3)) > 0.5).float().mean()) == pytest.approx(0.1, abs=0.04)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_every_mode_becomes_color(tmp_path, mode):
    suffix = ".tif" if mode == "CMYK" else ".png"
    Image.new("RGB", (16, 16), "white").convert(mode).save(tmp_path / f"picture{suffix}")
    hr, _ = Patches([tmp_path], scale=2, patch=16).batch(1, seed=0, step=0)
    assert hr.min() > 0.99


def test_no_picture_is_an_error_that_names_the_folders(tmp_path):
    Image.new("RGB", (15, 40)).save(tmp_path / "small.png")
    with pytest.raises(TrainingError, match="16×16 pixels in") as caught:
        Patches([tmp_path, tmp_path / "nowhere"], scale=2, patch=16)
    assert str(tmp_path / "nowhere") in str(caught.value)


def test_damaged_picture_is_named(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("not a picture")
    with pytest.raises((TrainingError, OSError), match=r"b\.png: "):
        Patches([tmp_path], scale=2, patch=16)


def test_folder_with_a_picture_name_is_a_folder(tmp_path):
    (tmp_path / "photos.png").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "photos.png" / "a.png")
    assert len(Patches([tmp_path], scale=2, patch=16)) == 1
