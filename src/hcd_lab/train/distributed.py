"""The processes that ``torchrun`` started, or a single one."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from hcd.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class World:
    """Rank of this process among all processes of a run.

    Attributes:
        rank: rank of this process.
        size: number of processes.
        local_rank: rank on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Return whether this process writes files and reports."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """Replace ``cuda`` by the GPU of this process."""
        return f"cuda:{self.local_rank}" if name == "cuda" else name

    def share(self, round_trip: nn.Module) -> nn.Module:
        """Wrap a module so that gradients are averaged over all processes; a single process gets the module itself."""
        if self.size == 1:
            return round_trip
        # The only buffers are constants, the same everywhere.
        return nn.parallel.DistributedDataParallel(round_trip, forward_sync_buffers=False)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process, so that all stop at the same step."""
        if self.size == 1:
            return flag
        value = torch.tensor(float(flag), device="cuda" if torch.distributed.get_backend() == "nccl" else "cpu")
        torch.distributed.all_reduce(value)
        return bool(value > 0)


@contextmanager
def join_world(device: str) -> Iterator[World]:
    """Join the process group that ``torchrun`` states in the environment, for the duration of the context.

    Raises:
        UsageError: the environment is not that of ``torchrun``.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World()
        return
    try:
        world = World(
            rank=int(os.environ["RANK"]), size=int(os.environ["WORLD_SIZE"]), local_rank=int(os.environ["LOCAL_RANK"])
        )
    except (KeyError, ValueError) as error:
        raise UsageError(f"WORLD_SIZE is set but {error} is missing or no number; start with torchrun") from error
    if device.startswith("cuda"):
        torch.cuda.set_device(world.local_rank)
    # If first imported while a process group exists, as by wrapped modules and optimizers, this package keeps the
    # group alive, whose threads can abort the interpreter at exit.
    importlib.import_module("torch._dynamo")
    torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield world
    finally:
        torch.distributed.destroy_process_group()
