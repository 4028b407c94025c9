"""Benchmark images: of folders, samples, and photographs with their reflections."""

from __future__ import annotations

import pytest
import skimage.data
import torch

from hcd.errors import ImageError, UsageError
from hcd.image import read_picture
from hcd_lab.bench import BenchmarkImage, every_nth, folder_images, sample_images
from hcd_lab.bench.images import mirrored_photographs
from tests.conftest import make_smooth_picture
from tests.hcd_lab.report.conftest import write_picture


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate(("bird", "head")):
        write_picture(tmp_path / "Set5" / f"{name}.png", seed=seed)
    return tmp_path / "Set5"


class TestFolder:
    def test_images_are_named_by_their_folder(self, folder):
        images = folder_images(folder)
        assert [image.label for image in images] == ["Set5/bird", "Set5/head"]
        assert torch.equal(images[0].read(), read_picture(folder / "bird.png").rgb)
        assert every_nth(images, 2) == images[:1]
        with pytest.raises(UsageError, match="every 0"):
            every_nth(images, 0)

    def test_digest_is_of_the_content(self, folder):
        bird, head = folder_images(folder, digests=True)
        assert bird.digest != head.digest
        (folder / "bird.png").rename(folder / "crow.png")
        crow, _ = folder_images(folder, digests=True)
        assert (crow.name, crow.digest) == ("crow", bird.digest)
        write_picture(folder / "crow.png", seed=9)
        assert folder_images(folder, digests=True)[0].digest != bird.digest

    def test_names_are_unique_and_printable(self, folder):
        write_picture(folder / "bird.bmp")
        write_picture(folder / "line\nbreak.png")
        names = [image.name for image in folder_images(folder)]
        assert names == ["bird.bmp", "bird.png", "head", "line\\nbreak"]

    def test_an_unreadable_picture_fails_when_it_is_read(self, folder):
        (folder / "album.png").mkdir()
        images = folder_images(folder, digests=True)
        assert [image.name for image in images] == ["album", "bird", "head"]
        with pytest.raises(ImageError):
            images[0].read()


class TestOriginal:
    def image(self, height, width, crop=None):
        return BenchmarkImage(dataset="Set5", name="bird", read=lambda: make_smooth_picture(height, width), crop=crop)

    def test_a_crop_is_the_center(self):
        picture = make_smooth_picture(61, 80)
        assert torch.equal(self.image(61, 80, crop=32).original(2), picture[..., 14:46, 24:56])

    def test_sides_are_multiples_of_the_scale(self):
        assert self.image(43, 50).original(4).shape[-2:] == (40, 48)
        assert self.image(90, 90, crop=45).original(4).shape[-2:] == (44, 44)

    def test_too_small(self):
        with pytest.raises(ImageError, match="Set5/bird: too small to evaluate at scale 4"):
            self.image(80, 18).original(4)


def test_samples():
    images = sample_images()
    pictures = [image.read() for image in images]
    assert [image.label for image in images] == ["samples/chelsea", "samples/coffee", "samples/astronaut"]
    assert [picture.shape for picture in pictures] == [(1, 3, 256, 256)] * 3
    assert all(0 <= picture.min() < 0.2 and 0.8 < picture.max() <= 1 for picture in pictures)
    assert len({image.digest for image in images}) == 3


def test_a_mosaic_has_any_size_in_whole_gray_levels():
    picture = mirrored_photographs(61, 1000)
    assert picture.shape == (1, 3, 61, 1000)
    assert 0 <= picture.min() < 0.2 < 0.8 < picture.max() <= 1
    torch.testing.assert_close((picture * 255).round() / 255, picture, rtol=0, atol=1e-6)


def test_a_tile_is_a_photograph_with_its_reflections():
    picture = mirrored_photographs(600, 900)
    photograph = torch.from_numpy(skimage.data.chelsea()[:300, :450].copy()).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(picture[..., :300, :450], photograph)
    torch.testing.assert_close(picture.flip(-1), picture)
    torch.testing.assert_close(picture.flip(-2), picture)


def test_the_next_tile_is_another_photograph():
    picture = mirrored_photographs(1200, 1800)
    tiles = [picture[..., :600, left : left + 900] for left in (0, 900)]
    assert float(tiles[0].mean()) != float(tiles[1].mean())
    torch.testing.assert_close(picture[..., 600:, :900], tiles[1])
