"""Every family of networks: its weights are told from others', checked tensor by tensor, and compute the same."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

import hcd
from hcd.errors import ModelError, UsageError, WeightsError
from hcd.zoo import FAMILIES, convert, get_entry, model_entries
from hcd.zoo.grain_files import write_grain_folder
from tests import golden as gold
from tests.nets import hcflow_samples
from tests.zoo.samples import NAMES, make_net, tensors_of

families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture
def save(tmp_path):
    """``save(tensors, **metadata)`` is a ``.safetensors`` file."""

    def write(tensors, **metadata):
        path = tmp_path / "weights.safetensors"
        save_file(tensors, path, metadata=metadata)
        return path

    return write


def test_every_entry_has_a_family_of_its_scale_or_needs_no_weights():
    for entry in model_entries():
        assert (entry.family is None) == (entry.architecture == "bicubic")
        assert entry.name.removesuffix("-small").endswith(f"-x{entry.scale}")
    assert {entry.architecture for entry in model_entries()} == {*FAMILIES, "bicubic"}


@families
def test_reads_its_own_and_no_other(family):
    tensors = tensors_of(family)
    told = [name for name, candidate in FAMILIES.items() if candidate.layout(tensors) is not None]
    assert told == [family]
    assert FAMILIES[family].layout(tensors).scale == get_entry(NAMES[family]).scale


@families
def test_the_layout_builds_a_network_of_these_shapes(family):
    tensors = tensors_of(family)
    state = FAMILIES[family].layout(tensors).build().state_dict()
    assert {name: tensor.shape for name, tensor in state.items()} == {
        name: tensor.shape for name, tensor in tensors.items()
    }


@families
def test_loads_and_computes_what_the_network_does(family, save):
    net = make_net(family)
    wanted = FAMILIES[family].rescaler(net, name="x", weights_hash="", latent=FAMILIES[family].official_latent)
    model = hcd.load(NAMES[family], weights=save(tensors_of(family)))
    assert (model.name, model.scale) == (NAMES[family], get_entry(NAMES[family]).scale)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    hr = torch.rand(1, 3, *(model.hr_size or (32, 40)), generator=torch.Generator().manual_seed(0))
    lr = model.downscale(hr)
    assert torch.equal(lr, wanted.downscale(hr))
    torch.testing.assert_close(model.upscale(lr), wanted.upscale(lr), rtol=0, atol=1e-6)


class TestLatent:
    @pytest.mark.parametrize(("family", "latent"), [("irn", "gaussian:0"), ("hcflow", "zeros")])
    def test_of_official_weights(self, family, latent, save):
        assert hcd.load(NAMES[family], weights=save(tensors_of(family))).latent == latent

    @pytest.mark.parametrize("family", ["irn", "hcflow"])
    def test_of_the_file_unless_asked_for(self, family, save):
        path = save(tensors_of(family), latent="gaussian:5")
        assert hcd.load(NAMES[family], weights=path).latent == "gaussian:5"
        assert hcd.load(NAMES[family], weights=path, latent="zeros").latent == "zeros"

    @pytest.mark.parametrize("family", ["grain", "rlfn"])
    def test_of_families_without(self, family, save):
        path = save(tensors_of(family))
        assert hcd.load(NAMES[family], weights=path, latent="zeros").latent == "zeros"
        with pytest.raises(UsageError, match=rf"latent 'gaussian:0': {FAMILIES[family].title} has no latent"):
            hcd.load(NAMES[family], weights=path, latent="gaussian:0")


class TestDoesNotFit:
    def refused(self, family, path, match):
        with pytest.raises(WeightsError, match=match) as caught:
            hcd.load(NAMES[family], weights=path)
        assert str(caught.value).startswith(f"{path}: ")

    @families
    def test_a_tensor_less(self, family, save):
        tensors = tensors_of(family)
        for name in (list(tensors)[-1], list(tensors)[len(tensors) // 2]):
            kept = {key: tensor for key, tensor in tensors.items() if key != name}
            self.refused(family, save(kept), "found nothing|holds")

    @families
    def test_another_shape(self, family, save):
        tensors = tensors_of(family)
        name = [name for name, tensor in tensors.items() if tensor.ndim == 4][-2]
        tensors[name] = tensors[name][..., :1].contiguous().repeat(1, 1, 1, 7)
        self.refused(family, save(tensors), "found shape|holds no")

    @families
    def test_a_tensor_more(self, family, save):
        tensors = tensors_of(family) | {"ghost.weight": torch.zeros(2)}
        self.refused(family, save(tensors), r"ghost\.weight: not part of an? ")

    @families
    def test_another_family(self, family, save):
        other = "irn" if family != "irn" else "rlfn"
        self.refused(
            family, save(tensors_of(other)), f"holds no {FAMILIES[family].title} weights, which '{NAMES[family]}' needs"
        )

    @pytest.mark.parametrize(("family", "name"), [("grain", "grain-x64"), ("rlfn", "bicubic-rlfn-x4")])
    def test_another_scale(self, family, name, save):
        path = save(tensors_of(family))
        scale = get_entry(NAMES[family]).scale
        with pytest.raises(WeightsError, match=rf"of scale {scale}, '{name}' needs {get_entry(name).scale}"):
            hcd.load(name, weights=path)

    def test_filters_that_are_not_haars(self, save):
        tensors = tensors_of("hcflow")
        tensors["flow.layers.0.haar_weights"] *= 2
        self.refused("hcflow", save(tensors), "not those of the Haar transform")


class TestWithoutWeights:
    @pytest.mark.parametrize("name", ["grain-x16", "grain-x64", "bicubic-rlfn-x2", "bicubic-rlfn-x4"])
    def test_the_error_says_where_official_ones_are(self, name):
        with pytest.raises(ModelError, match=rf"{name}: no weights ship.*--weights FILE.*https://github\.com/"):
            hcd.load(name)

    def test_a_folder_where_weights_are_a_folder(self):
        with pytest.raises(ModelError, match=r"give a folder with invRRDB_model\.pt"):
            hcd.load("grain-x64")


class TestGrainFolder:
    def test_the_official_files(self, tmp_path):
        net = make_net("grain")
        write_grain_folder(net.state_dict(), tmp_path / "grain")
        model = hcd.load("grain-x16", weights=tmp_path / "grain")
        assert model.hr_size == (256, 256)
        assert len(model.weights_hash) == 16
        loaded = model.net.state_dict()
        assert all(torch.equal(loaded[name], tensor) for name, tensor in net.state_dict().items())

    def test_an_empty_folder(self, tmp_path):
        with pytest.raises(WeightsError, match=r"lacks invRRDB_model\.pt, codeStyleGAN_model\.pt"):
            hcd.load("grain-x16", weights=tmp_path)


class TestGoldenHCFlow:
    """From an official file and from what it is converted to."""

    @pytest.mark.parametrize("prefix", ["", "module."])
    def test_outputs(self, golden, tmp_path, prefix):
        path, converted = tmp_path / "HCFlow.pth", tmp_path / "hcflow.safetensors"
        state = hcflow_samples.golden_state_dict(golden)
        torch.save({prefix + name: tensor for name, tensor in state.items()}, path)
        convert(path, converted)
        arrays = gold.arrays(golden, "hcflow_x4")
        for weights in (path, converted):
            model = hcd.load("hcflow-x4", weights=weights)
            lr = model.downscale(gold.picture(arrays["a_hr_u8"]))
            hr = model.upscale(gold.picture(arrays["a_lr_u8"]))
            assert float((lr - gold.batch(arrays["a_lr_noclamp"])).abs().max()) < 5e-5
            assert float((hr - gold.batch(arrays["a_up_eps0_noclamp"])).abs().max()) < 5e-5


@pytest.mark.slow
class TestOfficialRLFN:
    """The figures of the paper, measured on the LR file as everything is."""

    @pytest.mark.parametrize(
        ("scale", "benchmark", "published"),
        [(4, "Set5", 32.24), (4, "Set14", 28.62), (2, "Set5", 38.07)],
    )
    def test_published_figures(self, upscalers_folder, benchmarks_folder, scale, benchmark, published):
        from hcd.evaluate import evaluate_folder

        model = hcd.load(f"bicubic-rlfn-x{scale}", weights=upscalers_folder / f"rlfn_x{scale}.pth")
        report = evaluate_folder(benchmarks_folder / benchmark, model, {"plain": hcd.PRESETS["plain"]})
        assert report.mean()["plain"]["psnr_y"] == pytest.approx(published, abs=0.02)

    @pytest.mark.parametrize("size", [(1, 1), (3, 9), (14, 60), (15, 15)])
    def test_small_pictures(self, upscalers_folder, size):
        model = hcd.load("bicubic-rlfn-x4", weights=upscalers_folder / "rlfn_x4.pth")
        gray = torch.full((1, 3, *size), 0.5)
        hr = model.upscale(gray)
        assert hr.shape == (1, 3, 4 * size[0], 4 * size[1])
        assert float((hr - 0.5).abs().max()) < 0.1
