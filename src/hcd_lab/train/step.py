"""One training step: both passes, loss, gradient and update; captured as a graph on CUDA."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from hcd.ops import rgb_to_y
from hcd_lab.train.muon import Muon, inner_convolutions
from hcd_lab.train.recipe import Recipe

_LUMA_RANGE = 219 / 255  # of studio-range luma
_EAGER_STEPS = 3  # before capturing a graph: they fill the optimizer's state and select convolution algorithms


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Execution of steps on a machine; it affects the speed, and the last digits of results.

    Attributes:
        device: name of a PyTorch device.
        bfloat16: run convolutions in bfloat16 for the recipe's share of the steps.
        compiled: compile couplings with ``torch.compile``.
        graph: capture steps as CUDA graphs.
    """

    device: str = "cpu"
    bfloat16: bool = False
    compiled: bool = False
    graph: bool = False

    def __str__(self) -> str:
        extra = [word for word, on in (("compiled", self.compiled), ("graph", self.graph)) if on]
        return ", ".join([self.device, "bfloat16" if self.bfloat16 else "float32", *extra])


class Measured(NamedTuple):
    """The loss of a step, and the mean squared errors of HR and LR, as scalars on the device."""

    loss: Tensor
    hr: Tensor
    lr: Tensor


def make_optimizer(recipe: Recipe, net: nn.Module, execution: Execution) -> torch.optim.Optimizer:
    """Return the recipe's optimizer over the trainable weights, ready for graph capture on CUDA."""
    on_cuda = torch.device(execution.device).type == "cuda"
    rate = torch.tensor(recipe.learning_rate, device=execution.device) if on_cuda else recipe.learning_rate
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if recipe.optimizer == "muon":
        inner = {id(weight) for weight in inner_convolutions(net)}
        matrices = [parameter for parameter in trained if id(parameter) in inner]
        others = [parameter for parameter in trained if id(parameter) not in inner]
        return Muon(matrices, others, lr=rate, weight_decay=recipe.weight_decay)
    kinds: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[recipe.optimizer](
        trained,
        lr=rate,
        betas=(0.9, 0.99),
        weight_decay=recipe.weight_decay,
        fused=on_cuda or None,
        capturable=on_cuda,
    )


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the learning rate: linear warm-up, then half a cosine down to zero at the last step."""
    warm = min(1.0, (step + 1) / recipe.warmup_steps)
    return recipe.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / max(1, recipe.steps)))


def losses(recipe: Recipe, hr: Tensor, bicubic: Tensor, results: tuple[Tensor, Tensor, Tensor]) -> Measured:
    """Return the loss of :class:`Recipe` for the results of a round trip.

    Source: Xiao et al., "Invertible Image Rescaling", ECCV 2020, section 3.3; for HCFlow, Liang et al.,
        "Hierarchical Conditional Flow", ICCV 2021, section 3.3.
    Departs: means over elements instead of sums, Charbonnier beside L1 and L2, luma beside RGB.
    """
    lr, latent, hr_hat = results
    error = hr_hat - hr
    loss = recipe.hr_weight * _distance(recipe, error)
    if recipe.luma_weight:
        loss = loss + recipe.luma_weight * _distance(recipe, (rgb_to_y(hr_hat) - rgb_to_y(hr)) / _LUMA_RANGE)
    lr_error = (lr - bicubic).square().mean()
    loss = loss + recipe.lr_weight * lr_error + recipe.latent_weight * latent
    return Measured(loss, error.detach().square().mean(), lr_error.detach())


def _distance(recipe: Recipe, error: Tensor) -> Tensor:
    if recipe.distance == "charbonnier":
        return (error.square() + recipe.charbonnier_epsilon**2).sqrt().mean()
    if recipe.distance == "l1":
        return error.abs().mean()
    return error.square().mean()


@final
class Step:
    """Run one training step per call.

    Args:
        recipe: recipe with the loss and the clipping of gradients.
        round_trip: a :class:`hcd_lab.train.networks.RoundTrip`, perhaps wrapped for data parallelism.
        optimizer: optimizer of its weights; the caller sets the learning rate.
        execution: how steps run.
    """

    def __init__(
        self, recipe: Recipe, round_trip: nn.Module, optimizer: torch.optim.Optimizer, execution: Execution
    ) -> None:
        self._recipe, self._round_trip, self._optimizer = recipe, round_trip, optimizer
        self._device = torch.device(execution.device)
        self._use_graphs = execution.graph
        self._key: tuple[Any, ...] = ()
        self._eager = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, Tensor] = (torch.empty(0), torch.empty(0))
        self._measured: Measured | None = None

    def __call__(self, hr: Tensor, bicubic: Tensor, *, bfloat16: bool) -> Measured:
        """Update the weights from one batch. The result stays valid until the next call."""
        if not self._use_graphs:
            return self._run(hr, bicubic, bfloat16)
        key = (hr.shape, bfloat16)
        if key != self._key:
            self._key, self._eager, self._graph = key, 0, None
        if self._graph is None and self._eager < _EAGER_STEPS:
            self._eager += 1
            stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(stream):
                measured = self._run(hr, bicubic, bfloat16)
            torch.cuda.current_stream(self._device).wait_stream(stream)
            return measured
        if self._graph is None:
            self._inputs = (hr.clone(), bicubic.clone())
            self._graph = torch.cuda.CUDAGraph()
            self._optimizer.zero_grad(set_to_none=True)
            with torch.cuda.graph(self._graph):
                self._measured = self._run(*self._inputs, bfloat16)
        for static, fresh in zip(self._inputs, (hr, bicubic), strict=True):
            static.copy_(fresh)
        self._graph.replay()
        if self._measured is None:
            raise RuntimeError("a captured step has no results")
        return self._measured

    def _run(self, hr: Tensor, bicubic: Tensor, bfloat16: bool) -> Measured:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=not self._use_graphs):
            results = self._round_trip(hr)
        measured = losses(self._recipe, hr, bicubic, results)
        self._optimizer.zero_grad(set_to_none=True)
        measured.loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._round_trip.parameters(), self._recipe.gradient_clip, foreach=True)
        self._optimizer.step()
        return Measured(measured.loss.detach(), measured.hr, measured.lr)
