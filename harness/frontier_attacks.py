"""The attacks that `moonquake frontier` knows: what is counted, where the bound lies, and the scenario of each (n, b).

Each is the boundary pair of protocol.md 6.4 in harness/scenarios/boundary/, drawn over sizes and counts: at the sizes
of the files the scenarios are those of the files.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from functools import partial
from math import comb
from typing import Any, TypeAlias

import msgspec

from harness import plugins, regime
from harness.outcome import UsageError, nearest
from harness.scenario import parse
from harness.shipped import ROOT
from harness.toml import Source
from nodes.committee import clan_faults, clan_majority, tribe_faults, tribe_quorum

Values: TypeAlias = dict[str, Any]  # of a scenario's TOML document
REACH = 2  # for an attack without a bound of its own: so many nodes past the tribe's
LARGE = 40  # nodes; above that a view's n^2 messages are too many for more than a few views


class Attack(msgspec.Struct, frozen=True):
    """`size`: what n counts. `promised(n)`: up to so many faulty nodes the property is claimed to hold. `breaks(n)`: so
    many must be able to break it (None: nothing is said). `most(n)`: more would leave nothing to examine."""

    name: str
    summary: str
    size: str
    sizes: tuple[int, ...]
    smallest: int
    properties: tuple[str, ...]
    promised: Callable[[int], int]
    breaks: Callable[[int], int] | None
    most: Callable[[int], int]
    values: Callable[[int, int], Values]

    def claimed(self, n: int) -> int:
        """The bound as it should be observed: one less than what must break, else what is promised."""
        return self.promised(n) if self.breaks is None else self.breaks(n) - 1

    def scenario(self, n: int, b: int) -> Values:
        """The scenario with b faulty nodes; what it expects follows from its regime (harness/regime.py)."""
        values = self.values(n, b)
        values |= {"name": f"{self.name}-n{n}-b{b}", "expect": "hold"}
        values["description"] = f"{self.summary} Here {b} of {n} in the {self.size}."
        checks = values.setdefault("checks", {})
        checks["include"] = list(dict.fromkeys([*self.properties, "fork", "prefix", "receipts"]))
        scenario = parse(values, Source(values["name"]))
        if regime.regime_of(scenario, scenario.adversary.nodes).beyond:
            values["expect"] = {"violate": list(self.properties if self.breaks else self.properties[:1])}
        return values


def find(attack: str) -> Attack:
    """A named frontier, a registered behaviour or FILE.py:Class. Raises UsageError naming the nearest."""
    if attack in ATTACKS:
        return ATTACKS[attack]
    behaviours = plugins.registered("behaviours")
    if attack in behaviours or plugins.is_file(attack):
        plugins.load("behaviours", attack)  # a file that lacks the class is refused here
        return _behaviour(attack)
    known = [*ATTACKS, *behaviours]
    raise UsageError(f"no attack {attack!r}; {nearest(attack, known)} (or path/to/file.py:Class)")


# ---------------------------------------------------------------- where the bounds lie (protocol.md sections 0 and 6.4)
def _tribe_breaks(n: int) -> int:
    """2Q - n_t: then either half of the honest makes a quorum with the coalition."""
    return 2 * tribe_quorum(n) - n


def _silent_tribe_breaks(n: int) -> int:
    return n - tribe_quorum(n) + 1


def _silent_clan_breaks(n: int) -> int:
    return n - clan_majority(n) + 1


def _divisible(n: int) -> int:
    """As many as leave two honest nodes, one on either side, and one honest voter in the first side's quorum."""
    return min(_tribe_breaks(n) + 1, n - 2, tribe_quorum(n) - 1)


def _past(breaks: Callable[[int], int], n: int) -> int:
    """One more than what breaks it, if somebody is left to see it."""
    return min(breaks(n) + 1, n - 1)


# ---------------------------------------------------------------- scenarios
def _base(layer: str) -> Values:
    return tomllib.loads((ROOT / "boundary" / f"{layer}-past-bound.toml").read_text(encoding="utf-8"))


def _names(start: int, stop: int) -> list[str]:
    return [f"n{i}" for i in range(start, stop)]


def _corrupt(values: Values, nodes: Sequence[str]) -> None:
    """The adversary's nodes; without any, no behaviour."""
    values["adversary"]["nodes"] = list(nodes)
    if not nodes:
        del values["adversary"]["nodes"], values["adversary"]["behaviour"]


def _sides(n: int, b: int) -> tuple[list[str], list[str]]:
    """The honest in two: with b more the first side is just a quorum, the second all the others."""
    middle = tribe_quorum(n) - b
    return _names(0, middle), _names(middle, n - b)


def _slow(values: Values) -> None:
    """Few views and little load, for large committees."""
    values["network"] = {"latency": "uniform:250"}
    values["cluster"]["parameters"] = {"delta_ms": 1000}
    values["workload"] |= {"rate": 2, "clients": 4, "duration": "7s"}


def _tribe(n: int, b: int) -> Values:
    values = _base("tribe")
    first, second = _sides(n, b)
    halves = [[*first, "g0"], second]
    values["cluster"]["nodes"] = n
    if n > LARGE:  # leaders of either side alone, so that views are not wasted; double votes are enough for a fork
        _slow(values)
        values["cluster"]["leaders"] = [first[0], second[0]]
        values["adversary"]["behaviour"] = values["adversary"]["behaviour"][1:]
        values["fault"][0]["until"] = "6s"
    for behaviour in values["adversary"]["behaviour"]:
        behaviour["options"] = {"halves": halves}
    values["fault"][0]["groups"] = halves
    _corrupt(values, _names(n - b, n))
    return values


