"""GRAIN's four official files: read in every form that they have, refused where they do not fit, written again."""

from __future__ import annotations

import pickle

import pytest
import torch

from hcd.errors import WeightsError
from hcd.nets.grain import GRAIN, GRAINConfig
from hcd.zoo.grain_files import GRAIN_FILES, hash_grain_folder, read_grain_folder, write_grain_folder
from tests import golden as gold
from tests.tiny_grain import make_tiny_net, tiny_config

RESCALING, CODES, FUSION, GENERATOR = GRAIN_FILES


def part(tensors, prefix):
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


@pytest.fixture
def tensors():
    return {key: tensor.clone() for key, tensor in make_tiny_net().state_dict().items()}


@pytest.fixture
def contents(tensors):
    """What the four files hold, as the official training program leaves it."""
    codes = part(tensors, "codeStyleGAN.")
    # The official program reads the generator from its own file and passes over the copy in here.
    codes = {key: torch.zeros_like(tensor) if key.startswith("decoder.") else tensor for key, tensor in codes.items()}
    opts = {"output_size": 64, "exp_dir": "runs/face", "learning_rate": 1e-4, "device": None, "resume": False}
    return {
        RESCALING: {"state_dict": part(tensors, "invRRDB."), "opts": opts},
        CODES: {"state_dict": codes, "opts": opts},
        FUSION: {"state_dict": part(tensors, "Fusion."), "opts": opts},
        GENERATOR: {"g_ema": part(tensors, "codeStyleGAN.decoder."), "latent_avg": tensors["latent_avg"]},
    }


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "official"


def save(folder, contents):
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        torch.save(content, folder / name)


def assert_same(got, wanted):
    assert got.keys() == wanted.keys()
    for key, tensor in wanted.items():
        assert got[key].dtype == torch.float32
        assert torch.equal(got[key], tensor), key


class TestRead:
    def test_official_form(self, folder, contents, tensors):
        save(folder, contents)
        checkpoint = read_grain_folder(folder)
        assert_same(checkpoint.tensors, tensors)
        assert checkpoint.path == folder
        assert checkpoint.metadata == {}
        assert checkpoint.weights_hash == hash_grain_folder(folder)
        GRAIN(tiny_config()).load_state_dict(dict(checkpoint.tensors), strict=True)

    def test_fine_tuning_form(self, folder, contents, tensors):
        for number, name in enumerate((RESCALING, CODES, FUSION), start=1):
            contents[name] = {f"state_dict{number}": contents[name]["state_dict"], "opts": {}}
        save(folder, contents)
        assert_same(read_grain_folder(folder).tensors, tensors)

    def test_fine_tuning_form_with_all_parts_in_each_file(self, folder, contents, tensors):
        names = (RESCALING, CODES, FUSION)
        together = {f"state_dict{i}": contents[name]["state_dict"] for i, name in enumerate(names, start=1)}
        save(folder, {**contents, **dict.fromkeys(names, together)})
        assert_same(read_grain_folder(folder).tensors, tensors)

    def test_bare_form(self, folder, contents, tensors):
        for name in (RESCALING, CODES, FUSION):
            contents[name] = contents[name]["state_dict"]
        save(folder, contents)
        assert_same(read_grain_folder(folder).tensors, tensors)

    def test_of_a_wrapped_module_and_in_half_precision(self, folder, contents, tensors):
        fusion = contents[FUSION]["state_dict"]
        contents[FUSION]["state_dict"] = {f"module.{key}": tensor.half() for key, tensor in fusion.items()}
        save(folder, contents)
        halves = {
            key: tensor.half().float() if key.startswith("Fusion.") else tensor for key, tensor in tensors.items()
        }
        assert_same(read_grain_folder(folder).tensors, halves)

    def test_without_a_copy_of_the_generator(self, folder, contents, tensors):
        codes = contents[CODES]["state_dict"]
        contents[CODES]["state_dict"] = {key: codes[key] for key in codes if key.startswith("encoder.")}
        save(folder, contents)
        assert_same(read_grain_folder(folder).tensors, tensors)

    def test_average_code_in_a_row(self, folder, contents, tensors):
        contents[GENERATOR]["latent_avg"] = contents[GENERATOR]["latent_avg"][None]
        save(folder, contents)
        assert_same(read_grain_folder(folder).tensors, tensors)


