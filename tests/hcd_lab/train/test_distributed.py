"""Several processes train as one does, each on its share of every batch."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hcd.errors import UsageError
from hcd_lab.train import Execution, Patches, Phase, World, get_recipe, join_world, train
from tests.hcd_lab.train.tiny import TINY, TINY_TOML
from tests.hcd_lab.train.weights import names

# Adam divides by the size of gradients: where one is almost zero, its last digits count. Small steps keep that small.
GENTLE_TOML = "learning_rate = 1e-4\n" + TINY_TOML.replace("batch = 2", "batch = 4").replace("[1]", "[1, 1]").replace(
    "= 6", "= 3"
)


@pytest.fixture
def alone(monkeypatch):
    """An environment that tells of no other process."""
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def torchrun(processes, *arguments, program=("-m", "hcd")):
    """``hcd``, or another program, in several processes, which find each other on a free port."""
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")},
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "TOKENIZERS_PARALLELISM": "false",
    }
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    # Port 0: the agent takes one that is free, so that tests in other processes do not meet this one.
    launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--local-addr", "localhost"]
    return subprocess.run(
        [sys.executable, *launcher, *program, *map(os.fspath, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path, data, files):
    file = tmp_path / "tiny.toml"
    file.write_text(GENTLE_TOML, "utf-8")
    result = torchrun(
        2, "train", file, "--data", data, "-o", tmp_path / "both", "--device", "cpu", "--precision", "float32"
    )
    assert result.returncode == 0, result.stderr
    # Only the leading process speaks and writes.
    assert result.stdout.count("weights: ") == 1
    assert names(tmp_path / "both") == ["tiny.checkpoint.pt", "tiny.safetensors"]

    patches = Patches(files, scale=4, smallest=16)
    train(get_recipe(str(file)), patches, tmp_path / "one")
    both, one = (torch.load(tmp_path / run / "tiny.checkpoint.pt", weights_only=True) for run in ("both", "one"))
    assert both["step"] == one["step"] == 3
    assert both["net"].keys() == one["net"].keys()
    for part in ("net", "ema"):
        for name, tensor in one[part].items():
            torch.testing.assert_close(both[part][name], tensor, rtol=0, atol=1e-5)

    # Which half a batch would not give: that far from each other are runs that see other patches.
    half = replace(get_recipe(str(file)), phases=(Phase(batch=2, patch=16),))
    train(half, patches, tmp_path / "half")
    other = torch.load(tmp_path / "half" / "tiny.checkpoint.pt", weights_only=True)["net"]
    assert max(float((other[name] - tensor).abs().max()) for name, tensor in one["net"].items()) > 5e-5


_THREADS_LEFT = """
import gc, pathlib
import torch
from hcd_lab.train import join_world

def train(world):
    module = world.share(torch.nn.Linear(2, 2))
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()

def threads():
    return sorted(path.read_text().strip() for path in pathlib.Path("/proc/self/task").glob("*/comm"))

with join_world("cpu") as world:
    train(world)
    assert any("gloo" in name for name in threads()), threads()
gc.collect()
assert not any("gloo" in name for name in threads()), threads()
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="names of threads are read from /proc")
def test_no_thread_outlives_the_world(tmp_path):
    """Such a thread can abort the interpreter as it ends."""
    script = tmp_path / "script.py"
    script.write_text(_THREADS_LEFT, "utf-8")
    result = torchrun(2, program=(str(script),))
    assert result.returncode == 0, result.stderr


def test_batch_that_cannot_be_shared(patches, tmp_path):
    phases = (Phase(share=0.5, batch=4, patch=16), Phase(share=0.5, batch=3, patch=16))
    with pytest.raises(UsageError, match=r"recipe tiny: a batch of 3 cannot be shared by 2 processes"):
        train(replace(TINY, phases=phases), patches, tmp_path, world=World(rank=1, size=2, local_rank=1))
    assert names(tmp_path) == []


@pytest.mark.usefixtures("alone")
def test_one_process_is_a_world_of_its_own():
    with join_world("cpu") as world:
        assert world == World()
        assert world.leads
        assert world.any(True)
        assert not world.any(False)
        module = torch.nn.Linear(1, 1)
        assert world.share(module) is module


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("lost", ["RANK", "LOCAL_RANK"])
def test_half_an_environment_is_named(monkeypatch, lost):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}.items():
        if name != lost:
            monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"WORLD_SIZE is set but '{lost}' is missing.*torchrun"), join_world("cpu"):
        pass


def test_every_process_has_its_own_gpu():
    world = World(rank=3, size=4, local_rank=1)
    assert not world.leads
    assert (world.device("cuda"), world.device("cuda:0"), world.device("cpu")) == ("cuda:1", "cuda:0", "cpu")


def test_only_the_leading_process_writes(patches, tmp_path):
    """The other ones are given no module to share gradients with here: one step of each is enough."""

    class Follower(World):
        def share(self, round_trip):
            return round_trip

        def any(self, flag):
            return flag

    seen = []
    train(TINY, patches, tmp_path, world=Follower(rank=1, size=2), execution=Execution(), on_step=seen.append)
    assert names(tmp_path) == []
    assert seen == []
