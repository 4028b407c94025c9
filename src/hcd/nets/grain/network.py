"""The GRAIN network: encoder, decoder, code encoder, generator and fusion."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hcd.nets.grain.codes import CodeStyleGAN
from hcd.nets.grain.config import GRAINConfig
from hcd.nets.grain.fusion import Fusion
from hcd.nets.grain.rescaling import InvertibleRRDB


class GRAIN(nn.Module):
    """Downscales to 16×16; upscales with a face generator as prior. Pictures are in [−1, 1].

    The state_dict holds those of the official files under the prefixes ``invRRDB.``, ``codeStyleGAN.`` and
    ``Fusion.``, and ``latent_avg``, the generator's average code.

    Args:
        config: hyper-parameters; default: the published network for 1024×1024.

    Departs: the official test program adds uniform noise where it rounds the LR picture; here nothing is added, and the
    caller rounds. Pictures that only serve training (the decoder's and the generator's own) are not computed.
    """

    latent_avg: Tensor

    def __init__(self, config: GRAINConfig | None = None) -> None:
        super().__init__()
        self.config = GRAINConfig() if config is None else config
        self.scale = self.config.scale
        self.invRRDB = InvertibleRRDB(self.config)
        self.codeStyleGAN = CodeStyleGAN(self.config)
        self.Fusion = Fusion(self.config)
        self.register_buffer("latent_avg", torch.zeros(self.config.style_dim))

    def downscale(self, hr: Tensor) -> Tensor:
        """Map ``[N, 3, size, size]`` to ``[N, 3, 16, 16]``."""
        lr: Tensor = self.invRRDB.enc(hr)
        return lr

    def upscale(self, lr: Tensor) -> Tensor:
        """Map ``[N, 3, 16, 16]`` to ``[N, 3, size, size]``."""
        features = self.invRRDB.dec.features(lr)
        codes = self.codes(features)
        hr: Tensor = self.Fusion(features, self.codeStyleGAN.decoder.features(codes)[-3:])
        return hr

    def codes(self, features: list[Tensor]) -> Tensor:
        """Map the decoder's feature maps to the generator's codes ``[N, layers, style_dim]``."""
        codes: Tensor = self.codeStyleGAN.encoder(features) + self.latent_avg
        return codes
