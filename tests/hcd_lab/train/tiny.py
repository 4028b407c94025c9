"""A recipe that trains in a blink, as a record and as the text of a file."""

from __future__ import annotations

from hcd_lab.train import IRNNetwork, Phase, Recipe

TINY = Recipe(
    name="tiny",
    network=IRNNetwork(blocks=(1,)),
    phases=(Phase(batch=2, patch=16),),
    steps=6,
    warmup_steps=2,
)

TINY_TOML = """
steps = 6
warmup_steps = 2

[network]
family = "irn"
blocks = [1]

[[phases]]
batch = 2
patch = 16
"""
