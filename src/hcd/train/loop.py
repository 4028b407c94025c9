"""The training loop: published losses, rounding straight-through, EMA, atomic checkpoints."""

from __future__ import annotations

import io
import json
import math
import pickle
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from hcd.errors import TrainingError, UsageError
from hcd.files import write_atomically
from hcd.nets.irn import IRN
from hcd.ops import quantize
from hcd.train.patches import Patches
from hcd.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Progress:
    """State after one step; ``psnr`` is of the training patches, RGB, through the rounded LR, in dB."""

    step: int
    steps: int
    loss: float
    psnr: float
    lr_psnr: float
    seconds: float


def train(
    recipe: Recipe,
    patches: Patches,
    out: Path,
    *,
    time_limit: float = math.inf,
    checkpoint_every: float = 120.0,
    on_step: Callable[[Progress], None] | None = None,
) -> Path:
    """Train ``recipe`` to its last step or to ``time_limit`` seconds and leave the EMA weights behind.

    Minimizes, over the weights, the mean over patches of
    ``Charbonnier(hr_hat − hr) + lr_weight · (lr − bicubic)² + latent_weight · z²`` where ``hr_hat`` is the
    inverse pass of the rounded LR with a zero latent. A checkpoint in ``out`` is continued: batches and
    schedule depend on the step number alone.

    Returns:
        ``out/<recipe>.safetensors``, the EMA weights in half precision (which costs under 0.001 dB at ×4).

    Raises:
        TrainingError: the loss is no longer finite (names the last checkpoint), the checkpoint in ``out``
            cannot be continued, or ``out`` is no folder.
        UsageError: the patches are of another scale.

    Source: Xiao et al., "Invertible Image Rescaling", ECCV 2020, section 3.3 (losses).
    Departs: latent of the inverse pass zero instead of drawn; means instead of sums; Adam with warm-up, cosine
        and EMA instead of halving, since runs are short.
    """
    if patches.scale != recipe.scale:
        raise UsageError(f"recipe {recipe.name}: patches of scale {patches.scale}, needs {recipe.scale}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"{out}: cannot be made a folder ({error.strerror}); choose another") from error
    checkpoint, weights = out / f"{recipe.name}.checkpoint.pt", out / f"{recipe.name}.safetensors"
    torch.manual_seed(recipe.seed)
    net = IRN(recipe.blocks).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = IRN(recipe.blocks).requires_grad_(False)
    ema.load_state_dict(net.state_dict())
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99))
    step, seconds = 0, 0.0
    if checkpoint.exists():
        try:
            state = torch.load(checkpoint, weights_only=True)
            if state["recipe"] != _recipe_text(recipe):
                raise ValueError("it was made by another recipe")
            net.load_state_dict(state["net"])
            ema.load_state_dict(state["ema"])
            optimizer.load_state_dict(state["optimizer"])
            step, seconds = state["step"], state["seconds"]
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise TrainingError(
                f"{checkpoint}: cannot be continued as {recipe.name} ({reason}); move it away or choose another folder"
            ) from error
    if step >= recipe.steps and weights.exists():
        return weights

    def save() -> None:
        state = {"net": net.state_dict(), "ema": ema.state_dict(), "optimizer": optimizer.state_dict()}
        buffer = io.BytesIO()
        torch.save({**state, "recipe": _recipe_text(recipe), "step": step, "seconds": seconds}, buffer)
        # Weights first: a checkpoint of the last step then means that the weights of the last step are there.
        write_atomically(weights, _weights(ema, recipe, step, seconds))
        write_atomically(checkpoint, buffer.getvalue())

    before, saved = seconds, time.monotonic()
    start = time.monotonic()
    while step < recipe.steps and seconds - before < time_limit:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        hr, bicubic = patches.batch(recipe.batch, seed=recipe.seed, step=step)
        hr = hr.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=step < recipe.bfloat16_share * recipe.steps):
            lr, z, hr_hat = _round_trip(net, hr)
        squared = (hr_hat - hr).square()
        lr_error = (lr - bicubic).square().mean()
        reconstruction = (squared + recipe.charbonnier_epsilon**2).sqrt().mean()
        loss = reconstruction + recipe.lr_weight * lr_error + recipe.latent_weight * z.square().mean()
        if not math.isfinite(loss.item()):
            good = checkpoint if checkpoint.exists() else "none"
            raise TrainingError(f"{recipe.name}: loss {loss.item()} at step {step}; last good checkpoint: {good}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), recipe.gradient_clip)
        optimizer.step()
        step += 1
        _update_ema(ema, net, min(recipe.ema_decay, step / (step + 10)))
        seconds = before + time.monotonic() - start
        if on_step is not None:
            psnr, lr_psnr = (
                -10 * math.log10(e) if (e := float(t)) > 0 else math.inf
                for t in (squared.detach().mean(), lr_error.detach())
            )
            on_step(
                Progress(step=step, steps=recipe.steps, loss=loss.item(), psnr=psnr, lr_psnr=lr_psnr, seconds=seconds)
            )
        if time.monotonic() - saved > checkpoint_every:
            save()
            saved = time.monotonic()
    save()
    return weights


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then half a cosine down to zero at the last step."""
    warm = min(1.0, (step + 1) / recipe.warmup_steps)
    return recipe.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))


def _round_trip(net: IRN, hr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """LR (not rounded), latent, and HR rebuilt from the rounded LR with a zero latent."""
    y = net(hr)
    lr, z = y[:, :3], y[:, 3:]
    hr_hat = net.inverse(torch.cat([quantize(lr), torch.zeros_like(z)], dim=1))
    return lr, z, hr_hat


def _update_ema(ema: nn.Module, net: nn.Module, decay: float) -> None:
    with torch.no_grad():
        torch._foreach_lerp_(list(ema.parameters()), list(net.parameters()), 1 - decay)


def _weights(net: IRN, recipe: Recipe, step: int, seconds: float) -> bytes:
    metadata = {
        "architecture": "irn",
        "latent": "zeros",
        "recipe": _recipe_text(recipe),
        "steps": str(step),
        "seconds": str(round(seconds)),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }
    return save({key: tensor.half().contiguous() for key, tensor in net.state_dict().items()}, metadata=metadata)


def _recipe_text(recipe: Recipe) -> str:
    return json.dumps(asdict(recipe), sort_keys=True)