class TestRefused:
    def refuse(self, folder, contents, match):
        save(folder, contents)
        with pytest.raises(WeightsError, match=match):
            read_grain_folder(folder)

    def test_missing_files_are_all_named(self, folder, contents):
        del contents[FUSION], contents[GENERATOR]
        self.refuse(folder, contents, rf"official: lacks {FUSION}, {GENERATOR}; GRAIN needs a folder with the files")

    @pytest.mark.parametrize("read", [read_grain_folder, hash_grain_folder])
    def test_no_folder(self, folder, read):
        with pytest.raises(WeightsError, match=f"lacks {RESCALING}"):
            read(folder)

    CASES = (
        (RESCALING, "state_dict", "dec.trunk_conv32.weight"),
        (CODES, "state_dict", "encoder.styles.1.linear2.bias"),
        (FUSION, "state_dict", "out.4.weight"),
        (GENERATOR, "g_ema", "convs.3.noise.weight"),
    )

    @pytest.mark.parametrize(("name", "under", "key"), CASES)
    def test_shape(self, folder, contents, name, under, key):
        shape = contents[name][under][key].shape
        contents[name][under][key] = torch.zeros(5, 7)
        numbers = ", ".join(map(str, shape))
        match = rf"{name}: {key}: shape \(5, 7\), a GRAIN of size 64 needs \({numbers},?\)"
        self.refuse(folder, contents, match)

    @pytest.mark.parametrize(("name", "under", "key"), CASES)
    def test_tensor_missing(self, folder, contents, name, under, key):
        del contents[name][under][key]
        self.refuse(folder, contents, rf"{name}: {key}: missing; a GRAIN of size 64 needs it")

    @pytest.mark.parametrize(("name", "under", "key"), CASES)
    def test_tensor_too_many(self, folder, contents, name, under, key):
        contents[name][under][f"{key}s"] = torch.zeros(1)
        self.refuse(folder, contents, rf"{name}: {key}s: not part of a GRAIN of size 64")

    @pytest.mark.parametrize(("name", "under", "key"), CASES)
    @pytest.mark.parametrize("value", [torch.tensor([float("nan")]), torch.zeros(1, dtype=torch.int64)])
    def test_no_finite_numbers(self, folder, contents, name, under, key, value):
        contents[name][under][key] = value
        self.refuse(folder, contents, rf"{name}: {key}: holds values other than finite")

    @pytest.mark.parametrize(("name", "under", "key"), CASES)
    def test_no_tensor(self, folder, contents, name, under, key):
        contents[name][under][key] = "text"
        self.refuse(folder, contents, rf"{name}: '{key}': is not a tensor")

    def test_length_of_the_average_code(self, folder, contents):
        contents[GENERATOR]["latent_avg"] = torch.zeros(18, 12)
        match = rf"{GENERATOR}: latent_avg: shape \(18, 12\), a GRAIN of size 64 needs \(12,\)"
        self.refuse(folder, contents, match)

    @pytest.mark.parametrize("key", ["g_ema", "latent_avg"])
    def test_generator_file_without_its_parts(self, folder, contents, key):
        del contents[GENERATOR][key]
        self.refuse(folder, contents, f"{GENERATOR}: holds no 'g_ema' with 'latent_avg'")

    @pytest.mark.parametrize("content", [[1, 2], torch.zeros(2)])
    def test_no_dictionary(self, folder, contents, content):
        self.refuse(folder, {**contents, FUSION: content}, f"{FUSION}: holds a .*, needs a dictionary of tensors")

    @pytest.mark.parametrize("content", [{"state_dict": {}}, {"state_dict3": {}}, {}])
    def test_empty(self, folder, contents, content):
        self.refuse(folder, {**contents, FUSION: content}, f"{FUSION}: holds no tensors")

    def test_state_dict_that_is_none(self, folder, contents):
        self.refuse(folder, {**contents, CODES: {"state_dict": 3}}, f"{CODES}: its 'state_dict' is not a dictionary")

    def test_other_networks(self, folder):
        other = {"conv.weight": torch.zeros(3, 3)}
        contents = {**dict.fromkeys(GRAIN_FILES[:3], other), GENERATOR: {"g_ema": other, "latent_avg": torch.zeros(4)}}
        self.refuse(folder, contents, "the files hold no GRAIN weights")

    def test_nothing_of_a_file_is_executed(self, folder, contents, tmp_path):
        class Payload:
            def __reduce__(self):
                return (open, (str(tmp_path / "executed"), "w"))

        save(folder, contents)
        with (folder / FUSION).open("wb") as file:
            pickle.dump({"state_dict": Payload()}, file)
        with pytest.raises(WeightsError, match=f"{FUSION}: cannot be read as weights"):
            read_grain_folder(folder)
        assert not (tmp_path / "executed").exists()

    def test_cut_off_file(self, folder, contents):
        save(folder, contents)
        data = (folder / CODES).read_bytes()
        (folder / CODES).write_bytes(data[: len(data) // 2])
        with pytest.raises(WeightsError, match=f"{CODES}: cannot be read as weights"):
            read_grain_folder(folder)


class TestWrite:
    def test_is_read_back(self, folder, tensors):
        files = write_grain_folder(tensors, folder)
        assert [file.name for file in files] == list(GRAIN_FILES)
        assert_same(read_grain_folder(folder).tensors, tensors)

    def test_same_weights_same_hash(self, tmp_path, tensors):
        hashes = []
        for name in ("a", "b", "c"):
            if name == "c":
                tensors["Fusion.out.8.bias"] += 1
            write_grain_folder(tensors, tmp_path / name)
            hashes.append(hash_grain_folder(tmp_path / name))
        assert hashes[0] == hashes[1] != hashes[2]

    def test_other_networks_are_refused(self, folder):
        with pytest.raises(WeightsError, match="not written; the weights are not a GRAIN's"):
            write_grain_folder({"conv.weight": torch.zeros(1)}, folder)
        assert not folder.exists()

    def test_names_and_shapes_are_the_official_ones(self, golden, folder):
        with torch.device("meta"):
            empty = GRAIN(GRAINConfig()).state_dict()
        # One number for each tensor, seen at every place: files of the full size would take 330 MB.
        write_grain_folder({key: torch.zeros(1).expand(tensor.shape) for key, tensor in empty.items()}, folder)
        official = {}
        for entry in gold.spec(golden, "grain_x64")["tensors"]:
            official.setdefault(entry["file"], {})[entry["key"]] = tuple(entry["shape"])

        def written(name, under):
            content = torch.load(folder / name, weights_only=True)
            return {key: tuple(tensor.shape) for key, tensor in content[under].items()}

        assert written(RESCALING, "state_dict") == official["invRRDB"]
        assert written(CODES, "state_dict") == official["codeStyleGAN"]
        assert written(FUSION, "state_dict") == official["Fusion"]
        assert written(GENERATOR, "g_ema") == part(official["codeStyleGAN"], "decoder.")
        assert torch.load(folder / GENERATOR, weights_only=True)["latent_avg"].shape == (512,)
