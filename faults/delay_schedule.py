"""Delay schedule: named messages of named views are late by a fixed time on named links; none is lost.

`delays` lists tables with `views` (first and last), `kinds`, `links` ("n0>n1") and `delay_ms`, which is added to the
link's own delay. No two of them may be about one message, so what is written is what happens. The adversary of partial
synchrony after GST: with delays that add up to Delta at most it breaks no promise of the network (P3, P16 of
protocol.md 5.1).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ClassVar

import msgspec

from faults.messages import aim, ruled
from faults.observe import HEAL_S
from faults.parameters import number
from faults.port import Capability, Cluster, Passage, Receipt, RuleCount
from faults.rounds import tables


class Delay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry as a scenario holds it."""

    views: tuple[int, int]
    kinds: tuple[str, ...]
    links: tuple[str, ...]
    delay_ms: float

    def clashes(self, other: Delay) -> bool:
        """Is there a message that both would delay?"""
        apart = self.views[1] < other.views[0] or other.views[1] < self.views[0]
        return not apart and bool(set(self.kinds) & set(other.kinds)) and bool(set(self.links) & set(other.links))


class DelaySchedule:
    name: ClassVar[str] = "delay-schedule"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.MESSAGE})

    def __init__(self, delays: Any, verify_s: float = HEAL_S) -> None:
        self._delays = _parse(delays)
        self._aims = [aim(None, d.links, None, None, d.kinds, d.views) for d in self._delays]
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        rules = []
        for delay, one in zip(self._delays, self._aims, strict=True):
            links = await one.resolve(cluster, rng)
            rules.append(one.rule("delay", links, rng, low_ms=delay.delay_ms, high_ms=delay.delay_ms))
        async with ruled(cluster, rng, self.name, rules, self._judge, self._verify_s) as receipt:
            yield receipt

    def _judge(self, receipt: Receipt, passage: Passage, counts: Sequence[RuleCount]) -> None:
        receipt.changed = sum(count.hit for count in counts)
        receipt.bit = receipt.changed > 0 and passage.delayed > 0
        receipt.evidence = (
            f"{receipt.changed} messages delayed by {len(counts)} entries; {passage.delayed} arrived late,"
        )
        receipt.evidence += f" at worst by {passage.worst_ms:.1f} ms, {passage.missing} not at all"


def _parse(value: Any) -> list[Delay]:
    found = tables(value, Delay, "delays")
    for index, entry in enumerate(found):
        number(f"delays[{index}].delay_ms", entry.delay_ms, 0.001, unit="milliseconds")
        if not entry.kinds or not entry.links:
            raise ValueError(f"delays[{index}]: at least one kind and one link")
        twin = next((i for i, other in enumerate(found[:index]) if entry.clashes(other)), None)
        if twin is not None:
            raise ValueError(f"delays[{index}] and delays[{twin}] are about the same messages: take them out of one")
    return found
