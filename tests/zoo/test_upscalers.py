"""``spandrel:FILE``: weights made by spandrel's own architectures, from seeds, and files that are none."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import hcd
from hcd.collab import fit_solving
from hcd.errors import MissingDependencyError, ShapeError, UsageError, WeightsError
from hcd.nets.cpu.conv2d import FreezableConv2d
from hcd.zoo.torchvision_operators import import_torchvision

# Architecture, its parameters, and the scale.
MODELS = {
    "Compact": ({"num_feat": 8, "num_conv": 2, "upscale": 2}, 2),
    "SPAN": ({"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8, "upscale": 4}, 4),
    "ESRGAN": ({"num_filters": 8, "num_blocks": 1, "scale": 4}, 4),
    "SwinIR": (
        {
            "img_size": 16,
            "window_size": 8,
            "depths": [2],
            "embed_dim": 12,
            "num_heads": [2],
            "upscale": 2,
            "upsampler": "pixelshuffledirect",
        },
        2,
    ),
}


def build(architecture, **changes):
    import_torchvision()
    network = getattr(importlib.import_module(f"spandrel.architectures.{architecture}"), architecture)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SwinIR uses a deprecated signature
        return network(**(MODELS[architecture][0] if architecture in MODELS else {}) | changes).eval()


@pytest.fixture
def save(tmp_path):
    """``save("SPAN", upscale=2)`` is a file with weights of that architecture."""

    def write(architecture, name="weights.pth", **changes):
        path = tmp_path / name
        torch.save(build(architecture, **changes).state_dict(), path)
        return path

    return write


def random_picture(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


class TestLoads:
    @pytest.mark.parametrize("architecture", MODELS)
    def test_with_the_models_own_scale(self, architecture, save):
        path, scale = save(architecture), MODELS[architecture][1]
        model = hcd.load(f"spandrel:{path}")
        assert (model.name, model.scale) == (f"spandrel-{architecture.lower()}-x{scale}", scale)
        assert model.weights_hash == hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        assert (model.latent, model.training) == ("zeros", False)
        assert not any(parameter.requires_grad for parameter in model.parameters())
        lr = random_picture(1, 3, 16, 24)
        torch.testing.assert_close(model.upscale(lr), build(architecture)(lr), rtol=0, atol=1e-6)

    @pytest.mark.parametrize("kind", ["safetensors", "params_ema", "module.", "params in a file of training"])
    def test_files_as_training_programs_leave_them(self, kind, tmp_path):
        state = build("Compact").state_dict()
        path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pth")
        if kind == "safetensors":
            save_file(state, path)
        elif kind == "module.":
            torch.save({f"module.{key}": tensor for key, tensor in state.items()}, path)
        elif kind == "params_ema":
            torch.save({"params_ema": state}, path)
        else:
            torch.save({"iter": 7, "params": state}, path)
        assert hcd.load(f"spandrel:{path}").name == "spandrel-compact-x2"

    @pytest.mark.parametrize("size", [(1, 9), (13, 22)])
    @pytest.mark.parametrize("architecture", MODELS)
    def test_any_size_as_spandrel_itself_calls_it(self, architecture, size, save):
        import_torchvision()
        import spandrel

        path, scale = save(architecture), MODELS[architecture][1]
        lr = random_picture(1, 3, *size)
        hr = hcd.load(f"spandrel:{path}").upscale(lr)
        assert hr.shape == (1, 3, scale * size[0], scale * size[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = spandrel.ModelLoader().load_from_file(path)(lr)
        torch.testing.assert_close(hr.clamp(0, 1), theirs, rtol=0, atol=1e-6)

    def test_half_precision_where_the_model_supports_it(self, save):
        model = hcd.load(f"spandrel:{save('Compact')}").half()
        assert model.upscale(random_picture(1, 3, 8, 8).half()).dtype == torch.float16
        model = hcd.load(f"spandrel:{save('SwinIR')}").half()
        with pytest.raises(ShapeError, match=r"'spandrel-swinir-x2' runs in torch\.float32, torch\.float64, torch\.b"):
            model.upscale(random_picture(1, 3, 8, 8).half())

    def test_the_method_gains(self, save, photo):
        model = hcd.load(f"spandrel:{save('Compact')}")
        result = hcd.collaborate(photo, model, "fast")
        losses = [entry.loss for entry in result.history]
        assert min(losses) < 0.98 * losses[0]


class TestFastConvolutions:
    """Networks of many channels, which they are meant for; pictures large enough to use all of them."""

    WIDE: ClassVar = {
        "Compact": {"num_feat": 24},
        "SPAN": {"feature_channels": 24},
        "ESRGAN": {"num_filters": 24},
        "SwinIR": {},
    }

    @pytest.mark.parametrize("architecture", WIDE)
    def test_values_and_gradients_are_those_of_the_plain_network(self, architecture, save):
        changes = MODELS[architecture][0] | self.WIDE[architecture]
        model, plain = hcd.load(f"spandrel:{save(architecture, **changes)}"), build(architecture, **changes)
        assert any(type(module) is FreezableConv2d for module in model.modules())
        assert model.upscaler.state_dict().keys() == plain.state_dict().keys()
        results = []
        for upscale in (model.upscale, plain):
            sample = random_picture(1, 3, 24, 32).requires_grad_()
            hr = upscale(sample)
            (gradient,) = torch.autograd.grad(hr.square().sum(), sample)
            with torch.no_grad():
                results.append((hr.detach(), gradient, upscale(sample)))
        for made, expected in zip(*results, strict=True):
            assert (made - expected).norm() < 1e-4 * expected.norm()

    @pytest.mark.parametrize("odd", ["results differ", "fails"])
    def test_what_is_odd_is_left_alone(self, odd, save, monkeypatch):
        def fail(conv, x):
            raise ValueError("not of this size")

        wrong = {"results differ": lambda conv, x: nn.Conv2d.forward(conv, x + 1), "fails": fail}
        with monkeypatch.context() as patched:
            patched.setattr(FreezableConv2d, "forward", wrong[odd])
            model = hcd.load(f"spandrel:{save('Compact')}")
        assert not any(type(module) is FreezableConv2d for module in model.modules())
        lr = random_picture(1, 3, 16, 24)
        torch.testing.assert_close(model.upscale(lr), build("Compact")(lr), rtol=0, atol=1e-6)

    def test_memory_is_counted(self, save):
        model, hr = hcd.load(f"spandrel:{save('Compact')}"), random_picture(1, 3, 64, 64)
        assert fit_solving(hr, model, steps_hr=0, steps_lr=1) is model


class TestIsRefused:
    def refused(self, path, match):
        with pytest.raises(WeightsError, match=match) as caught:
            hcd.load(f"spandrel:{path}")
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message

    def test_scale_one(self, save):
        self.refused(save("Compact", upscale=1), "a Compact model for Restoration at ×1; needs super-resolution")

    def test_a_denoiser(self, save):
        self.refused(save("DnCNN", in_nc=3, out_nc=3), "a DnCNN model for Restoration")

    @pytest.mark.parametrize(("kind", "purpose"), [("face", "FaceSR"), ("mask", "Inpainting")])
    def test_other_purposes(self, save, monkeypatch, kind, purpose):
        import_torchvision()
        import spandrel

        load = spandrel.ModelLoader.load_from_state_dict

        def relabeled(self, state):
            model = load(self, state)
            if kind == "face":
                model._purpose = purpose
                return model
            return SimpleNamespace(architecture=model.architecture, purpose=purpose, scale=1)

        monkeypatch.setattr(spandrel.ModelLoader, "load_from_state_dict", relabeled)
        self.refused(save("Compact"), f"a Compact model for {purpose} at ×.; needs super-resolution")

    def test_gray(self, save):
        self.refused(save("Compact", num_in_ch=1, num_out_ch=1), "from 1 to 1 channels; needs 3 and 3, RGB")

    def test_unknown(self, tmp_path):
        path = tmp_path / "other.pth"
        torch.save({"a.weight": torch.zeros(2, 3), "b": torch.zeros(1)}, path)
        self.refused(path, r"of no architecture that spandrel 0\..* it holds 2 tensors: a\.weight \(2, 3\), b \(1,\)")

    def test_an_architecture_that_then_does_not_fit(self, save):
        path = save("SPAN")
        state = torch.load(path)
        state["block_3.c1_r.sk.weight"] = torch.zeros(5, 5, 1, 1)
        torch.save(state, path)
        self.refused(path, "spandrel cannot build it")

    @pytest.mark.parametrize("content", [[torch.zeros(1)], {}, {"a": 3}, {"a": {"b": {}}}, 7], ids=str)
    def test_no_tensors(self, tmp_path, content):
        torch.save(content, tmp_path / "x.pth")
        self.refused(tmp_path / "x.pth", "holds no named tensors")

    def test_numbers_that_are_none(self, save):
        path = save("Compact")
        state = torch.load(path)
        state["body.0.weight"][0, 0, 0, 0] = float("nan")
        torch.save(state, path)
        self.refused(path, r"body\.0\.weight: holds numbers that are not finite")

    def test_absent(self, tmp_path):
        self.refused(tmp_path / "absent.pth", "no such weights file")

    @pytest.mark.parametrize("suffix", ["pth", "pt", "ckpt", "bin"])
    def test_a_pickle_that_would_execute_code(self, tmp_path, suffix):
        class Trap:
            def __reduce__(self):
                return Path.touch, (tmp_path / "sprung",)

        path = tmp_path / f"trap.{suffix}"
        torch.save({"a": torch.zeros(1), "b": Trap()}, path)
        self.refused(path, "it is damaged, or a pickle of more than tensors")
        assert not (tmp_path / "sprung").exists()

    def test_weights_or_a_latent_beside_it(self, save):
        path = save("Compact")
        with pytest.raises(UsageError, match=r"brings its own weights; leave other\.pth out"):
            hcd.load(f"spandrel:{path}", weights="other.pth")
        with pytest.raises(UsageError, match="got latent 'gaussian:0', has only 'zeros'; leave it out"):
            hcd.load(f"spandrel:{path}", latent="gaussian:0")
        assert hcd.load(f"spandrel:{path}", latent="zeros").scale == 2

    def test_without_the_extra(self, save, monkeypatch):
        path = save("Compact")
        monkeypatch.setitem(sys.modules, "spandrel", None)
        with pytest.raises(MissingDependencyError, match=r"pip install 'hcd\[spandrel\]'"):
            hcd.load(f"spandrel:{path}")


@pytest.mark.slow
class TestTorchvision:
    """In processes of their own: a module is imported once."""

    def run(self, code):
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    def test_it_imports_whatever_the_build(self):
        code = """
