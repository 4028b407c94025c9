"""Invertible layers of HCFlow: activation normalization, 1×1 convolution, couplings, and the flow step of them.

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
    """Activation normalization: shift and scale per channel, ``(x + bias) · exp(logs)``.

    The first batch of a forward pass in training mode initializes both so that outputs have zero mean and unit
    standard deviation, unless a bias was set or weights were loaded before. Processes that train one network together
    must share the first batch, or the parameters after it.
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
    """1×1 convolution with a square matrix; its inverse convolves with the inverse matrix.

    The matrix is inverted in float64 and rounded to the weights' precision. Frozen weights are inverted once, and again
    after a change that autograd tracks (``weight.data.copy_`` goes unnoticed). Trainable weights are inverted in every
    pass, and the gradient flows through the inverse.
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
        """Return the inverse matrix.

        Raises:
            WeightsError: frozen weights are singular.
        """
        weight = self.weight
        if weight.requires_grad:
            # Not checked for singularity, which would synchronize a GPU: the loss would show it.
            return _invert(weight)[0]
        # Inference tensors do not track their version.
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
    # Under autocast, sub-networks run in lower precision, but not the flow itself.
    autocast = torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
    with autocast:
        return F.conv2d(x, matrix[:, :, None, None])


class ZeroConv(nn.Conv2d):
    """3×3 convolution initialized to zero, with a learned gain ``exp(3 · logs)`` per output channel."""

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
    """Sub-network of conditional couplings: 3×3, 1×1 and 3×3 convolutions with ``hidden`` channels in between."""

    def __init__(self, in_channels: int, out_channels: int, *, hidden: int) -> None:
        super().__init__()
        self.conv1 = _NormedConv(in_channels, hidden, 3)
        self.conv2 = _NormedConv(hidden, hidden, 1)
        self.conv3 = ZeroConv(hidden, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv3(torch.relu(self.conv2(torch.relu(self.conv1(x)))))
        return result


class ShiftCoupling(nn.Module):
    """Coupling ``x1 → x1 + f(x2)``, where x1 is the first ``kept`` channels."""

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
    """Coupling ``x2 → (x2 + shift) · exp(log_scale)``, where x2 is the channels after the first ``kept``.

    The sub-network computes both from the first channels and a condition.
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
    """Split channels into shifts (even) and logarithms of scales (odd), the latter softly clamped to ±0.5."""
    return h[:, 0::2], 0.318 * torch.atan(2 * h[:, 1::2])


class FlowStep(nn.Module):
    """Activation normalization, optionally a 1×1 convolution, and a coupling."""

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
