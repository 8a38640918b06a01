"""What the message faults share: which messages on which links, rules put in force and taken away, their effect seen.

Nobody takes a rule's word for what it did: a watch at the receiving ends says whether messages came late, twice, out of
order or not at all while it was in force, and that they do no more when it is gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, cast, get_args

import msgspec

from faults.observe import book_of, eventually, view_of
from faults.parameters import words
from faults.port import Cluster, Link, MessageRule, MessageRules, Passage, Receipt, RuleCount
from faults.shaping import shaped_links
from faults.victims import VictimSpec, parse, resolve
from nodes.messages import Message

KINDS = tuple(sorted(str(kind.__struct_config__.tag) for kind in get_args(Message)))
MOST_WATCHED = 200  # links; of more a sample is watched
WINDOW_S = 0.5
ENOUGH = 5.0  # so many hits must be expected of a rule that is still there: none at all has probability 0.7 %
PATIENCE_S = 5.0  # how long that much traffic is waited for

Judge = Callable[[Receipt, Passage, Sequence[RuleCount]], None]


class Aim(msgspec.Struct, frozen=True):
    """Which messages a fault is after: links (by victims, one by one, or from senders to receivers), kinds, views."""

    victims: VictimSpec = "all"
    links: tuple[Link, ...] = ()
    senders: VictimSpec | None = None
    receivers: VictimSpec | None = None
    kinds: tuple[str, ...] = ()
    views: tuple[int, int] | None = None

    async def resolve(self, cluster: Cluster, rng: Random) -> tuple[Link, ...]:
        """The links that are meant now. Raises ValueError on a node that does not exist."""
        roster = cluster.roster
        if self.links:
            resolve(tuple(dict.fromkeys(node for link in self.links for node in link)), roster, rng)
            return self.links
        if self.senders is None and self.receivers is None:
            return await shaped_links(cluster, rng, self.victims)
        view = await view_of(cluster)
        first, last = (
            roster.nodes if s is None else resolve(s, roster, rng, view) for s in (self.senders, self.receivers)
        )
        return tuple((a, b) for a in first for b in last if a != b)

    def rule(self, action: str, links: Sequence[Link], rng: Random, probability: float = 1.0, low_ms: float = 0.0,
             high_ms: float = 0.0) -> MessageRule:  # fmt: skip
        """A rule for these messages, with draws of its own."""
        salt = rng.getrandbits(62) + 1
        return MessageRule(action, tuple(links), self.kinds, self.views, probability, low_ms, high_ms, salt)


def aim(victims: Any, links: Any, senders: Any, receivers: Any, kinds: Any = None, views: Any = None) -> Aim:
    """The parameters that every message fault takes, checked; None is "not given". Raises ValueError."""
    ways = [victims is not None, links is not None, senders is not None or receivers is not None]
    if sum(ways) > 1:
        raise ValueError("victims, links, senders and receivers: give victims, or links, or senders and receivers")
    sides = [None if s is None else parse(s, key) for s, key in ((senders, "senders"), (receivers, "receivers"))]
    chosen = parse("all" if victims is None else victims)
    return Aim(chosen, _links(links), sides[0], sides[1], _kinds(kinds), _views(views))


def _links(value: Any) -> tuple[Link, ...]:
    texts = () if value is None else words("links", value, 'links, like ["n0>n1", "n1>n0"]')
    ends = [tuple(text.split(">")) for text in texts]
    for text, link in zip(texts, ends, strict=True):
        if len(link) != 2 or not all(link) or link[0] == link[1]:
            raise ValueError(f'links = [.., {text!r}, ..]: a link is written "n0>n1", from the sender to the receiver')
    return tuple((link[0], link[1]) for link in ends)


def _kinds(value: Any) -> tuple[str, ...]:
    kinds = () if value is None else words("kinds", value, f"message kinds: {', '.join(KINDS)}")
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(f"kinds = {list(kinds)}: no kind {unknown[0]!r}; there are {', '.join(KINDS)}")
    return kinds


def _views(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    pair = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    if len(pair) != 2 or not all(type(view) is int for view in pair) or not 0 <= pair[0] <= pair[1]:
        raise ValueError(f"views = {value!r}: the first and the last view, like [10, 20]")
    return pair[0], pair[1]


@asynccontextmanager
async def ruled(
    cluster: Cluster, rng: Random, name: str, rules: Sequence[MessageRule], judge: Judge, verify_s: float
) -> AsyncIterator[Receipt]:
    """Put the rules in force; on leaving take them away, let `judge` say what they did, and see that messages pass
    unharmed on their links."""
    network, book, kinds = cast(MessageRules, cluster), book_of(cluster), _kinds_of(rules)
    links = tuple(dict.fromkeys(link for rule in rules for link in rule.links))
    receipt = Receipt(name, tuple(f"{a}>{b}" for a, b in links), cluster.layer, cluster.now(), matched=len(links))
    seen = links if len(links) <= MOST_WATCHED else tuple(sorted(rng.sample(links, MOST_WATCHED)))
    book.ruled.update(links)
    watch = await network.watch(seen, kinds)
    numbers: list[int] = []
    finished = False
    try:
        for rule in rules:
            numbers += [await network.add_rule(rule)]
        yield receipt
        finished = True
    finally:
        counts = [await network.remove_rule(number) for number in numbers]
        book.ruled.subtract(links)
        if finished:
            await cluster.sleep(max(rule.high_ms for rule in rules) / 1000)  # until then what it delayed arrives
        passage = await network.unwatch(watch)
        receipt.healed = cluster.now()
        if finished:
            judge(receipt, passage, counts)
            receipt.evidence += f"; seen on {len(seen)} of {len(links)} links" if len(seen) < len(links) else ""
            await _verify(cluster, seen, rules, numbers, receipt, verify_s)


async def _verify(
    cluster: Cluster, links: Sequence[Link], rules: Sequence[MessageRule], numbers: Sequence[int], receipt: Receipt,
    verify_s: float,
) -> None:  # fmt: skip
    """Healed means: the network lists none of the rules, and of the messages that follow none is harmed: so many that
    the rarest of the rules would have hit some, where so many of that kind are sent at all."""
    network, book = cast(MessageRules, cluster), book_of(cluster)
    share = min(rule.probability for rule in rules)
    last, unharmed, free, begin = Passage(), 0, list(links), cluster.now()

    async def enough() -> bool:
        nonlocal last, unharmed, free
        free = [link for link in links if not book.held(link) and not book.ruled[link]]
        watch = await network.watch(free, _kinds_of(rules))
        await cluster.sleep(WINDOW_S)
        last = await network.unwatch(watch)
        unharmed = 0 if _harmed(last) else unharmed + last.arrived
        late = cluster.now() - begin >= PATIENCE_S * 1e9
        return not free or (not _harmed(last) and (unharmed * share >= ENOUGH or late))

    clean = await eventually(cluster, enough, verify_s)
    left = set(numbers) & set(await network.rules())
    receipt.heal_verified = clean and not left
    if left:
        receipt.evidence += f"; NOT healed: the network still lists {len(left)} of its rules"
    elif not clean:
        receipt.evidence += f"; NOT healed within {verify_s:g} s: {_harm(last)}"
    elif not free:
        receipt.evidence += "; its links are still held by another fault, which answers for them"
    else:
        receipt.evidence += f"; after the heal {unharmed} messages passed unharmed, and its rules are gone"


def _kinds_of(rules: Sequence[MessageRule]) -> tuple[str, ...]:
    """Kinds that some rule is about; empty: all."""
    return tuple(sorted({kind for rule in rules for kind in rule.kinds})) if all(r.kinds for r in rules) else ()


def _harmed(passage: Passage) -> bool:
    return passage.copies + passage.delayed + passage.missing > 0


def _harm(passage: Passage) -> str:
    return (
        f"of {passage.sent} messages {passage.delayed} came late, {passage.copies} again, {passage.missing} not at all"
    )