import torch
from hcd.zoo.torchvision_operators import import_torchvision
import_torchvision()
import_torchvision()
import spandrel, torchvision.transforms.functional
print(torch.ops.torchvision.nms.default._schema.name, torch.ops.torchvision.qnms.default._schema.name)
"""
        assert self.run(code) == ["torchvision::nms", "torchvision::qnms"]

    def test_a_working_one_is_left_alone(self, tmp_path):
        (tmp_path / "torchvision.py").write_text("")
        code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import torch
from hcd.zoo.torchvision_operators import import_torchvision
import_torchvision()
print(hasattr(torch.ops.torchvision, "nms"), hasattr(torch.ops.torchvision, "qnms"))
"""
        assert self.run(code) == ["False", "False"]

    def test_operators_that_exist_are_not_declared_again(self, tmp_path):
        (tmp_path / "torchvision.py").write_text(
            "import torch\n"
            "if not hasattr(torch.ops.torchvision, 'qnms'):\n"
            "    raise RuntimeError('operator torchvision::qnms does not exist')\n"
        )
        code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import torch
torch.library.define("torchvision::nms", "(Tensor x) -> Tensor")
torch.library.impl("torchvision::nms", "CPU", lambda x: x + 1)
from hcd.zoo.torchvision_operators import import_torchvision
import_torchvision()
print(int(torch.ops.torchvision.nms(torch.zeros(1))), torch.ops.torchvision.qnms.default._schema.name)
"""
        assert self.run(code) == ["1", "torchvision::qnms"]

    def test_other_failures_are_its_own(self, tmp_path):
        (tmp_path / "torchvision.py").write_text("raise RuntimeError('compiled for another CUDA')")
        code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
from hcd.zoo.torchvision_operators import import_torchvision
try:
    import_torchvision()
except RuntimeError as error:
    print("raised", *str(error).split())
"""
        assert self.run(code) == ["raised", "compiled", "for", "another", "CUDA"]
