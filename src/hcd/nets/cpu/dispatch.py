"""Dense blocks whose weights stay as they are: which way they are computed, and their place in autograd."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable

from hcd.nets.cpu import convolution
from hcd.nets.cpu.dense_block import Concatenated, Convs, FrozenBlock, InPlanes
from hcd.nets.cpu.dense_block_bfloat16 import InBfloat16
from hcd.nets.cpu.precision import has_bfloat16, wants_bfloat16
from hcd.nets.cpu.stack import FrozenStack


def run_frozen(kernel: FrozenBlock, x: Tensor) -> Tensor:
    """The result of a block, with a gradient for ``x`` where one is wanted; differentiable once."""
    if x.requires_grad and torch.is_grad_enabled():
        result: Tensor = _Frozen.apply(x, kernel)  # type: ignore[no-untyped-call]
        return result
    return kernel.forward(x, None)


def frozen_kernel(block: nn.Module, convs: Convs, x: Tensor) -> FrozenBlock | None:
    """How to compute a block for ``x``; None where its weights may change or its operations are asked for one by one.

    Args:
        block: whose weights these are; what is made of them is kept as long as it lives and they do not change.
        convs: each sees the input and all results before it, and all but the last are followed by a leaky ReLU.
        x: ``[N, in, H, W]``.
    """
    if any(tensor.requires_grad for pair in convs for tensor in pair) or asks_for_operations(x):
        return None
    if not convolution.is_fast_for(x):
        return Concatenated(convs)
    wants_gradient = x.requires_grad and torch.is_grad_enabled()
    if wants_bfloat16() and wants_gradient and not x.is_meta:
        return prepared(block, convs, InBfloat16)
    return prepared(block, convs, InPlanes)


def frozen_stack(block: nn.Module, convs: Convs, x: Tensor) -> FrozenBlock | None:
    """Return the kernel of convolutions in sequence, or None where autograd has to see every operation.

    Args:
        block: whose weights these are; what is made of them is kept as long as it lives and they do not change.
        convs: first to last, with a leaky ReLU after all but the last.
        x: ``[N, in, H, W]``. Batches and other devices are left to autograd.
    """
    if any(tensor.requires_grad for pair in convs for tensor in pair) or asks_for_operations(x):
        return None
    return prepared(block, convs, FrozenStack) if convolution.is_fast_for(x) else None


def asks_for_operations(x: Tensor) -> bool:
    """Whether autocast, tracing, a transform of ``torch.func`` or a forward-mode derivative wants every operation."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return True
    return is_transformed(x)


def is_transformed(x: Tensor) -> bool:
    """Whether tracing, a transform of ``torch.func`` or a forward-mode derivative wants every operation."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return True
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return True
    return forward_ad.unpack_dual(x).tangent is not None  # type: ignore[no-untyped-call]


class _Frozen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: FrozenBlock) -> Tensor:
        kept = kernel.allocate_saved(x)
        result = kernel.forward(x, kept)
        ctx.kernel = kernel
        ctx.save_for_backward(*kept)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        # Unpacked once, which is all that checkpointing around this allows.
        return ctx.kernel.backward(gradient, ctx.saved_tensors), None


_Weights = TypeVar("_Weights", bound=Sequence[Sequence[Tensor]])
_Known = dict[Callable[..., FrozenBlock], tuple[object, list[Tensor], FrozenBlock]]
_KNOWN: weakref.WeakKeyDictionary[nn.Module, _Known]
_KNOWN = weakref.WeakKeyDictionary()


def prepared(block: nn.Module, convs: _Weights, kernel: Callable[[_Weights], FrozenBlock]) -> FrozenBlock:
    """What was made of a block's weights as they are now."""
    tensors = [tensor for pair in convs for tensor in pair]
    state = _state(tensors)
    known = _KNOWN.setdefault(block, {})
    found = known.get(kernel)
    if found is None or state is None or found[0] != state:
        # Outside of inference mode: a later pass may need gradients.
        with torch.inference_mode(False), torch.no_grad():
            # Held on to, lest weights that take the place of these come to lie where they lay.
            found = (state, [tensor.detach() for tensor in tensors], kernel(convs))
        if state is not None:
            known[kernel] = found
    return found[-1]


def _state(tensors: list[Tensor]) -> object | None:
    """What changes when a weight does; None for weights made in inference mode, whose changes leave no trace."""
    if any(tensor.is_inference() for tensor in tensors):
        return None
    return tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)


def bytes_to_prepare(net: nn.Module, *, gradients: bool) -> int:
    """What laying out the weights of a network anew will yet take, on a CPU; measured in multiples of the weights.

    Args:
        net: whose blocks say by a method ``frozen`` how they are computed.
        gradients: whether gradients will be wanted, which dense blocks may compute in a way of their own.
    """
    total = 0
    for module in net.modules():
        weights = list(module.parameters()) if callable(getattr(module, "frozen", None)) else []
        if any(weight.requires_grad or weight.device.type != "cpu" for weight in weights):
            continue
        known = _KNOWN.get(module, {})
        # As they are and turned around, in float32; the same in half as many bytes, of dense blocks alone.
        copies = 0 if any(kernel is not InBfloat16 for kernel in known) else 2
        if gradients and has_bfloat16() and not isinstance(module, nn.Conv2d) and InBfloat16 not in known:
            copies += 1
        total += copies * sum(weight.nbytes for weight in weights)
    return total
