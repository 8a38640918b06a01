"""Base latency of a network: profile name -> one-way delay of every directed link.

Profiles: "uniform:<ms>" (every link, one way), "gcp-5" and "gcp-5:<scale>" (five regions, nodes dealt round-robin,
round-trip times of protocol.md 1.12 halved), "lan" (0.2 ms).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

from faults.port import Link, NodeId, Shape
from faults.topology import all_links

REGIONS = ("useast", "uswest", "eunorth", "asne", "ause")
_RTT_MS = {
    ("useast", "uswest"): 66.0,
    ("useast", "eunorth"): 115.0,
    ("useast", "asne"): 160.0,
    ("useast", "ause"): 198.0,
    ("uswest", "eunorth"): 158.0,
    ("uswest", "asne"): 90.0,
    ("uswest", "ause"): 138.0,
    ("eunorth", "asne"): 245.0,
    ("eunorth", "ause"): 295.0,
    ("asne", "ause"): 106.0,
}
_RTT_INTRA_MS = 0.7
LAN_MS = 0.2
PROFILES = ("uniform:<ms>", "gcp-5", "gcp-5:<scale>", "lan")


def region_of(nodes: Sequence[NodeId]) -> dict[NodeId, str]:
    """Nodes dealt round-robin to the five regions, in the given order."""
    return {node: REGIONS[i % len(REGIONS)] for i, node in enumerate(nodes)}


def _delay(profile: str, nodes: Sequence[NodeId]) -> Callable[[Link], float]:
    name, colon, argument = profile.partition(":")
    number = _number(argument) if colon else None
    if name == "uniform" and number is not None:
        return lambda link: number
    if name == "lan" and not colon:
        return lambda link: LAN_MS
    if name == "gcp-5" and (number or not colon):
        region, scale = region_of(nodes), 1.0 if number is None else number

        def between(link: Link) -> float:
            a, b = region[link[0]], region[link[1]]
            rtt = _RTT_INTRA_MS if a == b else _RTT_MS.get((a, b)) or _RTT_MS[b, a]
            return rtt / 2 * scale

        return between
    raise ValueError(
        f"latency profile {profile!r} does not exist; there are {', '.join(PROFILES)} (numbers not negative)"
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def base_shapes(profile: str, nodes: Sequence[NodeId], jitter_ms: float = 0.0) -> dict[Link, Shape]:
    """The shape of every directed link between `nodes`. Raises ValueError listing the profiles on a wrong name."""
    if not (math.isfinite(jitter_ms) and jitter_ms >= 0):
        raise ValueError(f"jitter_ms = {jitter_ms!r}: a number of milliseconds, not negative")
    delay = _delay(profile, nodes)
    return {link: Shape(delay_ms=delay(link), jitter_ms=jitter_ms) for link in all_links(nodes)}


def mean_delay_ms(profile: str, nodes: Sequence[NodeId]) -> float:
    """One message delay `md` of the profile: the mean one-way delay over all pairs of different nodes (0 if none)."""
    delay = _delay(profile, nodes)
    pairs = list(combinations(nodes, 2))
    return sum(delay(pair) for pair in pairs) / len(pairs) if pairs else 0.0
