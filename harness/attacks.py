"""The attack library as tables: behaviours with what they say about themselves, and the shipped scenarios by attack."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from faults.byzantine.mistakes import described
from faults.byzantine.port import Behaviour
from faults.registry import summary
from harness import plugins
from harness.shipped import ROOT

COLUMNS = ("name", "what it is", "attacks", "breaks at", "aims at", "parameters", "scenarios")


class Entry(msgspec.Struct, frozen=True):
    """A registered behaviour. `attacks`: ids of protocol.md 5.3 to 5.8; `parameters`: name -> type and default;
    `scenarios`: shipped attack scenarios that use it."""

    name: str
    summary: str
    attacks: tuple[str, ...]
    breaks_at: str
    aims_at: str
    parameters: dict[str, str]
    scenarios: tuple[str, ...]

    def row(self) -> tuple[str, ...]:
        """The cells of its line, as COLUMNS."""
        parameters = "; ".join(f"{name}: {text}" for name, text in self.parameters.items())
        return (
            self.name, self.summary, ", ".join(self.attacks), self.breaks_at, self.aims_at, parameters,
            ", ".join(paired(self.scenarios)),
        )  # fmt: skip


class Shipped(msgspec.Struct, frozen=True):
    """A scenario of the library."""

    name: str
    description: str
    uses: tuple[str, ...]  # behaviours, else faults, else the workload
    breaks: tuple[str, ...]  # properties; empty: everything holds

    @property
    def attack(self) -> str:
        return self.name.partition("-")[0].upper()


def behaviours() -> list[Entry]:
    """Every registered behaviour, in name order."""
    scenarios = library()
    found = []
    for name, kind in plugins.registered("behaviours").items():
        assert issubclass(kind, Behaviour)
        used = tuple(s.name for s in scenarios if name in s.uses)
        found.append(Entry(name, summary(kind), kind.attacks, kind.breaks_at, kind.aims_at, described(kind), used))
    return found


def library() -> list[Shipped]:
    """The scenarios in harness/scenarios/attacks, by attack."""
    found = []
    for path in (ROOT / "attacks").glob("*.toml"):
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        uses = [b["use"] for b in values.get("adversary", {}).get("behaviour", [])]
        uses = uses or [f["use"] for f in values.get("fault", [])] or [values["workload"]["kind"]]
        broken = values["expect"]["violate"] if isinstance(values["expect"], dict) else []
        breaks = (broken,) if isinstance(broken, str) else tuple(broken)
        found.append(Shipped(path.stem, values["description"], tuple(dict.fromkeys(uses)), breaks))
    return sorted(found, key=lambda scenario: _natural(scenario.name))


def paired(names: Sequence[str]) -> list[str]:
    """Scenario names with both sides of a pair as one: "e1-lying-executor-{at,past}"."""
    sides: dict[str, list[str]] = {}
    for name in names:
        base, _, side = name.rpartition("-")
        sides.setdefault(base, []).append(side)
    return [f"{base}-{{at,past}}" if len(found) > 1 else f"{base}-{found[0]}" for base, found in sides.items()]


def markdown() -> str:
    """docs/attacks.md, whole."""
    lines = [
        "# The attack library",
        "",
        "Written by `moonquake list behaviours --markdown > docs/attacks.md`; a test compares it with the code.",
        "[behaviours.md](behaviours.md) explains the interface, [tutorial-attack.md](tutorial-attack.md) how to begin.",
        "",
        "## Behaviours",
        "",
        *_table(COLUMNS, (entry.row() for entry in behaviours())),
        "",
        "## Scenarios by attack",
        "",
        "`-at`: the attack at its bound, everything holds. `-past`: with more nodes than that, the property breaks.",
        "",
        *_table(
            ("attack", "scenario", "what happens", "uses", "breaks"),
            ((s.attack, s.name, s.description, ", ".join(s.uses), ", ".join(s.breaks) or "nothing") for s in library()),
        ),
    ]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _natural(name: str) -> list[Any]:
    """c2 before c10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
