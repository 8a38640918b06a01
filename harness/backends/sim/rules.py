"""Rules per message kind and view, compiled: which of a link's messages are dropped, delayed or duplicated.

Draws come from (seed, the rule's own salt, link, message counter), so that taking one rule away moves no other rule's
draws.
"""

from __future__ import annotations

from typing import Any

from faults.port import Link, MessageRule, RuleCount
from harness.backends.sim.draws import salt, unit
from nodes.messages import Message

ACTIONS = ("drop", "delay", "duplicate")


def kind_of(message: Message) -> str:
    """The wire tag of a message."""
    return str(type(message).__struct_config__.tag)


def view_of(message: Any) -> int | None:
    """The view that a message speaks of, if it does."""
    view = getattr(message, "view", None)
    if view is None:
        block = getattr(message, "block", None)
        view = getattr(block, "view", None)
    return view if isinstance(view, int) else None


class ActiveRule:
    """One rule in force. Raises ValueError on one that makes no sense."""

    def __init__(self, rule: MessageRule, seed: int, number: int) -> None:
        if rule.action not in ACTIONS:
            raise ValueError(f"a message rule can {', '.join(ACTIONS)}; there is no {rule.action!r}")
        if not (0 <= rule.low_ms <= rule.high_ms and 0 < rule.probability <= 1):
            raise ValueError(f"a message rule needs 0 <= low_ms <= high_ms and a probability in (0, 1], not {rule}")
        self.rule = rule
        self.matched = 0
        self.hit = 0
        self._links = frozenset(rule.links)
        self._kinds = frozenset(rule.kinds)
        self._seed = seed
        self._own = f"salt {rule.salt}" if rule.salt else number  # a number depends on what was added before
        self._salts: dict[Link, int] = {}

    def apply(self, link: Link, message: Message, counter: int, delays: list[int]) -> list[int]:
        """`delays` holds the extra delay (ns) of each copy on its way; returns them after this rule."""
        rule = self.rule
        if self._links and link not in self._links:
            return delays
        if self._kinds and kind_of(message) not in self._kinds:
            return delays
        if rule.views is not None:
            view = view_of(message)
            if view is None or not rule.views[0] <= view <= rule.views[1]:
                return delays
        self.matched += 1
        base = self._salts.get(link)
        if base is None:
            base = self._salts[link] = salt(self._seed, "rule", self._own, *link)
        if rule.probability < 1 and unit(base, 2 * counter) >= rule.probability:
            return delays
        self.hit += 1
        if rule.action == "drop":
            return []
        extra = int((rule.low_ms + (rule.high_ms - rule.low_ms) * unit(base, 2 * counter + 1)) * 1e6)
        if rule.action == "delay":
            return [delay + extra for delay in delays]
        return delays + [delay + extra for delay in delays]

    def count(self) -> RuleCount:
        return RuleCount(self.matched, self.hit)