def _amnesia(n: int, b: int) -> Values:
    """b counts the amnesiac, who is the first to be faulty; the others vote for both sides."""
    values = _base("amnesia")
    first, second = _sides(n, b)
    forgetful = _names(n - b, n - b + min(b, 1))
    side = [*first, "g0"]
    values["cluster"] |= {"nodes": n, "leaders": [first[0], second[0]]}
    before, between, after = values["adversary"]["behaviour"]
    before["options"] = {"halves": [[*first, *forgetful, "g0"], second]}
    between["options"] = {"halves": [side, second]}
    after["options"] = {"halves": [side, [*second, *forgetful]]}
    divided, with_first, loss, with_second = values["fault"]
    divided["groups"], with_first["groups"], with_second["groups"] = (
        [side, second],
        [forgetful, second],
        [forgetful, side],
    )
    loss["victims"] = forgetful
    if not forgetful:
        values["fault"] = [divided]
        del values["adversary"]["amnesiacs"]
    _corrupt(values, _names(n - b + len(forgetful), n))
    return values


def _outlast(values: Values, n: int) -> None:
    """Behaviours begin a second after the load and end a second before it; between, a standstill would be longer than
    the checker's liveness bound, which grows with f_t (checkers/arithmetic.py)."""
    window_s = max(12, 6 + 3 * tribe_faults(n)) / 2 + 2
    values["workload"]["duration"] = f"{window_s + 2:g}s"
    for behaviour in values["adversary"]["behaviour"]:
        behaviour |= {"from": "1s", "until": f"{window_s + 1:g}s"}


def _silent_tribe(n: int, b: int) -> Values:
    values = _base("tribe-liveness")
    values["cluster"]["nodes"] = n
    _outlast(values, n)
    _corrupt(values, _names(n - b, n))
    return values


def _clan(layer: str, breaks: Callable[[int], int], n: int, b: int) -> Values:
    """The first clan has n members, b of them faulty, in a tribe that is large enough to bear them."""
    values = _base(layer)
    total = max(n + 3, 3 * _past(breaks, n) + 1)
    values["cluster"] |= {"nodes": total, "clans": [_names(0, n), _names(n, total)]}
    if total > LARGE:
        _slow(values)
    _corrupt(values, _names(0, b))
    return values


def _family(n: int, b: int) -> Values:
    """Families of n = f_c + 1 in a clan of 2n - 1; the fewer of them are all faulty, the more transactions it takes."""
    values = _clan("family", clan_majority, 2 * n - 1, b)
    rarity = comb(2 * n - 1, n) / comb(3, 2)
    values["workload"] |= {"rate": 10 * rarity, "clients": round(16 * rarity)}
    return values


def _behaviour(use: str) -> Attack:
    """Any behaviour, with its default parameters, on b nodes of a tribe that is one clan: every property is watched."""
    name = use.rpartition(":")[2] if plugins.is_file(use) else use
    return Attack(
        name, f"The behaviour {name} alone.", "tribe", (4, 7), 4, PROPERTIES, tribe_faults, None,
        lambda n: min(tribe_faults(n) + REACH, n - 1), partial(_plain, use),
    )  # fmt: skip


def _plain(use: str, n: int, b: int) -> Values:
    values: Values = {
        "cluster": {"nodes": n, "clans": 1, "gateways": 1},
        "network": {"latency": "uniform:100"},
        "workload": {"kind": "transfers", "rate": 10, "clients": 16},
        "adversary": {"behaviour": [{"use": use}]},
        "run": {"quiet": "6s"},
    }
    _outlast(values, n)
    _corrupt(values, _names(n - b, n))
    return values


PROPERTIES = (
    "fork", "prefix", "dedup", "availability", "censorship", "state-root", "acknowledged", "conservation",
    "finality-bounds", "liveness",
)  # fmt: skip
_TRIBES, _CLANS = tuple(range(4, 14)), (3, 4, 5, 7)

_ALL = (
    Attack(
        "tribe", "Equivocation and double votes across a divided tribe.", "tribe", _TRIBES, 4, ("fork",),
        tribe_faults, _tribe_breaks, _divisible, _tribe,
    ),
    Attack(
        "amnesia", "Double voters, and one node that forgets its votes and wakes on the other side.", "tribe",
        (4, 5, 6, 7), 4, ("fork", "prefix"), tribe_faults, _tribe_breaks, _divisible, _amnesia,
    ),
    Attack(
        "tribe-liveness", "Replicas that keep every vote and time-out to themselves.", "tribe", (4, 5, 6, 7), 4,
        ("liveness",), tribe_faults, _silent_tribe_breaks, partial(_past, _silent_tribe_breaks), _silent_tribe,
    ),
    Attack(
        "clan-data", "Batches shown to a bare majority and served to nobody.", "clan", _CLANS, 3, ("availability",),
        clan_faults, clan_majority, partial(_past, clan_majority), partial(_clan, "clan-data", clan_majority),
    ),
    Attack(
        "clan-state", "Executors that sign one false root.", "clan", _CLANS, 3, ("state-root",),
        clan_faults, clan_majority, partial(_past, clan_majority), partial(_clan, "clan-state", clan_majority),
    ),
    Attack(
        "clan-liveness", "Members that keep availability and state votes to themselves.", "clan", _CLANS, 3,
        ("finality-bounds", "liveness"), lambda n: n - clan_majority(n), _silent_clan_breaks,
        partial(_past, _silent_clan_breaks), partial(_clan, "clan-liveness", _silent_clan_breaks),
    ),
    Attack(
        "family", "Batch proposers that ignore every transaction.", "family", (2, 3), 2, ("censorship",),
        lambda n: n - 1, lambda n: n, lambda n: min(n + 1, 2 * n - 2), _family,
    ),
)  # fmt: skip
ATTACKS: dict[str, Attack] = {attack.name: attack for attack in _ALL}
