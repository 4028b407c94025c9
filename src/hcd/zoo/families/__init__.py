"""Families of networks whose weights the zoo can read."""

from hcd.zoo.families.base import Family, Layout
from hcd.zoo.families.grain import GRAINFamily
from hcd.zoo.families.hcflow import HCFlowFamily
from hcd.zoo.families.irn import IRNFamily
from hcd.zoo.families.light import LightFamily
from hcd.zoo.families.rlfn import RLFNFamily

FAMILIES: dict[str, Family] = {
    family.name: family for family in (IRNFamily(), LightFamily(), HCFlowFamily(), GRAINFamily(), RLFNFamily())
}
"""Families by name, in the order in which they are tried on a file."""

__all__ = ["FAMILIES", "Family", "Layout"]
