"""Latency: adds delay and jitter to links, uniformly or as in a profile, on top of the scenario's base latency.

Give `delay_ms` (one way) or `profile` (as in [network] latency), and `jitter_ms`. Links that touch a victim are slowed;
`victims` = "all" (the default) slows every link. Primitive P3 of protocol.md 5.1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ClassVar

from faults.observe import HEAL_S
from faults.parameters import number
from faults.port import Capability, Cluster, Link, LinkCount, Receipt, Shape
from faults.profiles import base_shapes
from faults.shaping import crossed, shaped, shaped_links
from faults.victims import parse


class Latency:
    name: ClassVar[str] = "latency"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.LATENCY})

    def __init__(
        self,
        delay_ms: float | None = None,
        jitter_ms: float = 0.0,
        profile: str | None = None,
        victims: Any = "all",
        verify_s: float = HEAL_S,
    ) -> None:
        if (delay_ms is None) == (profile is None):
            raise ValueError(f"delay_ms = {delay_ms!r}, profile = {profile!r}: give exactly one of the two")
        self._profile = f"uniform:{number('delay_ms', delay_ms, unit='milliseconds')}" if profile is None else profile
        self._jitter_ms = number("jitter_ms", jitter_ms, unit="milliseconds")
        base_shapes(self._profile, ("a", "b"), self._jitter_ms)  # refuses a wrong profile now, not in mid-run
        self._victims = parse(victims)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        all_shapes = base_shapes(self._profile, cluster.roster.nodes, self._jitter_ms)
        shapes: dict[Link, Shape] = {link: all_shapes[link] for link in await shaped_links(cluster, rng, self._victims)}
        async with shaped(cluster, self.name, shapes, _judge, self._verify_s) as receipt:
            yield receipt


def _judge(receipt: Receipt, window: Mapping[Link, LinkCount]) -> None:
    receipt.changed = crossed(window)
    receipt.bit = receipt.changed > 0
    receipt.evidence = f"{receipt.changed} messages crossed {len(window)} links that {receipt.layer} delayed"
