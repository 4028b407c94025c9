"""GRAIN's structure at a few channels: sizes, wiring, recomputation and configurations."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from hcd.errors import UsageError
from hcd.nets.grain import GRAIN, GRAINConfig, fusion, rescaling, stylegan2
from tests.tiny_grain import make_tiny_net, tiny_config


def random(*shape, seed=0, dtype=torch.float32):
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) - 1


@pytest.fixture(scope="module")
def net():
    return make_tiny_net()


@pytest.mark.slow
class TestSizes:
    @pytest.mark.parametrize(("size", "scale"), [(64, 4), (256, 16)])
    def test_lr_is_16_pixels_wide(self, size, scale):
        net = make_tiny_net(size)
        lr = net.downscale(random(1, 3, size, size))
        assert lr.shape == (1, 3, 16, 16)
        assert net.scale == scale
        assert net.upscale(lr).shape == (1, 3, size, size)

    def test_a_smaller_network_is_the_published_one_without_its_largest_levels(self):
        with torch.device("meta"):
            published = {key: tensor.shape for key, tensor in GRAIN().state_dict().items()}
            own = {key: tensor.shape for key, tensor in GRAIN(GRAINConfig(size=256)).state_dict().items()}
        assert own.keys() < published.keys()
        different = {key for key in own if own[key] != published[key]}
        # The fusion's three inputs come from other levels of the generator, which are wider.
        assert different == {
            f"Fusion.{name}.weight" for i in (1, 2, 3) for name in (f"conv{i}.0", f"se{i}.fc1", f"se{i}.fc2")
        }


class TestWiring:
    def test_every_weight_counts(self):
        """But for the mapping network's, the training pictures' and those that make the code of their last layer."""
        # A seed for which none of the few channels inside the squeeze-and-excitations is dead.
        net = make_tiny_net(seed=7).requires_grad_(True)
        restored = net.upscale(net.downscale(random(2, 3, 64, 64)))
        (restored * random(2, 3, 64, 64, seed=1)).sum().backward()
        unused = ("decoder.style.", "to_rgb", "dec.out.", "styles.4.convs1.", "styles.4.linear1.")
        for name, parameter in net.named_parameters():
            counts = parameter.grad is not None and bool(parameter.grad.any())
            assert counts != any(part in name for part in unused), name

    def test_code_rows(self, net):
        """Rows 2i + 1 and 2i are the first and second branch of block i."""
        features = net.invRRDB.dec.features(random(1, 3, 16, 16))
        before = net.codes(features)
        for row in range(10):
            other = make_tiny_net()
            linear = getattr(other.codeStyleGAN.encoder.styles[row // 2], "linear1" if row % 2 else "linear2")
            linear.bias.add_(1)
            moved = (other.codes(features) - before).abs().amax(dim=(0, 2)) > 1e-6
            assert moved.nonzero().flatten().tolist() == [row]

    def test_fine_features_reach_coarse_codes(self, net):
        features = net.invRRDB.dec.features(random(1, 3, 16, 16))
        before = net.codes(features)
        features[-1] = features[-1] + 0.1 * random(*features[-1].shape, seed=1)
        # The halved maps are handed down to the smallest level, which three blocks share.
        assert ((net.codes(features) - before).abs().amax(dim=(0, 2)) > 1e-6).all()

    def test_average_code_is_added_to_every_row(self, net):
        features = net.invRRDB.dec.features(random(1, 3, 16, 16))
        wanted = net.codeStyleGAN.encoder(features) + net.latent_avg
        assert torch.equal(net.codes(features), wanted)

    def test_pictures_of_a_batch_do_not_mix(self, net):
        lr = random(3, 3, 16, 16)
        together = net.upscale(lr)
        for index in range(3):
            torch.testing.assert_close(net.upscale(lr[index : index + 1]), together[index : index + 1])


class TestRecomputation:
    @staticmethod
    def gradient(net, lr, hr):
        lr = lr.clone().requires_grad_()
        return torch.autograd.grad((net.upscale(lr) - hr).square().mean(), lr)[0]

    def test_gradient_is_that_of_kept_results(self, net, monkeypatch):
        lr, hr = random(1, 3, 16, 16), random(1, 3, 64, 64, seed=1)
        recomputed = self.gradient(net, lr, hr)
        for module in (fusion, rescaling, stylegan2):
            monkeypatch.setattr(module, "recomputed", lambda block, *inputs: block(*inputs))
        assert torch.equal(self.gradient(net, lr, hr), recomputed)
        assert float(recomputed.abs().max()) > 0

    def test_insides_are_not_kept(self, net, monkeypatch):
        def kept():
            storages = {}

            def pack(tensor):
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                result = net.upscale(random(1, 3, 16, 16).requires_grad_())
            del result
            return sum(storages.values())

        saved = kept()
        for module in (fusion, rescaling, stylegan2):
            monkeypatch.setattr(module, "recomputed", lambda block, *inputs: block(*inputs))
        assert kept() > 2.5 * saved

    def test_weights_have_gradients_too(self):
        net = make_tiny_net().requires_grad_(True)
        net.upscale(net.downscale(random(1, 3, 64, 64))).square().mean().backward()
        assert float(net.invRRDB.dec.trunk_conv64.weight.grad.abs().max()) > 0
        assert float(net.invRRDB.enc.conv_first.weight.grad.abs().max()) > 0


class TestConfig:
    @pytest.mark.parametrize("config", [tiny_config(64), tiny_config(256), GRAINConfig(size=512), GRAINConfig()])
    def test_reads_back_what_was_built(self, config):
        with torch.device("meta"):
            state_dict = GRAIN(config).state_dict()
        assert GRAINConfig.of(state_dict) == config

    @pytest.mark.parametrize(
        "missing", ["invRRDB.dec.", "codeStyleGAN.decoder.conv", "Fusion.", "invRRDB.enc.conv_first"]
    )
    def test_is_none_where_a_part_is_missing(self, net, missing):
        rest = {key: tensor for key, tensor in net.state_dict().items() if not key.startswith(missing)}
        assert GRAINConfig.of(rest) is None

    @pytest.mark.parametrize("keys", [(), ("conv.weight",), ("invRRDB.dec.trunk_conv9999.weight",)])
    def test_is_none_for_other_networks(self, keys):
        assert GRAINConfig.of(dict.fromkeys(keys, torch.zeros(1))) is None

    @pytest.mark.parametrize("size", [0, 32, 100, 2048])
    def test_other_sizes_are_refused(self, size):
        with pytest.raises(UsageError, match=f"size {size}: must be one of 64, 128, 256, 512, 1024"):
            GRAINConfig(size=size)

    def test_one_generator_width_per_resolution(self):
        with pytest.raises(UsageError, match="must be 5 widths"):
            GRAINConfig(size=64, generator_channels=(8, 8))

    @pytest.mark.parametrize("field", ["channels", "growth", "style_dim"])
    def test_widths_are_positive(self, field):
        with pytest.raises(UsageError, match="widths must be 1 or more"):
            dataclasses.replace(GRAINConfig(), **{field: 0})

    def test_published_widths(self):
        assert GRAINConfig().generator_channels == (512, 512, 512, 512, 512, 256, 128, 64, 32)
        assert GRAINConfig().levels == (16, 32, 64, 128, 256, 512, 1024)
        assert [GRAINConfig(size=size).scale for size in (256, 512, 1024)] == [16, 32, 64]


class TestUntrained:
    def test_starts_near_mid_gray_and_listens_to_the_lr(self):
        torch.manual_seed(0)
        net = GRAIN(tiny_config())
        lr = random(1, 3, 16, 16).requires_grad_()
        hr = net.upscale(lr)
        assert float(hr.detach().abs().mean()) < 1
        (gradient,) = torch.autograd.grad(hr.square().sum(), lr)
        assert float(gradient.abs().max()) > 1e-3
