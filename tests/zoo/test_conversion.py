"""Official checkpoints ↔ this project's files: values, metadata, hashes, and files that are neither."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import hcd
from hcd.errors import UsageError, WeightsError
from hcd.zoo import FAMILIES, convert, encode_checkpoint, get_entry, hash_weights, read_checkpoint, read_metadata
from hcd.zoo.checkpoints import describe
from tests.zoo.samples import NAMES, tensors_of

families = pytest.mark.parametrize("family", FAMILIES)


def official(family, folder):
    """Weights of the family as its authors' program leaves them."""
    path = folder / ("grain" if family == "grain" else f"{family}.pth")
    FAMILIES[family].write_official(tensors_of(family), path)
    return path


@families
class TestThereAndBack:
    def test_values_are_the_same_to_the_bit(self, family, tmp_path):
        source, ours = official(family, tmp_path), tmp_path / "ours.safetensors"
        convert(source, ours)
        back = tmp_path / ("back" if family == "grain" else "back.pth")
        convert(ours, back, official=True)
        wanted = tensors_of(family)
        for tensors in (load_file(ours), FAMILIES[family].read(back).tensors):
            assert tensors.keys() == wanted.keys()
            assert all(torch.equal(tensors[name], tensor) for name, tensor in wanted.items())

    def test_both_files_give_the_same_pictures(self, family, tmp_path):
        source, ours = official(family, tmp_path), tmp_path / "ours.safetensors"
        convert(source, ours)
        a, b = hcd.load(NAMES[family], weights=source), hcd.load(NAMES[family], weights=ours)
        assert a.latent == b.latent
        hr = torch.rand(1, 3, *(a.hr_size or (24, 32)), generator=torch.Generator().manual_seed(0))
        lr = a.downscale(hr)
        assert torch.equal(lr, b.downscale(hr))
        assert torch.equal(a.upscale(lr), b.upscale(lr))

    def test_what_the_file_says_of_itself(self, family, tmp_path):
        source, ours = official(family, tmp_path), tmp_path / "ours.safetensors"
        done = convert(source, ours)
        said = read_metadata(ours)
        assert said["architecture"] == done.family == family
        assert said["scale"] == str(done.scale) == str(get_entry(NAMES[family]).scale)
        assert said["latent"] == done.latent == ("gaussian:0" if family == "irn" else "zeros")
        assert json.loads(said["network"]) == json.loads(json.dumps(done.settings))
        assert said["source"] == hash_weights(source)
        assert done.files == (ours,)
        assert done.tensors == len(tensors_of(family))

    def test_the_same_bytes_each_time_and_another_hash(self, family, tmp_path):
        source = official(family, tmp_path)
        hashes = set()
        for i in range(4):
            convert(source, tmp_path / f"{i}.safetensors")
            hashes.add(hash_weights(tmp_path / f"{i}.safetensors"))
        assert len(hashes) == 1
        assert hashes != {hash_weights(source)}

    def test_the_official_one_is_what_the_authors_read(self, family, tmp_path):
        ours = tmp_path / "ours.safetensors"
        save_file(tensors_of(family), ours, metadata={"latent": "zeros"})
        target = tmp_path / ("back" if family == "grain" else "back.pth")
        done = convert(ours, target, official=True)
        if family == "grain":
            assert sorted(path.name for path in done.files) == sorted(path.name for path in target.iterdir())
            return
        content = torch.load(target, weights_only=True)
        net = FAMILIES[family].layout(content).build()
        net.load_state_dict(content, strict=True)
        assert list(content) == list(net.state_dict())


class TestLatent:
    def test_what_the_official_format_cannot_record_is_told(self, tmp_path):
        ours = tmp_path / "ours.safetensors"
        save_file(tensors_of("irn"), ours, metadata={"latent": "zeros"})
        done = convert(ours, tmp_path / "IRN.pth", official=True)
        assert (done.latent, done.dropped_latent) == ("gaussian:0", "zeros")
        assert hcd.load("irn-x4", weights=tmp_path / "IRN.pth").latent == "gaussian:0"

    def test_nothing_is_told_where_nothing_is_lost(self, tmp_path):
        ours = tmp_path / "ours.safetensors"
        save_file(tensors_of("hcflow"), ours, metadata={"latent": "zeros"})
        assert convert(ours, tmp_path / "HCFlow.pth", official=True).dropped_latent == ""

    def test_asked_for(self, tmp_path):
        convert(official("irn", tmp_path), tmp_path / "ours.safetensors", latent="zeros")
        assert hcd.load("irn-x4", weights=tmp_path / "ours.safetensors").latent == "zeros"
        with pytest.raises(UsageError, match="RLFN has no latent to choose"):
            convert(official("rlfn", tmp_path), tmp_path / "ours.safetensors", latent="gaussian:1")


