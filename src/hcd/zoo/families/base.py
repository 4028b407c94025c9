"""The interface of a family of networks: recognize, check and build its checkpoints."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hcd.errors import UsageError, WeightsError
from hcd.files import write_atomically
from hcd.rescaler import LatentPolicy, Rescaler
from hcd.zoo.checkpoints import Checkpoint, read_checkpoint


@final
@dataclass(frozen=True, kw_only=True)
class Layout:
    """A network, as read from names and shapes of its tensors.

    Attributes:
        scale: HR side / LR side.
        settings: its hyper-parameters, of JSON types.
        text: a description for messages, for instance ``an IRN of blocks (8, 8)``.
        build: makes the network; its weights are to be loaded.
    """

    scale: int
    settings: Mapping[str, object]
    text: str
    build: Callable[[], nn.Module]


class Family(ABC):
    """Family of networks: one architecture with its checkpoint format.

    To add one, write a subclass in a file of its own, and add an instance to ``FAMILIES`` and names to the registry.

    Attributes:
        name: name in the registry and in the metadata of weights files.
        title: name in messages.
        official_latent: the latent policy of the authors' weights.
        has_latent: whether the latent can be chosen.
        source: where the official weights come from.
        weights: description of the files to give as weights, for messages.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    official_latent: ClassVar[LatentPolicy] = LatentPolicy()
    has_latent: ClassVar[bool] = True
    source: ClassVar[str]
    weights: ClassVar[str] = "a checkpoint file"

    @abstractmethod
    def layout(self, tensors: Mapping[str, Tensor]) -> Layout | None:
        """Read hyper-parameters and scale from names and shapes; return None if these are not the family's."""

    @abstractmethod
    def rescaler(self, net: nn.Module, *, name: str, weights_hash: str, latent: LatentPolicy) -> Rescaler:
        """Make the rescaler of a network that ``build`` made."""

    def read(self, path: Path) -> Checkpoint:
        """Read an official checkpoint or a ``.safetensors`` file.

        Raises:
            WeightsError: as ``read_checkpoint``.
        """
        return read_checkpoint(path)

    def write_official(self, tensors: Mapping[str, Tensor], path: Path) -> list[Path]:
        """Write tensors with the network's names in the format of the authors' program; return the files.

        Raises:
            UsageError: the path has the wrong suffix.
            OutputError: it cannot be written.
        """
        if path.suffix not in (".pth", ".pt"):
            raise UsageError(f"{path}: official {self.title} weights are a pickled state_dict; name it ….pth")
        buffer = io.BytesIO()
        torch.save(dict(tensors), buffer)
        write_atomically(path, buffer.getvalue())
        return [path]

    @final
    def latent(self, checkpoint: Checkpoint, asked: str | None = None) -> LatentPolicy:
        """Return the requested latent policy; by default that of the weights file, else that of official weights.

        Raises:
            UsageError: the requested policy is unknown, or the family has no latent.
            WeightsError: the file contains an unknown policy.
        """
        if asked is not None:
            policy = LatentPolicy.parse(asked)
            if not self.has_latent and policy != self.official_latent:
                raise UsageError(f"latent '{asked}': {self.title} has no latent to choose; leave it out")
            return policy
        said = checkpoint.metadata.get("latent")
        if said is None or not self.has_latent:
            return self.official_latent
        try:
            return LatentPolicy.parse(said)
        except UsageError as error:
            raise WeightsError(f"{checkpoint.path}: {error}") from error

    @final
    def check(self, checkpoint: Checkpoint, layout: Layout) -> list[str]:
        """Compare every tensor with a network of that layout; return the names in the network's order.

        Raises:
            WeightsError: missing or unexpected tensor, wrong shape, or sizes that no network can have.
        """
        # On the meta device: the names in a file may claim any size.
        try:
            with torch.device("meta"), _Uninitialized():
                expected = layout.build().state_dict()
        except Exception as error:  # of sizes beyond what PyTorch counts
            raise WeightsError(f"{checkpoint.path}: claims to be {layout.text}, which cannot be built") from error
        for key, tensor in expected.items():
            got = checkpoint.tensors.get(key)
            if got is None or got.shape != tensor.shape:
                found = "nothing" if got is None else f"shape {tuple(got.shape)}"
                raise WeightsError(
                    f"{checkpoint.path}: {key}: found {found}, {layout.text} needs {tuple(tensor.shape)}"
                )
        surplus = checkpoint.tensors.keys() - expected.keys()
        if surplus:
            raise WeightsError(f"{checkpoint.path}: {min(surplus)}: not part of {layout.text}")
        return list(expected)

    @final
    def build(self, checkpoint: Checkpoint, layout: Layout) -> nn.Module:
        """Build the network and load the weights of the checkpoint.

        Raises:
            WeightsError: the weights do not fit.
        """
        self.check(checkpoint, layout)
        with _Uninitialized():
            net = layout.build()
        for key, tensor in net.named_buffers():
            if key.rpartition(".")[2] == "haar_weights" and not checkpoint.tensors[key].equal(tensor):
                raise WeightsError(f"{checkpoint.path}: {key}: the filters are not those of the Haar transform")
        net.load_state_dict(dict(checkpoint.tensors))
        return net


class _Uninitialized(TorchFunctionMode):
    """Skips the random initialization of weights that a checkpoint will replace.

    Drawing them takes longer than reading them, advances PyTorch's global generator, and on the meta device imports
    its compiler.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func in _DRAWING:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


_DRAWING = (Tensor.normal_, Tensor.uniform_, nn.init.kaiming_uniform_, nn.init.normal_, nn.init.uniform_)
