"""Plug-ins: models of other installed packages, found by entry points of the group ``hcd.rescalers``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import final

from hcd.errors import ModelError
from hcd.rescaler import Rescaler

GROUP = "hcd.rescalers"
"""The group of entry points. Each is a model name and a function without arguments that returns the rescaler."""


@final
@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A model name that a package adds.

    Attributes:
        name: the model name.
        package: distribution and version, for messages.
        entry_point: refers to the function; the package is not imported before it is needed.
    """

    name: str
    package: str
    entry_point: EntryPoint


def plugins() -> list[Plugin]:
    """Return every name that an installed package adds, in order, without importing any package."""
    found = []
    for point in entry_points(group=GROUP):
        package = f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
        found.append(Plugin(name=point.name, package=package, entry_point=point))
    return sorted(found, key=lambda plugin: (plugin.name, plugin.package))


def is_plugin(name: str) -> bool:
    """Return whether an installed package adds that name."""
    return any(plugin.name == name for plugin in plugins())


def load_plugin(name: str) -> Rescaler:
    """Call the function of a name and return its rescaler.

    Raises:
        ModelError: two packages add the name, or the function fails, or returns anything but a rescaler of that name;
            the message names the package.
    """
    candidates = [plugin for plugin in plugins() if plugin.name == name]
    if len(candidates) != 1:
        packages = ", ".join(plugin.package for plugin in candidates) or "no package"
        raise ModelError(f"model '{name}': added by {packages}, needs exactly one; uninstall the others")
    plugin = candidates[0]
    remedy = f"update or uninstall {plugin.package}"
    try:
        model = plugin.entry_point.load()()
    except Exception as error:  # a package may raise anything
        reason = (str(error).splitlines() or [""])[0]
        raise ModelError(
            f"model '{name}': {plugin.package} failed to provide it ({type(error).__name__}: {reason}); {remedy}"
        ) from error
    if not isinstance(model, Rescaler):
        raise ModelError(
            f"model '{name}': {plugin.package} provided a {type(model).__name__}, needs an hcd.Rescaler; {remedy}"
        )
    if model.name != name:
        # LR files contain the model's own name, by which it must be found again.
        raise ModelError(f"model '{name}': {plugin.package} provided one that is named '{model.name}'; {remedy}")
    return model
