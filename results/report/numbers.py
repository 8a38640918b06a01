"""A number with its unit, its interval and its N, in words: shared by the pages of runs and of claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADS = ("figure", "value", "95 % interval", "N", "how")


def cells(figure: Mapping[str, Any]) -> list[str]:
    """A figure in words: name, value, interval, N, how."""
    unit = f" {figure['unit']}" if figure["unit"] else ""
    return [figure["name"], number(figure["value"]) + unit, interval(figure), count(figure["n"]), figure["method"]]


def number(value: float | None) -> str:
    """Three significant digits, or nothing."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def interval(item: Mapping[str, Any]) -> str:
    """low to high of a claim or a figure, or nothing."""
    return "" if item["low"] is None or not item["n"] else f"{number(item['low'])} to {number(item['high'])}"


def count(n: int) -> str:
    """N, or nothing."""
    return f"{n:,}" if n else ""
