"""Dispatch for layers with frozen weights: choose a kernel, and keep it while the weights stay as they are."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from hcd.nets.cpu import convolution
from hcd.nets.cpu.dense_block import ConcatenatedDenseBlock, Convs, NCHWDenseBlock
from hcd.nets.cpu.dense_block_bfloat16 import Bfloat16DenseBlock
from hcd.nets.cpu.kernel import Kernel
from hcd.nets.cpu.precision import has_bfloat16, wants_bfloat16
from hcd.nets.cpu.stack import NCHWStack


def frozen_kernel(block: nn.Module, convs: Convs, x: Tensor) -> Kernel | None:
    """Return the kernel for a frozen dense block, or None if weights are trainable or a transform must see each op.

    Args:
        block: the module, under which the prepared kernel is kept.
        convs: its convolutions; each sees the input and all results before it, and all but the last are followed by a
            leaky ReLU.
        x: ``[N, in, H, W]``.
    """
    if any(tensor.requires_grad for pair in convs for tensor in pair) or needs_operations(x):
        return None
    if not convolution.is_fast_for(x):
        return ConcatenatedDenseBlock(convs)
    wants_gradient = x.requires_grad and torch.is_grad_enabled()
    return prepared(block, convs, Bfloat16DenseBlock if wants_bfloat16() and wants_gradient else NCHWDenseBlock)


def frozen_stack(stack: nn.Module, convs: Convs, x: Tensor) -> Kernel | None:
    """Return the kernel for a frozen sequence of convolutions, or None if it is left to PyTorch.

    Args:
        stack: the module, under which the prepared kernel is kept.
        convs: its convolutions, first to last, with a leaky ReLU after all but the last.
        x: ``[N, in, H, W]``. Batches and other devices are left to PyTorch.
    """
    if any(tensor.requires_grad for pair in convs for tensor in pair) or needs_operations(x):
        return None
    return prepared(stack, convs, NCHWStack) if convolution.is_fast_for(x) else None


def needs_operations(x: Tensor) -> bool:
    """Return whether autocast, tracing or a transform of ``torch.func`` must see PyTorch's own operations."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return True
    return is_transformed()


def is_transformed() -> bool:
    """Return whether the call is compiled, traced, or inside of a transform of ``torch.func``."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return True
    # Private. If a version does not have it, transforms end in PyTorch's own error about `autograd.Function`.
    peek = getattr(getattr(torch._C, "_functorch", None), "peek_interpreter_stack", None)
    return peek is not None and peek() is not None


_Weights = TypeVar("_Weights", bound=Sequence[Sequence[Tensor]])
_Entry = tuple[object, list[Tensor], Kernel]
# Preparing takes as long as a pass over a small tile, hence once per module and kernel, not once per call. Kept beside
# the modules: an attribute would be copied with them, and would hold the weights before a change.
_PREPARED: weakref.WeakKeyDictionary[nn.Module, dict[Callable[..., Kernel], _Entry]] = weakref.WeakKeyDictionary()


def prepared(block: nn.Module, convs: _Weights, kernel: Callable[[_Weights], Kernel]) -> Kernel:
    """Return a kernel for the present weights of a module, prepared before if they have not changed."""
    tensors = [tensor for pair in convs for tensor in pair]
    state = _state(tensors)
    known = _PREPARED.setdefault(block, {})
    found = known.get(kernel)
    if found is None or state is None or found[0] != state:
        # Outside of inference mode: a later pass may need gradients.
        with torch.inference_mode(False), torch.no_grad():
            # References keep the memory from being reused, so that an equal data_ptr means the same weights.
            found = (state, [tensor.detach() for tensor in tensors], kernel(convs))
        if state is not None:
            known[kernel] = found
    return found[-1]


def _state(tensors: list[Tensor]) -> object | None:
    """Return a key that changes with the weights; None for inference tensors, which do not track changes."""
    if any(tensor.is_inference() for tensor in tensors):
        return None
    return tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)


def bytes_to_prepare(net: nn.Module, *, gradients: bool) -> int:
    """Return the bytes that preparing the kernels of a network will still take on a CPU.

    Args:
        net: its modules with a method ``kernel_for`` have kernels, in bfloat16 too with ``has_bfloat16_kernel``.
        gradients: count the bfloat16 kernels of dense blocks too, which only passes with gradients use.
    """
    total = 0
    for module in net.modules():
        weights = list(module.parameters()) if callable(getattr(module, "kernel_for", None)) else []
        if any(weight.requires_grad or weight.device.type != "cpu" for weight in weights):
            continue
        known = _PREPARED.get(module, {})
        runs_in_bfloat16 = getattr(module, "has_bfloat16_kernel", False)
        # In float32 the weights and the flipped weights; in bfloat16 both take as much as one of those.
        copies = 0 if any(kernel is not Bfloat16DenseBlock for kernel in known) else 2
        if gradients and has_bfloat16() and runs_in_bfloat16 and Bfloat16DenseBlock not in known:
            copies += 1
        total += copies * sum(weight.nbytes for weight in weights)
    return total
