"""HCFlow for rescaling: a main flow to the LR picture, and conditional flows for the details that it splits off.

Source: Liang et al., "Hierarchical Conditional Flow: A Unified Framework for Image Super-Resolution and Image
Rescaling", ICCV 2021 (arXiv 2108.05301). Names and shapes of the state_dict are those of the official
checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcd.errors import UsageError
from hcd.nets.dense import RRDB, DenseBlock
from hcd.nets.haar import Haar
from hcd.nets.hcflow_layers import FCN, AffineCoupling, FlowStep, ShiftCoupling, ZeroConv, shift_and_log_scale
from hcd.ops import GRAY_LEVEL

_PICTURE = 3


@dataclass(frozen=True, kw_only=True)
class HCFlowShape:
    """Hyper-parameters of an :class:`HCFlow`; the defaults are those of the published ×4 network.

    Attributes:
        steps: flow steps per level of the main flow, level 0 first; there are log2(scale) levels.
        conditional_steps: flow steps per level of the conditional flows.
        growth: growth of the dense blocks in the main flow's couplings.
        features: channels of the conditions.
        rrdb_growth: growth of the RRDBs that compute the conditions.
        rrdb_blocks: number of RRDBs in the first and in the second trunk.
        hidden: channels inside the sub-networks of the conditional couplings.

    Raises:
        UsageError: a number is below 1, or ``steps`` and ``conditional_steps`` differ in length.
    """

    steps: tuple[int, ...] = (8, 8)
    conditional_steps: tuple[int, ...] = (6, 6)
    growth: int = 32
    features: int = 64
    rrdb_growth: int = 16
    rrdb_blocks: tuple[int, int] = (2, 1)
    hidden: int = 64

    def __post_init__(self) -> None:
        if not self.steps or len(self.steps) != len(self.conditional_steps):
            raise UsageError(
                f"HCFlow: got flow steps {self.steps} and conditional steps {self.conditional_steps}; needs one number "
                "of each per level"
            )
        sizes = (self.growth, self.features, self.rrdb_growth, self.hidden)
        if min(*self.steps, *self.conditional_steps, *self.rrdb_blocks, *sizes) < 1:
            raise UsageError(f"HCFlow: got {self}; needs at least 1 of everything")

    @property
    def levels(self) -> int:
        return len(self.steps)

    @property
    def scale(self) -> int:
        """HR side / LR side."""
        return 1 << self.levels

    @property
    def latent_channels(self) -> tuple[int, ...]:
        """Channels of each level's latent, whose side is HR side / 2**(level + 1)."""
        return (*(_PICTURE << level for level in range(1, self.levels)), (_PICTURE << self.levels + 1) - _PICTURE)


_PUBLISHED = HCFlowShape()


class Split(nn.Module):
    """Splits the channels: the first ``kept`` continue, the others are the details of a level."""

    def __init__(self, kept: int) -> None:
        super().__init__()
        self.kept = kept

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, : self.kept], x[:, self.kept :]


class ConditionalFlow(nn.Module):
    """Maps the details of one level to a latent that is unit Gaussian given the condition, and back.

    Args:
        channels: channels of the details and the latent.
        condition_channels: channels of the input of :meth:`condition`.
        steps: number of flow steps.
        shape: hyper-parameters that all levels share.
    """

    def __init__(self, channels: int, condition_channels: int, *, steps: int, shape: HCFlowShape) -> None:
        super().__init__()
        features = shape.features
        first, second = (
            nn.Sequential(*(RRDB(features, growth=shape.rrdb_growth) for _ in range(count)))
            for count in shape.rrdb_blocks
        )
        self.conv_first = nn.Conv2d(condition_channels, features, 3, padding=1)
        self.RRDB_trunk0 = first
        self.RRDB_trunk1 = second
        self.trunk_conv1 = nn.Conv2d(features, features, 3, padding=1)
        kept = channels // 2
        self.additional_flow_steps = nn.ModuleList(
            FlowStep(
                channels,
                AffineCoupling(kept, FCN(kept + features, 2 * (channels - kept), hidden=shape.hidden)),
                permute=True,
            )
            for _ in range(steps)
        )
        self.f = ZeroConv(features, 2 * channels)

    def condition(self, x: Tensor) -> Tensor:
        """Map ``[N, condition_channels, h, w]`` to the condition ``[N, features, h, w]`` of the other methods."""
        first = self.conv_first(x)
        result: Tensor = first + self.trunk_conv1(self.RRDB_trunk1(self.RRDB_trunk0(first)))
        return result

    def forward(self, details: Tensor, condition: Tensor) -> Tensor:
        """Map details to the latent."""
        for step in self.additional_flow_steps:
            details = step(details, condition)
        mean, log_scale = shift_and_log_scale(self.f(condition))
        return (details - mean) * torch.exp(-log_scale)

    def inverse(self, latent: Tensor | None, condition: Tensor) -> Tensor:
        """Map a latent to details; None stands for zeros, the mean of the prior."""
        details, log_scale = shift_and_log_scale(self.f(condition))
        if latent is not None:
            details = details + torch.exp(log_scale) * latent
        for step in reversed(self.additional_flow_steps):
            details = cast(FlowStep, step).inverse(details, condition)
        return details