class TestOwnFiles:
    def test_what_they_said_is_kept(self, tmp_path):
        first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
        save_file(tensors_of("irn"), first, metadata={"latent": "gaussian:3", "recipe": "{}", "source": "abc"})
        convert(first, second)
        said = read_metadata(second)
        assert (said["latent"], said["recipe"], said["source"]) == ("gaussian:3", "{}", "abc")

    def test_half_precision_is_widened(self, tmp_path):
        halves = {name: tensor.half() for name, tensor in tensors_of("rlfn").items()}
        save_file(halves, tmp_path / "half.safetensors")
        convert(tmp_path / "half.safetensors", tmp_path / "wide.safetensors")
        wide = load_file(tmp_path / "wide.safetensors")
        assert all(torch.equal(wide[name], tensor.float()) for name, tensor in halves.items())
        assert {tensor.dtype for tensor in wide.values()} == {torch.float32}


class TestIsRefused:
    def test_a_file_that_fits_nothing_says_what_it_looks_like(self, tmp_path):
        path = tmp_path / "other.pth"
        torch.save({f"layer{i}.weight": torch.zeros(3, i) for i in range(1, 8)}, path)
        with pytest.raises(WeightsError) as caught:
            convert(path, tmp_path / "out.safetensors")
        message = str(caught.value)
        assert message.startswith(
            f"{path}: fits no known model (tried IRN, light network, HCFlow, GRAIN, RLFN); it holds 7 tensors: "
        )
        assert "layer1.weight (3, 1), layer2.weight (3, 2)" in message
        assert message.endswith(", …")
        assert not (tmp_path / "out.safetensors").exists()

    def test_names_with_control_characters_are_escaped(self):
        assert describe({"a\x1b[2J\n": torch.zeros(2)}) == r"it holds 1 tensor: a\x1b[2J\n (2,)"
        assert describe({}) == "it holds no tensors"

    def test_a_network_with_a_tensor_missing(self, tmp_path):
        tensors = tensors_of("rlfn")
        del tensors["conv_2.bias"]
        torch.save(tensors, tmp_path / "rlfn.pth")
        with pytest.raises(WeightsError, match=r"rlfn\.pth: conv_2\.bias: found nothing, an RLFN of 2 blocks"):
            convert(tmp_path / "rlfn.pth", tmp_path / "out.safetensors")

    @pytest.mark.slow
    def test_a_size_beyond_all_bounds(self, tmp_path):
        tensors = {f"operations.{i}.haar_weights": torch.zeros(1) for i in range(60)}
        tensors["operations.60.F.conv1.weight"] = torch.zeros(1)
        torch.save(tensors, tmp_path / "huge.pth")
        with pytest.raises(WeightsError, match=r"huge\.pth: claims to be an IRN of blocks \(0, 0, .*cannot be built"):
            convert(tmp_path / "huge.pth", tmp_path / "out.safetensors")

    def test_a_pickle_that_would_execute_code(self, tmp_path):
        class Trap:
            def __reduce__(self):
                return Path.touch, (tmp_path / "sprung",)

        torch.save({"conv_1.weight": Trap()}, tmp_path / "trap.pth")
        with pytest.raises(WeightsError, match="it is damaged, or a pickle of more than tensors") as caught:
            convert(tmp_path / "trap.pth", tmp_path / "out.safetensors")
        assert "weights_only" not in str(caught.value)
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize("name", ["out.pth", "out", "out.st"])
    def test_a_target_that_is_no_safetensors(self, tmp_path, name):
        with pytest.raises(UsageError, match=r"weights are written as \.safetensors"):
            convert(official("rlfn", tmp_path), tmp_path / name)

    def test_an_official_target_of_the_wrong_kind(self, tmp_path):
        with pytest.raises(UsageError, match=r"official RLFN weights are a pickled state_dict; name it ….pth"):
            convert(official("rlfn", tmp_path), tmp_path / "out.safetensors", official=True)
        with pytest.raises(UsageError, match=r"official GRAIN weights are a folder of 4 files"):
            convert(official("grain", tmp_path), tmp_path / "out.pth", official=True)

    def test_a_folder_of_something_else(self, tmp_path):
        with pytest.raises(WeightsError, match="GRAIN needs a folder with the files"):
            convert(tmp_path, tmp_path / "out.safetensors")


class TestEncodeCheckpoint:
    def test_reads_back(self, tmp_path):
        tensors = {"b": torch.rand(2, 3).T, "a": torch.rand(0), "c": torch.tensor(1.5)}
        path = tmp_path / "x.safetensors"
        path.write_bytes(encode_checkpoint(tensors, {"z": "ü", "a": '"1"'}))
        assert read_metadata(path) == {"a": '"1"', "z": "ü"}
        read = read_checkpoint(path).tensors
        assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())

    def test_the_order_of_the_metadata_does_not_matter(self):
        tensors = {"a": torch.ones(3)}
        said = {letter: letter for letter in "qwertyuiop"}
        first = encode_checkpoint(tensors, said)
        assert first == encode_checkpoint(tensors, dict(reversed(said.items())))
        assert hashlib.sha256(first).hexdigest() != hashlib.sha256(encode_checkpoint(tensors, {})).hexdigest()
