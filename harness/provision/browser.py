"""A Chromium for the browser tests: found, or installed where we may."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from harness.provision.packages import ensure_tools

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser() -> str | None:
    """Absolute path of a Chromium on PATH, or None."""
    return next((path for path in map(shutil.which, BROWSERS) if path), None)


def ensure_browser(progress: Callable[[str], None]) -> str | None:
    """The same, installed if there is none. Raises MachineError where we may not or cannot."""
    if find_browser() is None:
        ensure_tools(("chromium",), progress)
    return find_browser()