class HCFlow(nn.Module):
    """HCFlow: invertible map between HR and LR with one latent per level.

    Every level halves the side with a Haar transform, mixes the channels in flow steps and splits off details. The
    last level leaves the LR picture. A conditional flow per level maps the details to a latent: given the LR picture at
    the last level, elsewhere given the level's other channels and the condition of the next level.

    Args:
        shape: hyper-parameters; default: the published ×4 network.

    Departs: the official network clamps LR at the end of ``forward`` and HR at the end of ``inverse`` to [0, 1].
        Here neither is clamped, so that gradients pass. Clamp the results to get the official output.
    """

    def __init__(self, shape: HCFlowShape = _PUBLISHED) -> None:
        super().__init__()
        self.shape = shape
        self.scale = shape.scale
        layers: list[nn.Module] = []
        conditional: dict[str, nn.Module] = {}
        channels = _PICTURE
        for level, steps in enumerate(shape.steps):
            layers.append(Haar(channels))
            channels *= 4
            layers.extend(FlowStep(channels, _main_coupling(channels, k, shape.growth)) for k in range(steps))
            last = level == shape.levels - 1
            kept = _PICTURE if last else channels // 2
            layers.append(Split(kept))
            conditional[f"level{level}_condFlow"] = ConditionalFlow(
                channels - kept,
                kept if last else kept + shape.features,
                steps=shape.conditional_steps[level],
                shape=shape,
            )
            channels = kept
        # Official names begin with "flow."; all of them come from this one dictionary.
        self.flow = nn.ModuleDict({"layers": nn.ModuleList(layers), **conditional})

    def downscale(self, hr: Tensor) -> Tensor:
        """Map HR ``[N, 3, H, W]``, sides multiples of the scale, to LR ``[N, 3, H/scale, W/scale]``.

        The conditional flows, 70 % of the work of ``forward`` in the published network, are left out.
        """
        return self._main(hr)[-1][0]

    def forward(self, hr: Tensor, *, latents_of: int | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Map HR to LR, as ``downscale`` does, and the latents.

        Args:
            hr: ``[N, 3, H, W]``, sides multiples of the scale.
            latents_of: number of pictures, from the first on, whose latents are computed; default: all.

        Returns:
            LR and, for each level i from 0 on, the latent
            ``[latents_of, latent_channels[i], H/2**(i+1), W/2**(i+1)]``; no latents if ``latents_of`` is 0.
        """
        parts = self._main(hr)
        count = len(hr) if latents_of is None else latents_of
        latents: list[Tensor] = []
        condition = None
        for level in reversed(range(self.shape.levels if count else 0)):
            kept, details = (part[:count] for part in parts[level])
            flow = self._conditional(level)
            condition = flow.condition(_beside(kept, condition))
            latents.insert(0, flow(details, condition))
        return parts[-1][0], tuple(latents)

    def inverse(self, lr: Tensor, latents: Sequence[Tensor] | None = None) -> Tensor:
        """Map LR to HR ``[N, 3, h·scale, w·scale]``; undoes ``forward``.

        Args:
            lr: ``[N, 3, h, w]``.
            latents: from ``forward``, or drawn from the unit Gaussian; default: zeros, for which the details are the
                means that the conditional flows predict.

        Raises:
            WeightsError: the frozen weights of a 1×1 convolution are singular.
        """
        x = lr
        condition = None
        level = self.shape.levels
        for layer in reversed(self._layers):
            if isinstance(layer, Split):
                level -= 1
                flow = self._conditional(level)
                condition = flow.condition(_beside(x, condition))
                details = flow.inverse(None if latents is None else latents[level], condition)
                x = torch.cat([x, details], dim=1)
            else:
                x = cast(FlowStep | Haar, layer).inverse(x)
        return x

    @torch.no_grad()
    def initialize(self, hr: Tensor, lr: Tensor) -> None:
        """Initialize the activation normalizations to the statistics of some pictures, and LR to those of ``lr``.

        A normalized LR would begin without the picture's colors and contrast, mostly outside the range of a file. The
        last normalization restores both: an untrained network then returns the mean of every square of ``scale``²
        pixels, with mean and deviation of ``lr`` per color.

        Only a network in training mode whose weights were not trained, loaded or initialized before is changed.

        Args:
            hr: ``[N, 3, H, W]``.
            lr: LR pictures to begin near, ``[N, 3, H/scale, W/scale]``.

        Departs: the official network leaves LR normalized. It also takes the pictures as they are, so that a constant
            channel is amplified a million times; here noise of one gray level, lost in rounding to 8 bits, is added.
        """
        last = next(layer for layer in reversed(self._layers) if isinstance(layer, FlowStep)).actnorm
        if not self.training or last.initialized:
            return
        dtype = last.bias.dtype
        generator = torch.Generator().manual_seed(0)
        lost = GRAY_LEVEL * (torch.rand(hr.shape, generator=generator) - 0.5)
        made, _ = self(hr.to(dtype) + lost.to(hr.device, dtype))
        variance, mean = torch.var_mean(made.to(dtype), dim=(0, 2, 3), correction=0)
        wanted_variance, wanted_mean = torch.var_mean(lr.to(dtype), dim=(0, 2, 3), correction=0)
        # The variance of a mean of scale² pixels, each of which was rounded.
        least = (GRAY_LEVEL / self.scale) ** 2 / 12
        gain = (wanted_variance.clamp(min=least) / variance).sqrt()
        bias, logs = (parameter[0, :_PICTURE, 0, 0] for parameter in (last.bias, last.logs))
        # Gives (x + bias) · exp(logs) the wanted mean once the gain is added to logs.
        bias.add_((wanted_mean / gain - mean) / torch.exp(logs))
        logs.add_(torch.log(gain))

    @staticmethod
    def shape_of(state_dict: Mapping[str, Tensor]) -> HCFlowShape | None:
        """Read the hyper-parameters from names and shapes in a state_dict; return None if it is not an HCFlow's.

        Not every tensor is checked: compare them with a network of these hyper-parameters.
        """
        levels = _indices(state_dict, r"flow\.layers\.(\d{1,4})\.haar_weights")
        steps = _indices(state_dict, r"flow\.layers\.(\d{1,4})\.actnorm\.bias")
        ends = [*levels[1:], max(steps, default=-1) + 1]
        first = "flow.level0_condFlow"
        # Names may claim any depth; the filters must grow with it.
        filters = [_outputs(state_dict, f"flow.layers.{index}.haar_weights") for index in levels]
        if filters != [4 * _PICTURE << level for level in range(len(levels))]:
            return None

        def count(pattern: str) -> int:
            return len(_indices(state_dict, pattern))

        try:
            return HCFlowShape(
                steps=tuple(sum(start < i < end for i in steps) for start, end in zip(levels, ends, strict=False)),
                conditional_steps=tuple(
                    count(rf"flow\.level{level}_condFlow\.additional_flow_steps\.(\d{{1,4}})\.permute\.weight")
                    for level in range(len(levels))
                ),
                growth=_outputs(state_dict, f"flow.layers.{min(steps, default=0)}.affine.f.conv1.weight"),
                features=_outputs(state_dict, f"{first}.conv_first.weight"),
                rrdb_growth=_outputs(state_dict, f"{first}.RRDB_trunk0.0.RDB1.conv1.weight"),
                rrdb_blocks=(
                    count(r"flow\.level0_condFlow\.RRDB_trunk0\.(\d{1,4})\.RDB1\.conv1\.weight"),
                    count(r"flow\.level0_condFlow\.RRDB_trunk1\.(\d{1,4})\.RDB1\.conv1\.weight"),
                ),
                hidden=_outputs(state_dict, f"{first}.additional_flow_steps.0.affine.f.conv1.weight"),
            )
        except UsageError:
            return None

    @property
    def _layers(self) -> nn.ModuleList:
        return cast(nn.ModuleList, self.flow["layers"])

    def _conditional(self, level: int) -> ConditionalFlow:
        return cast(ConditionalFlow, self.flow[f"level{level}_condFlow"])

    def _main(self, hr: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return, for each level, the channels that continue and the details."""
        parts: list[tuple[Tensor, Tensor]] = []
        for layer in self._layers:
            if isinstance(layer, Split):
                parts.append(layer(hr))
                hr = parts[-1][0]
            else:
                hr = layer(hr)
        return parts


def _main_coupling(channels: int, index: int, growth: int) -> AffineCoupling | ShiftCoupling:
    """Make a coupling of the main flow; they change the details and the picture in turn."""
    details = channels - _PICTURE
    if index % 2 == 0:
        return AffineCoupling(_PICTURE, DenseBlock(_PICTURE, 2 * details, growth=growth))
    return ShiftCoupling(_PICTURE, DenseBlock(details, _PICTURE, growth=growth))


def _beside(kept: Tensor, condition: Tensor | None) -> Tensor:
    """Join the input of a level's condition: its channels and the next level's condition, if any, enlarged."""
    if condition is None:
        return kept
    return torch.cat([kept, F.interpolate(condition, scale_factor=2.0, mode="nearest")], dim=1)


def _indices(names: Iterable[str], pattern: str) -> list[int]:
    return sorted(int(match[1]) for match in map(re.compile(pattern).fullmatch, names) if match)


def _outputs(state_dict: Mapping[str, Tensor], name: str) -> int:
    """Return the output channels of a convolution's weights; 0 if the tensor is missing, empty or of another rank."""
    weight = state_dict.get(name)
    return 0 if weight is None or weight.ndim != 4 or weight.numel() == 0 else len(weight)
