"""Names and weights → rescalers: official checkpoints, this project's files, defaults, unknown names."""

from __future__ import annotations

import hashlib
import re

import pytest
import torch
from safetensors.torch import save_file

import hcd
from hcd.errors import ModelError, UsageError, WeightsError
from hcd.nets import IRN
from hcd.ops import gaussian_field
from hcd.zoo import get_entry, model_entries, read_metadata, registry, shipped_hash
from tests import golden as gold
from tests.conftest import make_tiny_irn

SHIPPED = [entry.name for entry in model_entries() if entry.weights_file is not None]


def save_official(path, tensors, prefix=""):
    torch.save({prefix + key: tensor for key, tensor in tensors.items()}, path)
    return path


@pytest.fixture
def tiny_state():
    """State of a tiny ×4 IRN."""
    return {key: tensor.contiguous() for key, tensor in make_tiny_irn(4).net.state_dict().items()}


class TestOfficialCheckpoints:
    @pytest.mark.parametrize("prefix", ["", "module."])
    @pytest.mark.parametrize("name", ["irn-x2", "irn-x4"])
    def test_golden_outputs(self, golden, tmp_path, name, prefix):
        variant = name.replace("-", "_")
        path = save_official(tmp_path / f"{variant}.pth", gold.state_dict(golden, variant), prefix)
        arrays = gold.arrays(golden, variant)
        model = hcd.load(name, weights=path, latent="zeros")
        assert (model.name, model.scale) == (name, int(name[-1]))
        lr = model.downscale(gold.picture(arrays["a_hr_u8"]))
        hr = model.upscale(gold.picture(arrays["a_lr_u8"]))
        assert float((lr - gold.batch(arrays["a_lr"])).abs().max()) < 2e-5
        assert float((hr - gold.batch(arrays["a_up_z0"])).abs().max()) < 2e-5

    def test_the_default_latent_is_noise_of_seed_0(self, golden, tmp_path):
        path = save_official(tmp_path / "IRN_x2.pth", gold.state_dict(golden, "irn_x2"))
        model = hcd.load("irn-x2", weights=path)
        assert model.latent == "gaussian:0"
        lr = gold.picture(gold.arrays(golden, "irn_x2")["a_lr_u8"])
        net = IRN((8,))
        net.load_state_dict(gold.state_dict(golden, "irn_x2"))
        wanted = net.requires_grad_(False).inverse(torch.cat([lr, gaussian_field(0, 9, *lr.shape[-2:])[None]], dim=1))
        torch.testing.assert_close(model.upscale(lr), wanted, rtol=0, atol=1e-5)

    def test_half_precision_is_widened(self, tmp_path, tiny_state):
        halves = {key: tensor.half() for key, tensor in tiny_state.items()}
        model = hcd.load("irn-x4", weights=save_official(tmp_path / "half.pth", halves))
        assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}

    def test_the_older_file_format(self, tmp_path, tiny_state):
        path = tmp_path / "old.pth"
        torch.save(tiny_state, path, _use_new_zipfile_serialization=False)
        assert hcd.load("irn-x4", weights=path).scale == 4

    def test_the_depth_is_read_from_the_file(self, tmp_path):
        path = save_official(tmp_path / "deep.pth", IRN((2, 3)).state_dict())
        assert hcd.load("irn-x4", weights=path).net.blocks == (2, 3)


class TestOwnFiles:
    def test_the_latent_is_that_of_the_metadata(self, tmp_path, tiny_state):
        for latent in ("zeros", "gaussian:12"):
            path = tmp_path / f"{latent.partition(':')[0]}.safetensors"
            save_file(tiny_state, path, metadata={"latent": latent})
            assert hcd.load("irn-x4", weights=path).latent == latent
            assert hcd.load("irn-x4", weights=path, latent="gaussian:3").latent == "gaussian:3"

    def test_weights_and_hash_are_those_of_the_file(self, tmp_path, tiny_state):
        path = tmp_path / "tiny.safetensors"
        save_file(tiny_state, path, metadata={"latent": "zeros"})
        model = hcd.load("irn-x4", weights=str(path))
        assert model.weights_hash == hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        loaded = model.net.state_dict()
        assert loaded.keys() == tiny_state.keys()
        assert all(torch.equal(loaded[key], tensor) for key, tensor in tiny_state.items())

    def test_a_bad_latent_in_the_metadata_names_the_file(self, tmp_path, tiny_state):
        path = tmp_path / "odd.safetensors"
        save_file(tiny_state, path, metadata={"latent": "ones"})
        with pytest.raises(WeightsError, match=r"odd\.safetensors.*ones"):
            hcd.load("irn-x4", weights=path)

    def test_a_latent_asked_for_makes_the_metadata_idle(self, tmp_path, tiny_state):
        path = tmp_path / "odd.safetensors"
        save_file(tiny_state, path, metadata={"latent": "ones"})
        assert hcd.load("irn-x4", weights=path, latent="zeros").latent == "zeros"


