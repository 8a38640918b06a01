"""The simulated network holds what it promises, whatever is done to it (Hypothesis)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from faults.port import Link, LinkCount, MessageRule, Shape
from harness.backends.sim.kernel import Kernel
from harness.backends.sim.links import Links
from harness.backends.sim.wire import Suspects
from nodes.messages import Message, Vote

NAMES = ("a", "b", "c")
LINKS: tuple[Link, ...] = tuple((x, y) for x in NAMES for y in NAMES if x != y)
MS = 1_000_000


def vote(number: int) -> Vote:
    """A message that can be told from every other."""
    return Vote("normal", number, bytes(32), "a", bytes(64))


class Node:
    """Receives, and remembers."""

    def __init__(self, kernel: Kernel) -> None:
        self.up, self.paused = True, False
        self.kernel = kernel
        self.got: list[tuple[str, int, int]] = []  # from, number, when

    def receive(self, sender: str, message: Message) -> None:
        assert isinstance(message, Vote)
        self.got.append((sender, message.view, self.kernel.now))


class Net:
    """Three nodes and their links; messages are numbered over the whole network."""

    def __init__(self, stream: bool, base: Shape | None = None, seed: int = 1) -> None:
        self.kernel = Kernel()
        shapes = dict.fromkeys(LINKS, base or Shape(delay_ms=10))
        groups = {"everyone": NAMES}
        self.links = Links(NAMES, groups, shapes, self.kernel, seed, Suspects((), lambda *_: None), stream)
        self.nodes = {name: Node(self.kernel) for name in NAMES}
        for inlet, node in zip(self.links.inlets, self.nodes.values(), strict=True):
            inlet.node = node
        for index in range(len(NAMES)):
            self.links.born(index)
        self.sent: list[tuple[Link, int, int]] = []  # link, number, when
        self.cuts: list[Link] = []

    def send(self, link: Link) -> None:
        number = len(self.sent) + 1
        self.sent.append((link, number, self.kernel.now))
        self.links.send(self.links.index[link[0]], link[1], vote(number))

    def multicast(self, sender: str) -> None:
        number = len(self.sent) + 1
        self.sent += [((sender, to), number, self.kernel.now) for to in NAMES if to != sender]
        self.links.multicast(self.links.index[sender], "everyone", vote(number))

    def run(self, ms: float) -> None:
        end = self.kernel.now + int(ms * MS)
        while not self.kernel.advance(end):
            pass

    def arrived(self, link: Link) -> list[int]:
        return [number for sender, number, _ in self.nodes[link[1]].got if sender == link[0]]

    def put(self, link: Link) -> list[int]:
        return [number for on, number, _ in self.sent if on == link]

    def do(self, step: tuple[Any, ...]) -> None:
        """One step of a schedule."""
        what, *rest = step
        if what == "send":
            self.send(rest[0])
        elif what == "multicast":
            self.multicast(rest[0])
        elif what == "run":
            self.run(rest[0])
        elif what == "shape":
            self.links.reshape(rest[0], rest[1])
        elif what == "cut":
            self.cuts.append(rest[0])
            self.links.cut([rest[0]])
        elif what == "heal" and rest[0] in self.cuts:
            self.cuts.remove(rest[0])
            self.links.heal([rest[0]])

    def end(self) -> None:
        """Undo everything and let everything arrive."""
        for link in LINKS:
            self.links.reshape(link, None)
        self.links.heal(self.cuts)
        self.cuts = []
        self.run(60_000)


links = st.sampled_from(LINKS)
runs = st.tuples(st.just("run"), st.integers(0, 300))
sends = st.tuples(st.just("send"), links) | st.tuples(st.just("multicast"), st.sampled_from(NAMES))
cutting = st.tuples(st.sampled_from(["cut", "heal"]), links)
shapes = st.builds(
    Shape,
    delay_ms=st.sampled_from([0.0, 5.0, 200.0]),
    jitter_ms=st.sampled_from([0.0, 20.0]),
    loss=st.sampled_from([0.0, 0.4]),
    rate_kbit=st.sampled_from([0.0, 50.0]),
)
shaping = st.tuples(st.just("shape"), links, st.none() | shapes)


# ---------------------------------------------------------------- streams
@given(st.lists(sends | sends | runs | cutting | shaping, max_size=60))
@settings(max_examples=300, deadline=None)
def test_a_stream_loses_nothing_and_keeps_its_order(schedule: Sequence[tuple[Any, ...]]) -> None:
    net = Net(stream=True)
    for step in schedule:
        net.do(step)
    net.end()
    for link in LINKS:
        assert net.arrived(link) == net.put(link)
    assert all(count.sent >= count.received > 0 for count in net.links.counters().values())


one = st.just(("a", "b"))
busy = st.tuples(st.just("send"), one) | st.tuples(st.just("run"), st.integers(0, 30))
slow = st.builds(Shape, delay_ms=st.sampled_from([0.0, 50.0, 200.0]), loss=st.sampled_from([0.0, 0.4]))


@given(st.lists(busy | busy | st.tuples(st.just("shape"), one, st.none() | slow), min_size=4, max_size=40))
@settings(max_examples=300, deadline=None)
def test_what_is_sent_after_a_shape_ends_does_not_overtake(schedule: Sequence[tuple[Any, ...]]) -> None:
    net = Net(stream=True)
    for step in schedule:
        net.do(step)
    net.end()
    assert net.arrived(("a", "b")) == net.put(("a", "b"))


@given(st.lists(sends | runs | cutting, max_size=60))
@settings(max_examples=200, deadline=None)
def test_nothing_arrives_over_a_cut_and_everything_after_the_last_heal(schedule: Sequence[tuple[Any, ...]]) -> None:
    net = Net(stream=True)
    for step in schedule:
        before = {link: len(net.arrived(link)) for link in net.cuts}
        net.do(step)
        for link in net.cuts:
            assert len(net.arrived(link)) == before.get(link, len(net.arrived(link)))
        for link, count in net.links.counters().items():
            assert count.sent >= count.received >= len(net.arrived(link)), link
    net.end()
    assert all(net.arrived(link) == net.put(link) for link in LINKS)


@given(st.integers(1, 4), st.integers(0, 4))
def test_cuts_add_up(cuts: int, heals: int) -> None:
    net, link = Net(stream=True), ("a", "b")
    for _ in range(cuts):
        net.links.cut([link])
    for _ in range(min(heals, cuts)):
        net.links.heal([link])
    net.send(link)
    net.send(("b", "a"))  # the way back is not cut
    net.run(1000)
    assert bool(net.arrived(link)) == (heals >= cuts) and net.arrived(("b", "a"))


@given(st.lists(st.tuples(st.sampled_from(["send", "die", "live", "run"]), st.integers(0, 200)), max_size=40))
@settings(max_examples=150, deadline=None)
def test_what_a_dead_receiver_misses_waits_for_it_in_order(schedule: Sequence[tuple[str, int]]) -> None:
    net, link = Net(stream=True), ("a", "b")
    for what, ms in schedule:
        if what == "send":
            net.send(link)
        elif what == "run":
            net.run(ms)
        else:
            net.nodes["b"].up = what == "live"
            (net.links.born if what == "live" else net.links.died)(1)
    net.nodes["b"].up = True
    net.links.born(1)
    net.run(5000)
    assert net.arrived(link) == net.put(link)


def test_a_sender_that_dies_takes_along_what_was_held() -> None:
    net, link = Net(stream=True), ("a", "b")
    net.links.cut([link])
    net.send(link)
    net.run(100)
    net.links.died(0)
    net.links.heal([link])
    net.send(link)
    net.run(2000)
    assert net.arrived(link) == [2]


# ---------------------------------------------------------------- datagrams
@given(st.lists(sends | runs | cutting, max_size=60))
@settings(max_examples=200, deadline=None)
def test_a_datagram_is_lost_exactly_when_its_link_is_cut_as_it_arrives(schedule: Sequence[tuple[Any, ...]]) -> None:
    net = Net(stream=False)
    changes: dict[Link, list[tuple[int, bool]]] = {link: [] for link in LINKS}  # when, cut from then on
    for step in schedule:
        net.do(step)
        for link in LINKS:
            changes[link].append((net.kernel.now, link in net.cuts))
    net.run(1000)
    for link in LINKS:
        held = [n for on, n, at in net.sent if on == link and _cut_at(changes[link], at + 10 * MS)]
        assert sorted(net.arrived(link)) == [n for n in net.put(link) if n not in held]
        count = net.links.counters()[link]
        assert count.dropped == len(held) and count.sent >= count.received


def _cut_at(changes: Sequence[tuple[int, bool]], time: int) -> bool:
    """Was the link cut at `time`? A change at that very moment comes after the arrival, by when the run had stopped."""
    return next((cut for at, cut in reversed(changes) if at < time), False)


@given(st.integers(0, 2**32), st.floats(0.05, 0.9))
@settings(max_examples=30, deadline=None)
def test_losses_are_counted_and_their_share_is_right(seed: int, loss: float) -> None:
    net = Net(False, Shape(loss=loss), seed)
    for _ in range(2000):
        net.send(("a", "b"))
    net.run(100)
    lost = 2000 - len(net.arrived(("a", "b")))
    assert abs(lost / 2000 - loss) < 0.07
    assert net.links.counters()["a", "b"].dropped >= lost


# ---------------------------------------------------------------- rules and draws
RULES = st.builds(
    MessageRule,
    action=st.sampled_from(["drop", "delay", "duplicate"]),
    links=st.lists(links, max_size=3, unique=True).map(tuple),
    probability=st.sampled_from([0.3, 0.7, 1.0]),
    high_ms=st.sampled_from([0.0, 50.0]),
    salt=st.integers(1, 2**62),
)


def _after(rules: Sequence[MessageRule], jitter: float = 3.0) -> dict[Link, list[tuple[int, int]]]:
    """(number, when) of what arrives on each link of a fixed load under these rules."""
    net = Net(False, Shape(delay_ms=10, jitter_ms=jitter))
    for rule in rules:
        net.links.add_rule(rule)
    for _ in range(12):
        for sender in NAMES:
            net.multicast(sender)
        net.run(5)
    net.run(1000)
    return {(a, b): [(n, at) for s, n, at in net.nodes[b].got if s == a] for a, b in LINKS}


@given(st.lists(RULES, min_size=1, max_size=3, unique_by=lambda rule: rule.salt), st.data())
@settings(max_examples=40, deadline=None)
def test_taking_one_rule_away_moves_no_draw_of_another_rule_or_link(rules: list[MessageRule], data: Any) -> None:
    gone = data.draw(st.sampled_from(rules))
    with_it, without = _after(rules), _after([rule for rule in rules if rule is not gone])
    for link in LINKS:
        if gone.links and link not in gone.links:
            assert with_it[link] == without[link]
    if gone.action == "drop":  # what it lets pass is as it was
        assert all(set(with_it[link]) <= set(without[link]) for link in LINKS)
    if gone.action == "duplicate":  # the originals are as they were
        assert all(set(without[link]) <= set(with_it[link]) for link in LINKS)


@given(st.lists(RULES, max_size=3, unique_by=lambda rule: rule.salt))
@settings(max_examples=40, deadline=None)
def test_a_watch_changes_nothing_and_sees_what_the_rules_did(rules: list[MessageRule]) -> None:
    net = Net(True)
    watch = net.links.watch(LINKS, ())
    for rule in rules:
        net.links.add_rule(rule)
    for _ in range(20):
        net.multicast("a")
        net.run(5)
    net.run(1000)
    passage = net.links.unwatch(watch)
    bare = Net(True)
    for rule in rules:
        bare.links.add_rule(rule)
    for _ in range(20):
        bare.multicast("a")
        bare.run(5)
    bare.run(1000)
    assert [n.got for n in net.nodes.values()] == [n.got for n in bare.nodes.values()]
    first = {(name, number): at for name in "bc" for _, number, at in reversed(net.nodes[name].got)}
    due = {(to, number): at + 10 * MS for (_, to), number, at in net.sent}
    late = [at - due[key] for key, at in first.items() if at > due[key]]
    assert passage.sent == 40 and passage.arrived == len(first) and passage.missing == 40 - len(first)
    assert passage.copies == sum(len(n.got) for n in net.nodes.values()) - len(first)
    assert passage.delayed == len(late) and passage.worst_ms * MS == max(late, default=0)


def test_a_watch_tells_a_message_that_is_sent_again_from_its_copy() -> None:
    net, message = Net(stream=True), vote(1)
    drop = net.links.add_rule(MessageRule("drop", salt=1))
    watch = net.links.watch(LINKS, ())
    net.links.send(0, "b", message)
    net.run(500)
    net.links.remove_rule(drop)
    net.links.send(0, "b", message)
    net.links.cut([("a", "c")])
    net.links.send(0, "c", message)
    net.run(500)
    net.links.heal([("a", "c")])
    net.run(5000)
    passage = net.links.unwatch(watch)
    assert (passage.sent, passage.arrived, passage.copies, passage.missing) == (3, 2, 0, 1)
    assert passage.delayed == 1 and 500 < passage.worst_ms < 1500  # what the cut held up, and nothing else


def test_a_rule_breaks_the_order_of_a_stream_and_its_end_restores_it() -> None:
    net, link = Net(stream=True), ("a", "b")
    rule = net.links.add_rule(MessageRule("delay", (link,), probability=0.3, high_ms=100, salt=7))
    for _ in range(50):
        net.send(link)
        net.run(5)
    assert net.links.remove_rule(rule).hit > 5
    net.run(200)
    assert sorted(net.arrived(link)) == net.put(link) != net.arrived(link)
    before = len(net.sent)
    for _ in range(50):
        net.send(link)
        net.run(5)
    net.run(200)
    assert net.arrived(link)[before:] == net.put(link)[before:]


def test_counters_start_again_with_the_process() -> None:
    net = Net(stream=True)
    net.send(("a", "b"))
    net.run(100)
    assert net.links.counters()["a", "b"] == LinkCount(1, 1, 0)
    net.links.died(1)
    assert net.links.counters()["a", "b"] == LinkCount(1, 0, 0)
    net.links.died(0)
    assert net.links.counters()["a", "b"] == LinkCount(0, 0, 0)
