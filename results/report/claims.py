"""`claims.html` and `claims.md`: observed against claimed."""

from __future__ import annotations

from typing import Any


def markdown(found: dict[str, Any]) -> str:
    """The findings as Markdown."""
    return ""


def render(found: dict[str, Any]) -> str:
    """The findings as a page."""
    return ""
