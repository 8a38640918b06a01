"""Chaos: before GST every message between tribe nodes is delayed at random, up to `most_ms`, or lost with `loss`.

The window's end is where the network becomes synchronous: what is still on its way then arrives within `most_ms`, and
the receipt's `healed`, the GST of the run, is the moment at which it has. Primitives P3 and P10 of protocol.md 5.1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import ClassVar

from faults.messages import Aim, ruled
from faults.observe import HEAL_S
from faults.parameters import number
from faults.port import Capability, Cluster, Passage, Receipt, RuleCount
from faults.topology import all_links


class Chaos:
    name: ClassVar[str] = "chaos"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.MESSAGE})

    def __init__(self, most_ms: float, loss: float = 0.0, verify_s: float = HEAL_S) -> None:
        self._most_ms = number("most_ms", most_ms, 1.0, unit="milliseconds")
        self._loss = number("loss", loss, 0.0, 0.99)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        links, anything = all_links(cluster.roster.tribe), Aim()
        rules = [anything.rule("delay", links, rng, 1.0, 0.0, self._most_ms)]
        if self._loss:
            rules.insert(0, anything.rule("drop", links, rng, self._loss))
        async with ruled(cluster, rng, self.name, rules, _judge, self._verify_s) as receipt:
            yield receipt


def _judge(receipt: Receipt, passage: Passage, counts: Sequence[RuleCount]) -> None:
    receipt.changed = counts[-1].hit
    receipt.dropped = sum(count.hit for count in counts[:-1])
    receipt.bit = passage.delayed > 0 and (not receipt.dropped or passage.missing > 0)
    receipt.evidence = (
        f"{receipt.changed} messages delayed, {receipt.dropped} dropped; of {passage.sent} that the watch"
    )
    receipt.evidence += f" saw {passage.delayed} were late, at worst by {passage.worst_ms:.1f} ms, and"
    receipt.evidence += f" {passage.missing} are missing"
