"""Layers of HCFlow, each computed exactly both ways: normalization, 1×1 convolution, couplings, and a step of them.

Source: Kingma and Dhariwal, "Glow: Generative Flow with Invertible 1×1 Convolutions", NeurIPS 2018,
section 3; Liang et al., "Hierarchical Conditional Flow", ICCV 2021 (arXiv 2108.05301), section 3. Names
and shapes of the state_dicts are those of the official checkpoints.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcd.errors import WeightsError


class ActNorm(nn.Module):
    """Shift and scale per channel, ``(x + bias) · exp(logs)``.

    The first batch in training mode chooses both so that the outputs have zero mean and unit standard
    deviation, unless a bias was set before. Only the forward direction does so, never evaluation mode,
    and never after weights were loaded. Processes that train one network together must share the first
    batch, or what it chose.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.logs = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.initialized = False
        self.register_load_state_dict_post_hook(_mark_initialized)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not self.initialized:
            self._initialize(x)
        return (x + self.bias) * torch.exp(self.logs)

    def inverse(self, y: Tensor) -> Tensor:
        return y * torch.exp(-self.logs) - self.bias

    @torch.no_grad()
    def _initialize(self, x: Tensor) -> None:
        self.initialized = True
        if bool(self.bias.any()):
            return
        variance, mean = torch.var_mean(x.to(self.bias.dtype), dim=(0, 2, 3), correction=0, keepdim=True)
        self.bias.copy_(-mean)
        self.logs.copy_(-torch.log(variance.sqrt() + 1e-6))


def _mark_initialized(norm: nn.Module, _: Any) -> None:
    norm.initialized = True  # type: ignore[assignment]


class InvertibleConv(nn.Module):
    """1×1 convolution with a square matrix, and the one with its inverse.

    The inverse is taken in float64 and rounded to the weights' precision. Frozen weights are inverted once, and again
    after they changed; what is written past autograd's sight (``weight.data.copy_``) goes unnoticed. Weights
    that are trained are inverted in every pass, and the gradient reaches them through the inverse.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels))
        if not self.weight.is_meta:  # where shapes are all that counts
            nn.init.orthogonal_(self.weight)
        self._inverse: Tensor | None = None
        self._inverse_of: tuple[Any, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        return _mix(x, self.weight)

    def inverse(self, y: Tensor) -> Tensor:
        return _mix(y, self._inverted())

    def _inverted(self) -> Tensor:
        """The inverse matrix.

        Raises:
            WeightsError: frozen weights have none.
        """
        weight = self.weight
        if weight.requires_grad:
            # Without the check for singular matrices, which would make a GPU wait: the loss shows them.
            return _invert(weight)[0]
        # Tensors made in inference mode do not count their versions.
        state = None if weight.is_inference() else weight._version
        key = (state, weight.data_ptr(), weight.dtype, weight.device)
        if self._inverse is None or state is None or self._inverse_of != key:
            # Outside of inference mode: a later pass may need gradients.
            with torch.inference_mode(False), torch.no_grad():
                inverse, info = _invert(weight.clone() if state is None else weight)
            if int(info) != 0 or not bool(inverse.isfinite().all()):
                raise WeightsError(
                    f"1×1 convolution of {len(weight)} channels: its matrix has no inverse, which HCFlow needs to "
                    "upscale; the weights are damaged, get them again"
                )
            self._inverse, self._inverse_of = inverse, key
        return self._inverse


def _invert(matrix: Tensor) -> tuple[Tensor, Tensor]:
    inverse, info = torch.linalg.inv_ex(matrix.double())
    return inverse.to(matrix.dtype), info


def _mix(x: Tensor, matrix: Tensor) -> Tensor:
    device = x.device.type
    # The flow itself keeps its precision where the sub-networks run in a lower one.
    autocast = torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
    with autocast:
        return F.conv2d(x, matrix[:, :, None, None])


class ZeroConv(nn.Conv2d):
    """3×3 convolution that starts at zero, with a learned gain ``exp(3 · logs)`` per output channel."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)
        self.logs = nn.Parameter(torch.zeros(out_channels, 1, 1))
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * torch.exp(3 * self.logs)


class _NormedConv(nn.Conv2d):
    """Convolution without bias, followed by an :class:`ActNorm`."""

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__(in_channels, out_channels, size, padding=size // 2, bias=False)
        self.actnorm = ActNorm(out_channels)
        nn.init.normal_(self.weight, std=0.05)

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = self.actnorm(super().forward(input))
        return result


class FCN(nn.Module):
    """Sub-network of conditional couplings: 3×3, 1×1 and 3×3 convolutions with ``hidden`` channels between."""

    def __init__(self, in_channels: int, out_channels: int, *, hidden: int) -> None:
        super().__init__()
        self.conv1 = _NormedConv(in_channels, hidden, 3)
        self.conv2 = _NormedConv(hidden, hidden, 1)
        self.conv3 = ZeroConv(hidden, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv3(torch.relu(self.conv2(torch.relu(self.conv1(x)))))
        return result


class ShiftCoupling(nn.Module):
    """The first ``kept`` channels move by what the sub-network makes of the others."""

    def __init__(self, kept: int, f: nn.Module) -> None:
        super().__init__()
        self.kept = kept
        self.f = f

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        x1, x2 = x[:, : self.kept], x[:, self.kept :]
        return torch.cat([x1 + self.f(_join(x2, condition)), x2], dim=1)

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        y1, x2 = y[:, : self.kept], y[:, self.kept :]
        return torch.cat([y1 - self.f(_join(x2, condition)), x2], dim=1)


class AffineCoupling(nn.Module):
    """The channels after the first ``kept`` move and scale by what the sub-network makes of those, and of a condition.

    ``x2 → (x2 + shift) · exp(log_scale)``.
    """

    def __init__(self, kept: int, f: nn.Module) -> None:
        super().__init__()
        self.kept = kept
        self.f = f

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        x1, x2 = x[:, : self.kept], x[:, self.kept :]
        shift, log_scale = shift_and_log_scale(self.f(_join(x1, condition)).to(x.dtype))
        return torch.cat([x1, (x2 + shift) * torch.exp(log_scale)], dim=1)

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        x1, y2 = y[:, : self.kept], y[:, self.kept :]
        shift, log_scale = shift_and_log_scale(self.f(_join(x1, condition)).to(y.dtype))
        return torch.cat([x1, y2 * torch.exp(-log_scale) - shift], dim=1)


def _join(x: Tensor, condition: Tensor | None) -> Tensor:
    return x if condition is None else torch.cat([x, condition], dim=1)


def shift_and_log_scale(h: Tensor) -> tuple[Tensor, Tensor]:
    """Even channels are shifts; odd ones become logarithms of scales, softly held within ±0.5."""
    return h[:, 0::2], 0.318 * torch.atan(2 * h[:, 1::2])


class FlowStep(nn.Module):
    """Normalization, a 1×1 convolution where there is one, and a coupling."""

    def __init__(self, channels: int, coupling: ShiftCoupling | AffineCoupling, *, permute: bool = False) -> None:
        super().__init__()
        self.actnorm = ActNorm(channels)
        self.permute = InvertibleConv(channels) if permute else None
        self.affine = coupling

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        x = self.actnorm(x)
        if self.permute is not None:
            x = self.permute(x)
        result: Tensor = self.affine(x, condition)
        return result

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        y = self.affine.inverse(y, condition)
        if self.permute is not None:
            y = self.permute.inverse(y)
        return self.actnorm.inverse(y)