class TestShipped:
    def test_what_the_project_trained_is_there(self):
        names = {"irn-x2", "irn-x4", "irn-x8", "irn-x2-small", "irn-x4-small", "hcflow-x4", "light-x4"}
        assert names <= set(SHIPPED)
        for name in SHIPPED:
            assert get_entry(name).card
            assert "plain" in get_entry(name).metrics["Set5"]

    @pytest.mark.parametrize("name", SHIPPED)
    def test_loads_under_its_own_name(self, name):
        model = hcd.load(name)
        entry = get_entry(name)
        assert (model.name, model.scale) == (name, entry.scale)
        assert (
            model.weights_hash == shipped_hash(name) == hashlib.sha256(entry.weights_file.read_bytes()).hexdigest()[:16]
        )
        assert model.latent == read_metadata(entry.weights_file)["latent"]

    def test_loading_draws_no_random_numbers(self):
        before = torch.random.get_rng_state()
        hcd.load("irn-x4-small")
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_its_repr_says_what_it_is(self):
        model = hcd.load("irn-x4-small", latent="gaussian:7")
        described = f"irn-x4-small, scale=4, weights={model.weights_hash[:8]}…, latent=gaussian:7"
        assert repr(model).splitlines()[1].strip() == described
        assert repr(hcd.load("bicubic-x2")) == "BicubicRescaler(bicubic-x2, scale=2, latent=zeros)"

    def test_a_name_without_weights_says_what_to_do(self, monkeypatch, tmp_path):
        # An empty folder stands for a version that ships nothing.
        monkeypatch.setattr("hcd.zoo.registry._WEIGHTS_FOLDERS", (tmp_path,))
        with pytest.raises(ModelError, match=r"irn-x4-small.*no weights ship.*--weights FILE"):
            hcd.load("irn-x4-small")

    @pytest.mark.parametrize("name", ["irn-x2", "irn-x4", "irn-x8", "irn-x2-small", "hcflow-x4"])
    def test_weights_of_a_package_that_is_not_installed(self, monkeypatch, tmp_path, name):
        monkeypatch.setattr("hcd.zoo.registry._WEIGHTS_FOLDERS", (tmp_path,))
        remedy = "its weights are in the package hcd-weights, which is not installed; pip install 'hcd[weights]'"
        with pytest.raises(ModelError, match=re.escape(f"{name}: {remedy}")):
            hcd.load(name)

    def test_what_the_core_ships_is_not_missed(self, monkeypatch):
        core = registry._WEIGHTS_FOLDERS[:1]
        monkeypatch.setattr("hcd.zoo.registry._WEIGHTS_FOLDERS", core)
        for entry in model_entries():
            assert (entry.weights_file is None) == (entry.name not in SHIPPED or entry.apart)
            assert (entry.missing is not None) == entry.apart


class TestArguments:
    @pytest.mark.parametrize(
        ("wrong", "nearest"), [("irnx4", "irn-x4"), ("bicubic_x2", "bicubic-x2"), ("IRN-x8", "irn-x8")]
    )
    def test_an_unknown_name_lists_the_known_ones_and_the_nearest(self, wrong, nearest):
        with pytest.raises(ModelError) as caught:
            hcd.load(wrong)
        message = str(caught.value)
        assert f"unknown model '{wrong}'. Did you mean '{nearest}'?" in message
        assert all(entry.name in message for entry in model_entries())

    def test_a_name_like_no_other_has_no_nearest(self):
        with pytest.raises(ModelError, match=r"unknown model 'zzz'\. Known: bicubic-rlfn-x2"):
            hcd.load("zzz")

    def test_bicubic_has_no_weights(self, tmp_path):
        with pytest.raises(UsageError, match="bicubic-x4: has no weights"):
            hcd.load("bicubic-x4", weights=tmp_path / "x.pth")

    @pytest.mark.parametrize(
        "latent", ["one", "gaussian", "gaussian:-1", "gaussian:4294967296", "gaussian:٣", "zeros ", ""]
    )
    def test_an_unknown_latent(self, tmp_path, tiny_state, latent):
        path = save_official(tmp_path / "tiny.pth", tiny_state)
        with pytest.raises(UsageError, match=r"use zeros or gaussian:SEED"):
            hcd.load("irn-x4", weights=path, latent=latent)

    @pytest.mark.parametrize("name", ["bicubic-x2", *SHIPPED])
    def test_ready_to_use(self, name):
        model = hcd.load(name)
        assert not model.training
        assert not [key for key, parameter in model.named_parameters() if parameter.requires_grad]
