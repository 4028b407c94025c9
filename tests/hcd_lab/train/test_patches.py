"""Patches: which, where, how turned, and the LR that belongs to them."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from hcd.errors import TrainingError
from hcd.image import read_picture
from hcd.ops import resize_bicubic
from hcd_lab.train import Patches, picture_files

TURNS = range(8)


def turned(picture, turn):
    """One of the eight symmetries of the square."""
    picture = torch.rot90(picture, turn % 4, (-2, -1))
    return picture.flip(-1) if turn >= 4 else picture


def save_noise(path, width, height, seed=0):
    """A picture in which no two excerpts are the same."""
    samples = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(samples).save(path)
    return path


def excerpts(picture, side, step):
    """Every excerpt of ``[3, H, W]`` whose corner lies on a grid, by its corner."""
    height, width = picture.shape[-2:]
    return {
        (top, left): picture[:, top : top + side, left : left + side]
        for top in range(0, height - side + 1, step)
        for left in range(0, width - side + 1, step)
    }


def test_pictures_are_found_in_all_folders(data, files):
    assert len(files) == 5
    assert files == sorted(files)
    assert len(picture_files([data / "more"])) == 2
    assert picture_files([data, data / "more", data]) == files


def test_small_pictures_are_left_out(files):
    assert len(Patches(files, scale=2, smallest=14)) == 5
    assert len(Patches(files, scale=2, smallest=16)) == 4
    assert len(Patches(files, scale=2, smallest=40)) == 3
    # 17 pixels are 16 of a multiple of the scale.
    assert len(Patches(files, scale=4, smallest=17)) == 3


@pytest.mark.parametrize(("scale", "patch", "count"), [(2, 16, 1), (2, 16, 5), (4, 32, 3), (2, 8, 2)])
def test_batch_has_its_shapes_and_range(files, scale, patch, count):
    hr, lr = Patches(files, scale=scale, smallest=max(16, patch)).batch(count, patch, seed=0, step=0)
    assert hr.shape == (count, 3, patch, patch)
    assert lr.shape == (count, 3, patch // scale, patch // scale)
    assert hr.dtype == lr.dtype == torch.float32
    assert hr.is_contiguous(memory_format=torch.channels_last)
    assert hr.min() >= 0
    assert hr.max() <= 1
    torch.testing.assert_close((hr * 255).round() / 255, hr)


def test_batch_depends_on_seed_and_step_alone(files, patches):
    again = Patches(files, scale=2, smallest=16)
    again.batch(3, 16, seed=5, step=7)
    for seed, step in [(0, 0), (0, 1), (1, 0), (3, 10**6)]:
        first, second = patches.batch(4, 16, seed=seed, step=step), again.batch(4, 16, seed=seed, step=step)
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[1])


def test_other_steps_and_seeds_give_other_batches(patches):
    drawn = [patches.batch(4, 16, seed=seed, step=step)[0] for seed, step in [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2)]]
    for index, first in enumerate(drawn):
        assert not any(torch.equal(first, second) for second in drawn[index + 1 :])


@pytest.mark.parametrize("processes", [1, 2, 3, 6])
def test_parts_of_a_step_are_together_the_whole_batch(patches, processes):
    whole = patches.batch(6, 16, seed=2, step=9)
    parts = [patches.batch(6, 16, seed=2, step=9, part=(index, processes)) for index in range(processes)]
    assert all(len(hr) == len(lr) == 6 // processes for hr, lr in parts)
    for all_of_it, some in zip(whole, zip(*parts, strict=True), strict=True):
        # Patch i of the step is patch i // n of part i % n.
        together = torch.stack(some, dim=1).flatten(0, 1)
        assert torch.equal(together, all_of_it)


@pytest.mark.parametrize(("scale", "patch"), [(2, 8), (4, 16)])
def test_every_patch_is_an_excerpt_and_its_lr_the_same_one_turned_the_same_way(tmp_path, scale, patch):
    """Of pictures that are wider than high and higher than wide, whose sides are no multiples of the scale."""
    files = [save_noise(tmp_path / "a.png", 33, 26), save_noise(tmp_path / "b.png", 19, 35, seed=1)]
    known = {}
    for file in files:
        rgb = read_picture(file).rgb[0]
        height, width = (side - side % scale for side in rgb.shape[1:])
        rgb = rgb[:, :height, :width]
        # Bicubic of the whole picture, not of the patch: its borders know what lies beyond.
        small = resize_bicubic(rgb[None], Fraction(1, scale))[0]
        for (top, left), excerpt in excerpts(rgb, patch, scale).items():
            side = patch // scale
            lr = small[:, top // scale : top // scale + side, left // scale : left // scale + side]
            for turn in TURNS:
                known[turned(excerpt, turn).mul(255).round().byte().numpy().tobytes()] = turned(lr, turn)
    hr, lr = Patches(files, scale=scale, smallest=patch).batch(64, patch, seed=0, step=0)
    for patch_hr, patch_lr in zip(hr, lr, strict=True):
        key = patch_hr.mul(255).round().byte().contiguous().numpy().tobytes()
        assert key in known
        torch.testing.assert_close(patch_lr, known[key], rtol=0, atol=1e-3)  # kept in half precision


def test_all_eight_turns_occur_equally_often(tmp_path):
    upright = read_picture(save_noise(tmp_path / "square.png", 16, 16)).rgb[0]
    hr, _ = Patches([tmp_path / "square.png"], scale=2, smallest=16).batch(800, 16, seed=0, step=0)
    candidates = torch.stack([turned(upright, turn) for turn in TURNS]).flatten(1)
    same = torch.cdist(hr.flatten(1), candidates) < 1e-2
    assert bool(same.any(dim=1).all())
    assert same.sum(dim=0).min() > 60
    assert same.sum(dim=0).max() < 150


def test_patches_come_from_everywhere(tmp_path):
    """The grid of the LR is that of the crops, first and last position included."""
    columns = np.arange(24, dtype=np.uint8)[None, :, None].repeat(24, axis=0).repeat(3, axis=2)
    rows = columns.transpose(1, 0, 2)
    Image.fromarray(np.concatenate([columns[..., :1], rows[..., :2]], axis=2)).save(tmp_path / "ramps.png")
    hr, _ = Patches([tmp_path / "ramps.png"], scale=4, smallest=16).batch(200, 16, seed=0, step=0)
    corners = {(round(float(patch[0].min()) * 255), round(float(patch[1].min()) * 255)) for patch in hr}
    assert corners == {(left, top) for left in (0, 4, 8) for top in (0, 4, 8)}


def test_large_pictures_are_drawn_in_proportion_to_their_area(tmp_path):
    sizes = {"small": (16, 16), "medium": (32, 16), "large": (48, 48)}
    gray = {"small": 50, "medium": 150, "large": 250}
    files = []
    for name, size in sizes.items():
        files.append(tmp_path / f"{name}.png")
        Image.new("RGB", size, (gray[name],) * 3).save(files[-1])
    hr, _ = Patches(files, scale=2, smallest=16).batch(3000, 16, seed=0, step=0)
    drawn = Counter(round(float(value) * 255) for value in hr.mean(dim=(1, 2, 3)))
    area = sum(width * height for width, height in sizes.values())
    for name, (width, height) in sizes.items():
        share = width * height / area
        # Four standard deviations of a count.
        assert drawn[gray[name]] == pytest.approx(3000 * share, abs=4 * (3000 * share * (1 - share)) ** 0.5)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_every_mode_becomes_color(tmp_path, mode):
    file = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    Image.new("RGB", (16, 16), "white").convert(mode).save(file)
    hr, _ = Patches([file], scale=2, smallest=16).batch(1, 16, seed=0, step=0)
    assert hr.min() > 0.99


def test_no_picture_is_an_error_that_names_the_folders(tmp_path):
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(TrainingError, match="no picture in") as caught:
        picture_files([tmp_path, tmp_path / "nowhere"])
    assert str(tmp_path / "nowhere") in str(caught.value)


def test_no_picture_that_is_large_enough(tmp_path):
    Image.new("RGB", (15, 40)).save(tmp_path / "small.png")
    with pytest.raises(TrainingError, match="16×16 pixels"):
        Patches(picture_files([tmp_path]), scale=2, smallest=16)


def test_damaged_picture_is_named(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("not a picture")
    with pytest.raises((TrainingError, OSError), match=r"b\.png: "):
        Patches(picture_files([tmp_path]), scale=2, smallest=16)


def test_folder_with_a_picture_name_is_a_folder(tmp_path):
    (tmp_path / "photos.png").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "photos.png" / "a.png")
    assert picture_files([tmp_path]) == [tmp_path / "photos.png" / "a.png"]
