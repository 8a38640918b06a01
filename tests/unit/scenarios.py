"""Scenario texts for the tests of the harness."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.plan import Plan, resolve
from harness.scenario import Scenario, parse
from harness.toml import Source

Command = Callable[..., tuple[int, str, str]]  # the fixture `command`: words -> exit code, output, errors
FAKES = str(Path(__file__).parents[1] / "fakes.py")

MINIMAL = """
name = "tiny"
expect = "hold"
[cluster]
nodes = 4
gateways = 2
[network]
latency = "lan"
[workload]
kind = "transfers"
rate = 50
clients = 4
duration = "500ms"
[checks]
include = ["receipts"]
[run]
quiet = "2s"
"""


def written(text: str) -> str:
    """The text as a file of the working directory, which the fixture `command` makes a fresh one."""
    Path("s.toml").write_text(text)
    return "s.toml"


def scenario(extra: str = "", text: str = MINIMAL) -> Scenario:
    """The minimal scenario with more text at its end."""
    whole = text + extra
    return parse(tomllib.loads(whole), Source("tiny.toml", whole))


def changed(old: str, new: str, extra: str = "") -> Scenario:
    """The minimal scenario with one text replaced by another."""
    assert old in MINIMAL
    return scenario(extra, MINIMAL.replace(old, new))


def plan(extra: str = "", seed: int = 1, replaced: Mapping[str, str] | None = None) -> Plan:
    """The plan of the minimal scenario; `replaced` maps old text to new."""
    text = MINIMAL
    for old, new in (replaced or {}).items():
        text = text.replace(old, new)
    return resolve(scenario(extra.replace("FAKES", FAKES), text), seed)


FAULT = """
[[fault]]
use = "FAKES:FakeFault"
victims = ["n1"]
from = "100ms"
until = "300ms"
"""

BEHAVIOUR = """
[adversary]
nodes = ["n2"]
[[adversary.behaviour]]
use = "FAKES:FakeBehaviour"
"""
