"""The reference: a transcription of the published scheme, which benchmarks compare with. Do not make it faster.

It computes an evaluation as the official code does: autograd through the whole network with all activations saved,
gradients for the weights too, concatenated inputs of every layer, float32, NCHW, no tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcd.collab.region import Region
from hcd.collab.settings import PRESETS
from hcd.errors import UsageError
from hcd.nets import IRN
from hcd.ops import quantize
from hcd.rescaler import InvertibleRescaler, LatentPolicy, Rescaler
from hcd.solver import descend

_SLOPE = 0.2
_CLAMP = 1.0
_SIGNS = torch.tensor([[[1.0, 1], [1, 1]], [[1, -1], [1, -1]], [[1, 1], [-1, -1]], [[1, -1], [-1, 1]]])


class _Dense(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, growth: int = 32) -> None:
        super().__init__()
        self.convs = 5
        for i in range(1, 6):
            out = out_channels if i == self.convs else growth
            self.add_module(f"conv{i}", nn.Conv2d(in_channels + (i - 1) * growth, out, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for i in range(1, self.convs):
            found.append(F.leaky_relu(getattr(self, f"conv{i}")(torch.cat(found, 1)), _SLOPE))
        result: Tensor = getattr(self, f"conv{self.convs}")(torch.cat(found, 1))
        return result


class _Coupling(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.F, self.G, self.H = _Dense(channels - 3, 3), _Dense(3, channels - 3), _Dense(3, channels - 3)

    def forward(self, x: Tensor, reverse: bool) -> Tensor:
        x1, x2 = x[:, :3], x[:, 3:]
        if not reverse:
            y1 = x1 + self.F(x2)
            y2 = x2 * torch.exp(self._log_scale(y1)) + self.G(y1)
        else:
            y2 = (x2 - self.G(x1)) / torch.exp(self._log_scale(x1))
            y1 = x1 - self.F(y2)
        return torch.cat((y1, y2), 1)

    def _log_scale(self, x: Tensor) -> Tensor:
        return _CLAMP * (torch.sigmoid(self.H(x)) * 2 - 1)


class _Haar(nn.Module):
    haar_weights: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("haar_weights", _SIGNS[:, None].repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor, reverse: bool) -> Tensor:
        count, channels, height, width = x.shape
        if not reverse:
            y = F.conv2d(x, self.haar_weights, stride=2, groups=self.channels) / 4
            y = y.reshape(count, channels, 4, height // 2, width // 2).transpose(1, 2)
            return y.reshape(count, 4 * channels, height // 2, width // 2)
        y = x.reshape(count, 4, self.channels, height, width).transpose(1, 2).reshape(count, -1, height, width)
        return F.conv_transpose2d(y, self.haar_weights, stride=2, groups=self.channels)


@final
class Reference(nn.Module):
    """Compute both passes of an IRN, and the gradients of both stages, on a copy of its weights.

    Args:
        model: rescaler of an IRN.

    Raises:
        UsageError: another rescaler.

    Source: Xiao et al., "Invertible Image Rescaling", ECCV 2020, and its official code (Haar transforms as grouped
        convolutions, scales held by a sigmoid); Xu et al., ICCV 2023 (arXiv 2211.10643), algorithm 1.
    """

    def __init__(self, model: Rescaler) -> None:
        super().__init__()
        if not isinstance(model, InvertibleRescaler):
            raise UsageError(f"'{model.name}': the reference exists for IRN only; use a model of that family")
        self.scale = model.scale
        self._policy = LatentPolicy.parse(model.latent)
        layers: list[nn.Module] = []
        channels = 3
        for couplings in cast(IRN, model.net).blocks:
            layers.append(_Haar(channels))
            channels *= 4
            layers.extend(_Coupling(channels) for _ in range(couplings))
        self.operations = nn.ModuleList(layers)
        weights = {name: value.contiguous() for name, value in model.net.state_dict().items()}
        self.load_state_dict(weights)
        self.to(next(model.parameters()).device)

    def downscale(self, hr: Tensor) -> Tensor:
        """Downscale ``[N, 3, H, W]``, sides multiples of the scale, to ``[N, 3, H/scale, W/scale]``."""
        for operation in self.operations:
            hr = operation(hr, False)
        return hr[:, :3]

    def upscale(self, lr: Tensor) -> Tensor:
        """Upscale ``[N, 3, h, w]`` to ``[N, 3, h·scale, w·scale]``."""
        y = torch.cat([lr, self._policy.latent(lr, 3 * self.scale**2 - 3)], 1)
        for operation in reversed(self.operations):
            y = operation(y, True)
        return y

    def lr_gradient(self, lr: Tensor, hr: Tensor) -> Tensor:
        """Return the gradient by the LR sample of the squared error of the restored picture, a mean over its pixels."""
        return self._evaluate(lr, hr, lambda sample: sample)[1]

    def hr_gradient(self, sample: Tensor, hr: Tensor) -> Tensor:
        """Return the gradient of the same error by the HR sample, which is downscaled and rounded first."""
        return self._evaluate(sample, hr, self._rounded_lr)[1]

    def collaborate(self, hr: Tensor) -> Tensor:
        """Return the LR image of the published scheme, the preset ``paper``: 15 HR and 15 LR gradients.

        Args:
            hr: ``[1, 3, H, W]`` in [0, 1], sides multiples of the scale.

        Returns:
            ``[1, 3, H/scale, W/scale]``, multiples of 1/255.
        """
        settings = PRESETS["paper"]
        generator = torch.Generator().manual_seed(settings.seed)

        def descent(center: Tensor, epsilon: float, steps: int, to_lr: Callable[[Tensor], Tensor]) -> Tensor:
            region = Region(center=center, norm=settings.norm, epsilon=epsilon)
            return descend(
                lambda sample: cast(Tensor, _Evaluated.apply(sample, *self._evaluate(sample, hr, to_lr))),  # type: ignore[no-untyped-call]
                region.random_point(generator),
                rule=settings.rule,
                project=region.project,
                evaluations=steps,
                keep=settings.keep,
            ).x

        sample = descent(hr, settings.epsilon_hr, settings.steps_hr, self._rounded_lr)
        with torch.no_grad():
            lr = self._rounded_lr(sample)
        return quantize(descent(lr, settings.epsilon_lr, settings.steps_lr, lambda x: x))

    def _rounded_lr(self, hr: Tensor) -> Tensor:
        return quantize(self.downscale(hr))

    def _evaluate(self, start: Tensor, hr: Tensor, to_lr: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Return the error and its gradient by the sample."""
        self.zero_grad()
        sample = start.detach().clone().requires_grad_()
        error = (self.upscale(to_lr(sample)) - hr).square().sum() / hr[0, 0].numel()
        error.backward()  # type: ignore[no-untyped-call]
        return error.detach(), cast(Tensor, sample.grad)


class _Evaluated(torch.autograd.Function):
    """A value with a known gradient, for solvers that use autograd."""

    @staticmethod
    def forward(ctx: Any, sample: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, by_value: Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        return by_value * gradient, None, None
