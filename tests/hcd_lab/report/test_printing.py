"""The page on paper."""

from __future__ import annotations

import os
import shutil

import pytest

from hcd.errors import MissingDependencyError, OutputError
from hcd_lab.report import find_browser, print_page
from hcd_lab.report import printing as module


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "a page.html"
    path.write_text("<!doctype html><title>t</title><p>text</p>", "utf-8")
    return path


@pytest.fixture
def browser(tmp_path, monkeypatch):
    """``browser(script)`` puts a shell script in the place of the only browser there is."""

    def install(script):
        path = tmp_path / "chromium"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(shutil, "which", lambda name: os.fspath(path) if name == "chromium" else None)

    return install


def test_without_a_browser(page, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingDependencyError, match="needs Chromium or Chrome"):
        print_page(page, tmp_path / "page.pdf")
    assert not (tmp_path / "page.pdf").exists()


def test_any_name_that_the_browser_has(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/opt/chrome" if name == "google-chrome" else None)
    assert find_browser() == "/opt/chrome"


def test_what_the_browser_writes_is_the_file(page, tmp_path, browser):
    browser('for a in "$@"; do case "$a" in --print-to-pdf=*) echo "$a" "$*" > "${a#*=}";; esac; done')
    assert print_page(page, tmp_path / "new" / "page.pdf") == tmp_path / "new" / "page.pdf"
    assert page.as_uri() in (tmp_path / "new" / "page.pdf").read_text()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo first >&2; echo no memory >&2; exit 3", "no memory"),
        ("exit 0", "no reason given"),
        ("exec sleep 30", "timed out"),
    ],
)
def test_a_browser_that_fails(page, tmp_path, browser, monkeypatch, script, reason):
    monkeypatch.setattr(module, "_SECONDS", 0.5 if "sleep" in script else 30)
    browser(script)
    with pytest.raises(OutputError, match=rf"page.pdf: .*{reason}.*print .*a page.html by hand"):
        print_page(page, tmp_path / "page.pdf")
    assert not (tmp_path / "page.pdf").exists()


def test_a_real_print(page, tmp_path):
    try:
        find_browser()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    data = print_page(page, tmp_path / "page.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert b"%%EOF" in data[-32:]
