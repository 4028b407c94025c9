"""The page on paper: a browser without a window prints it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from hcd.errors import MissingDependencyError, OutputError
from hcd.files import write_atomically

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_SECONDS = 120


def find_browser() -> str:
    """The program that prints.

    Raises:
        MissingDependencyError: no Chromium or Chrome on the path.
    """
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise MissingDependencyError(
            "a PDF needs Chromium or Chrome on the path; install one, or print the page by hand from any browser"
        )
    return browser


def print_page(page: Path, target: Path) -> Path:
    """Print an HTML file to a PDF.

    Raises:
        MissingDependencyError: no Chromium or Chrome on the path.
        OutputError: the browser fails, or the file cannot be written.
    """
    browser = find_browser()
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder) / "page.pdf"
        # The page is this program's own, so the sandbox, which containers often forbid, guards nothing.
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile",
            "--no-pdf-header-footer", f"--print-to-pdf={printed}", page.resolve().as_uri(),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OutputError(f"{target}: {browser} cannot print ({error}); print {page} by hand") from error
        if done.returncode or not printed.is_file():
            said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise OutputError(f"{target}: {browser} did not print ({said}); print {page} by hand")
        write_atomically(target, printed.read_bytes())
    return target
