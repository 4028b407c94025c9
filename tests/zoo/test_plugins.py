"""Models that other packages add, with packages made on the spot."""

from __future__ import annotations

import pytest

import hcd
from hcd.errors import ModelError, UsageError
from hcd.zoo import get_entry, is_plugin, plugins
from tests.zoo.packages import make_package


@pytest.fixture
def install(tmp_path, monkeypatch):
    """``install("acme", "acme-x3 = acme:Block")`` makes a package with that entry point."""
    return lambda *package: monkeypatch.syspath_prepend(make_package(tmp_path, *package))


def test_there_are_none_of_our_own():
    assert [plugin for plugin in plugins() if plugin.package.startswith("hcd ")] == []


def test_a_package_adds_a_name(install):
    install("acme", "acme-x3 = acme:Block")
    assert [(plugin.name, plugin.package) for plugin in plugins()] == [("acme-x3", "acme 1.0")]
    model = hcd.load("acme-x3")
    assert (model.name, model.scale, model.training) == ("acme-x3", 3, False)
    assert isinstance(model, hcd.Rescaler)


def test_unknown_names_list_it(install):
    install("acme", "acme-x3 = acme:Block")
    with pytest.raises(ModelError, match=r"unknown model 'acme-3'\. Did you mean 'acme-x3'\? Known: .*acme-x3"):
        hcd.load("acme-3")


def test_a_name_of_ours_stays_ours(install):
    install("thief", "bicubic-x2 = thief:fails")
    assert hcd.load("bicubic-x2").name == "bicubic-x2"
    assert get_entry("bicubic-x2").architecture == "bicubic"


def test_it_settles_weights_and_latent_itself(install, tmp_path):
    install("acme", "acme-x3 = acme:Block")
    with pytest.raises(UsageError, match=r"acme-x3: brings its own weights; leave .*x\.pth out"):
        hcd.load("acme-x3", weights=tmp_path / "x.pth")
    with pytest.raises(UsageError, match="acme-x3: got latent 'gaussian:0', has only 'zeros'"):
        hcd.load("acme-x3", latent="gaussian:0")
    assert hcd.load("acme-x3", latent="zeros").scale == 3


@pytest.mark.parametrize(
    ("target", "match"),
    [
        ("broken:fails", r"failed to provide it \(KeyError: 'no such thing\\nsecond line'\)"),
        ("broken:absent", r"failed to provide it \(AttributeError"),
        ("nowhere:Block", r"failed to provide it \(ModuleNotFoundError"),
        ("broken:nothing", r"provided a NoneType, needs an hcd\.Rescaler"),
        ("broken:other", r"provided one that is named 'another-name'"),
    ],
)
def test_a_broken_one_is_one_clear_error(install, target, match):
    install("broken", f"broken-x3 = {target}")
    assert is_plugin("broken-x3")
    with pytest.raises(ModelError, match=rf"^model 'broken-x3': broken 1\.0 {match}.*; update or uninstall") as caught:
        hcd.load("broken-x3")
    assert "\n" not in str(caught.value)


def test_two_packages_with_one_name(install):
    install("acme", "acme-x3 = acme:Block")
    install("zeta", "acme-x3 = zeta:Block")
    with pytest.raises(ModelError, match=r"added by acme 1\.0, zeta 1\.0, needs exactly one"):
        hcd.load("acme-x3")
