"""The simulated network: one directed link for each ordered pair of nodes.

Two transports. `stream` behaves like the TCP links of the real runtime: a link keeps its order, a lost packet is sent
again later, and what cannot pass (a cut, a receiver that is down) waits at the sender and arrives some time after the
heal; a sender that dies takes it along. `datagram` loses what is lost or cut, and jitter reorders.

Draws depend on (seed, link, number of the message on the link) only. A multicast copies no message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from faults.port import Link, LinkCount, MessageRule, NodeId, Passage, RuleCount, Shape
from harness.backends.sim.counts import Counts
from harness.backends.sim.draws import salts, tie_break, unit
from harness.backends.sim.ends import Inlet, LinkFan
from harness.backends.sim.floor import LaneFloor
from harness.backends.sim.kernel import Kernel
from harness.backends.sim.lanes import LANED, Lanes
from harness.backends.sim.medium import Medium
from harness.backends.sim.rules import ActiveRule
from harness.backends.sim.watch import LinkWatch
from harness.backends.sim.wire import Suspects
from nodes.committee import Committee
from nodes.crypto import Domain, Verifier
from nodes.messages import Message

KEEP_ALIVE_NS = 500_000_000  # as the real links do it
RECONNECT_NS = (50_000_000, 500_000_000)  # how long after a heal a stream flows again
MAX_HELD = 10_000  # messages that wait on one link; the oldest are dropped


class Links:
    """All links. `base` is the shape of each; a link that it lacks has none."""

    def __init__(
        self,
        names: Sequence[NodeId],
        groups: Mapping[str, Sequence[NodeId]],
        base: dict[Link, Shape],
        kernel: Kernel,
        seed: int,
        suspects: Suspects,
        stream: bool = True,
        egress_mbit: float = 0.0,
    ) -> None:
        self.names = tuple(names)
        self.size = len(self.names)
        self.index = {name: i for i, name in enumerate(self.names)}
        self.inlets = [Inlet(i, self) for i in range(self.size)]
        self._kernel = kernel
        self._seed = seed
        self._suspects = suspects
        self._stream = stream
        n = self.size
        self._groups: list[dict[str, tuple[int, ...]]] = [
            {g: tuple(self.index[m] for m in members if m != me) for g, members in groups.items()} for me in self.names
        ]
        self._ties, self._noise = salts(seed, "tie", self.names), salts(seed, "noise", self.names)
        self._counts = Counts(self._groups)
        shapes = [[base.get((a, b), Shape()) for b in self.names] for a in self.names]
        self._medium = Medium(shapes, self._noise, self._counts.dropped, stream, egress_mbit)
        self._delay = self._medium.delay
        self._reconnects = [[0] * n for _ in range(n)]
        self._held: dict[tuple[int, int], deque[tuple[Message, int]]] = {}  # with their numbers, if they are watched
        self._resuming: dict[tuple[int, int], int] = {}  # when a link that was held up flows again
        # What is on its way on links with an extra shape, by departure: a heal takes the shape off it too.
        self._under_way: dict[tuple[int, int], dict[int, tuple[int, Message, int]]] = {}
        self._departures = 0
        self._settled: dict[tuple[int, int], int] = {}  # when the last message that is not on those books arrives
        self._rules: dict[int, ActiveRule] = {}
        self._watches: dict[int, LinkWatch] = {}
        self._next_number = 1  # of rules and watches
        self._landing = 0  # number on its link of the message that arrives now, if it is watched
        self._plain = [False] * n
        self._reviewing = False  # another look is on its way
        self.lanes: Lanes | None = None
        self._lanes_open = False
        self._fans: list[dict[str, LinkFan]] = [{} for _ in range(n)]
        self._review()

    # ------------------------------------------------------------ sending
    def send(self, sender: int, to: NodeId, message: Message) -> None:
        """One message to one node. Raises KeyError for a node that does not exist."""
        self._offer(sender, self.index[to], message)

    def multicast(self, sender: int, group: str, message: Message) -> None:
        """To every member of the group but the sender."""
        laned = self.lanes is not None and type(message) in LANED
        if laned and not (self._lanes_open and self._plain[sender]):
            self.lanes.cast(sender, message)  # type: ignore[union-attr]  # see `laned`
        if not self._plain[sender]:
            for to in self._groups[sender][group]:
                self._offer(sender, to, message)
            return
        fan = self._fans[sender].get(group)
        if fan is None:
            targets, delays, ties = self._groups[sender][group], self._delay[sender], self._ties[sender]
            fan = LinkFan(sender, targets, delays, ties, self.inlets, self._suspects)
            self._fans[sender][group] = fan
        if laned and self._lanes_open:
            self._counts.cast(sender, group)
            self.lanes.offer(sender, fan.honest, message)  # type: ignore[union-attr]  # open: there are some
            for to in fan.corrupted:  # a behaviour wants to see every vote
                self._put(sender, to, message, self._kernel.now + self._delay[sender][to])
            return
        counts = self._counts.sent[sender]
        for to in fan.targets:
            counts[to] += 1
        self._kernel.scheduler.fan_out(self._kernel.now, fan, message)

    def _offer(self, sender: int, to: int, message: Message) -> None:
        """One message on one link, whatever is done to it there."""
        if sender == to:
            return
        self._counts.sent[sender][to] = number = self._counts.sent[sender][to] + 1
        if self._plain[sender]:
            return self._put(sender, to, message, self._kernel.now + self._delay[sender][to])
        number += self._counts.laned(sender, to)
        delays = [0]
        if self._rules:
            link = (self.names[sender], self.names[to])
            for rule in self._rules.values():
                delays = rule.apply(link, message, number, delays)
                if not delays:
                    self._counts.dropped[sender][to] += 1
                    break
        at = self._kernel.now + self._delay[sender][to]
        if delays:
            at = self._medium.arrival(self._kernel.now, sender, to, message, number)
        if at < 0:
            return
        for extra in delays:  # copies travel with the original, so that they move no draw of the link's
            self._depart(sender, to, message, at + extra, number if self._watches else 0)
        for watch in self._watches.values():
            watch.sent((sender, to), message, number, at)

    def _put(self, sender: int, to: int, message: Message, at: int, number: int = 0) -> None:
        """Let it arrive at `at`. A corrupted sender's message must survive the wire; what does not is refused there."""
        tie = tie_break(self._ties[sender][to], at)
        fault = self._suspects.fault(message) if sender in self._suspects else None
        if fault is not None:
            self._kernel.at(at, tie, self._refuse, (sender, to), fault)
        elif number:
            self._kernel.at(at, tie, self._land, (sender, to, number), message)
        else:
            self._kernel.at(at, tie, self.inlets[to].arrive, sender, message)

    def _land(self, key: tuple[int, int, int], message: Message) -> None:
        """A watched message arrives: as any other, and its number is known."""
        sender, to, self._landing = key
        self.inlets[to].arrive(sender, message)
        self._landing = 0

    def _depart(self, sender: int, to: int, message: Message, at: int, number: int) -> None:
        """As `_put`, for a message that an extra shape may hold up for long: it can be let go earlier."""
        shaped = self._under_way.get((sender, to))
        if shaped is None:
            self._put(sender, to, message, at, number)
            return
        self._departures += 1
        shaped[self._departures] = (at, message, number)
        self._kernel.at(at, tie_break(self._ties[sender][to], at), self._due, (sender, to), self._departures)

    def _due(self, link: tuple[int, int], departure: int) -> None:
        """The moment of a message on a shaped link, unless it went on faster when the shape was taken off."""
        found = self._under_way.get(link, {}).pop(departure, None)
        if found is not None:
            self._put(*link, found[1], self._kernel.now, found[2])

    def _refuse(self, link: tuple[int, int], fault: str) -> None:
        """What cannot be decoded gets to the node's door only, if that is open."""
        if self._open(link):
            self._suspects.refuse(link[1], self.names[link[0]], fault)

    def _open(self, link: tuple[int, int]) -> bool:
        """Is the link free, and its receiver there?"""
        inlet = self.inlets[link[1]]
        return not inlet.blocked[link[0]] and inlet.node is not None and inlet.node.up

    def probe(self, link: Link, ended: Callable[[bool], None], size: int = 0) -> None:
        """Send a packet of `size` bytes over the link as it is now; `ended` is called when it gets to the other end, or
        when it is lost (False)."""
        i, j = self.index[link[0]], self.index[link[1]]
        self._counts.sent[i][j] += 1
        at = self._medium.arrival(self._kernel.now, i, j, size, self._counts.sent[i][j] + self._counts.laned(i, j))
        if at < 0:
            ended(False)
        else:
            self._kernel.at(at, tie_break(self._ties[i][j], at), self._probed, (i, j), ended)

    def _probed(self, link: tuple[int, int], ended: Callable[[bool], None]) -> None:
        ended(self._open(link))

    # ------------------------------------------------------------ obstacles
    def stopped(self, sender: int, to: int, message: Message) -> bool:
        """Does something hold the message up? Then it waits here, or is lost."""
        inlet = self.inlets[to]
        node = inlet.node
        cut = inlet.blocked[sender] > 0
        if not cut and node is not None and node.up and (sender, to) not in self._resuming:
            for watch in self._watches.values():
                watch.arrived((sender, to), self._landing, self._kernel.now)
            return False
        self._counts.dropped[sender][to] += cut
        if self._stream:
            held = self._held.setdefault((sender, to), deque(maxlen=MAX_HELD))
            held.append((message, self._landing))
        return True

    def cut(self, links: Iterable[Link]) -> None:
        """Stop the links; cuts add up."""
        self.account()
        for a, b in links:
            self.inlets[self.index[b]].blocked[self.index[a]] += 1
        self._review()

    def heal(self, links: Iterable[Link]) -> None:
        """Undo one cut of each link; what waited on those that are free now goes on."""
        self.account()
        freed = []
        for a, b in links:
            i, j = self.index[a], self.index[b]
            self.inlets[j].blocked[i] -= 1
            freed.append((i, j))
        for link in freed:
            self.flow(*link)
        self._review()

    def flow(self, sender: int, to: int) -> None:
        """Let what waited on a link go on, if nothing holds it any more: after a reconnection. What arrives until then,
        because it was on its way or is sent now, stands behind it."""
        link = (sender, to)
        if not self._held.get(link) or not self._open(link):
            return
        inlet = self.inlets[to]
        low, high = RECONNECT_NS
        self._reconnects[sender][to] += 1
        wait = low + int((high - low) * unit(self._noise[sender][to] ^ 0xF10, self._reconnects[sender][to]))
        inlet.resuming += link not in self._resuming
        at = self._resuming[link] = self._kernel.now + wait + self._delay[sender][to]
        self._kernel.at(at, tie_break(self._ties[sender][to], at), self._resume, link, at)

    def _resume(self, link: tuple[int, int], at: int) -> None:
        """The reconnection is there, unless the link was held up again or let go again since: one message an event."""
        inlet = self.inlets[link[1]]
        if self._resuming.get(link) != at:
            return
        del self._resuming[link]
        if (held := self._held.get(link)) and self._open(link):
            message, self._landing = held.popleft()
            inlet.arrive(link[0], message)
            self._landing = 0
            self._resuming[link] = at
            now = self._kernel.now
            self._kernel.at(now, tie_break(self._ties[link[0]][link[1]], now), self._resume, link, at)
            return
        inlet.resuming -= 1
        self._review_inlet(inlet)
        self._review_lanes()

    def died(self, node: int) -> None:
        """A process ended: what it had not sent is gone, its counters begin again."""
        self.account()
        if self.lanes is not None:
            self.lanes.forget(node)
        for other in range(self.size):
            self._held.pop((node, other), None)
            self.inlets[other].resuming -= self._resuming.pop((node, other), None) is not None
        self._counts.died(node, self.inlets)
        self._review()

    def born(self, *nodes: int) -> None:
        """Processes began: what others kept for them comes."""
        self.account()
        for link in sorted(self._held):
            if link[1] in nodes:
                self.flow(*link)
        self._review()

    # ------------------------------------------------------------ shapes and rules
    def reshape(self, link: Link, extra: Shape | None) -> None:
        """Put `extra` on top of the base shape, or nothing: then queues and retransmissions are over, and what is still
        on its way is there within the link's delay."""
        i, j = self.index[link[0]], self.index[link[1]]
        if self.lanes is not None:
            self.lanes.explode()
        now, before = self._kernel.now, self._delay[i][j]
        if (i, j) not in self._under_way:  # what left until now is not on the books, and nothing may overtake it
            self._settled[i, j] = max(self._settled.get((i, j), 0), now + before)
            self._medium.nothing_before(i, j, self._settled[i, j])
        self._medium.reshape(i, j, extra)
        if extra is None:
            self._relieve(i, j, now + max(before, self._delay[i][j]))
        else:
            self._under_way.setdefault((i, j), {})
        if self.lanes is not None:
            self.lanes.renew()
        self._review()

    def _relieve(self, sender: int, to: int, at: int) -> None:
        """Nothing holds messages up on the link any more: what was to arrive after `at` arrives then, in order."""
        under_way = self._under_way.pop((sender, to), None)
        if under_way is None:
            return
        at = self._settled[sender, to] = max(at, self._settled.get((sender, to), 0) if self._stream else 0)
        for due, message, number in under_way.values():
            self._put(sender, to, message, min(due, at), number)
        self._medium.relieve(sender, to, at, self._kernel.now)

    def add_rule(self, rule: MessageRule) -> int:
        """Put a rule in force; returns its number."""
        number, self._next_number = self._next_number, self._next_number + 1
        self._rules[number] = ActiveRule(rule, self._seed, number)
        self._review()
        return number

    def remove_rule(self, number: int) -> RuleCount:
        """Take a rule out of force."""
        count = self._rules.pop(number).count()
        self._review()
        return count

    @property
    def rules(self) -> tuple[int, ...]:
        """Numbers of the rules in force."""
        return tuple(self._rules)

    def watch(self, links: Iterable[Link], kinds: Collection[str]) -> int:
        """Begin to watch; returns the watch's number."""
        number, self._next_number = self._next_number, self._next_number + 1
        self._watches[number] = LinkWatch([(self.index[a], self.index[b]) for a, b in links], kinds)
        self._review()
        return number

    def unwatch(self, number: int) -> Passage:
        """End a watch."""
        watch = self._watches.pop(number)
        self._review()
        return watch.passage(self._kernel.now)

    def _review(self) -> None:
        """Which senders' links have nothing on them but a constant delay, and which inlets have an obstacle."""
        now = self._kernel.now
        shaped = {
            sender for sender, _ in self._under_way
        }  # what they send may be let go early, so each is on the books
        for i in range(self.size):
            self._fans[i] = {}
            easy = not (self._rules or self._watches or i in self._suspects or i in shaped)
            easy = easy and self._medium.constant(i)
            wait = self._medium.wait(i, now)
            self._plain[i] = easy and wait <= 0
            if easy and wait > 0 and not self._reviewing:
                self._reviewing = True
                self._kernel.at(now + wait, 0, self._review_later)
        for inlet in self.inlets:
            self._review_inlet(inlet)
        self._review_lanes()

    def _review_inlet(self, inlet: Inlet) -> None:
        held = inlet.resuming > 0 or any(inlet.blocked) or inlet.node is None or not inlet.node.up
        inlet.closed = held or any(inlet.index in watch.inlets for watch in self._watches.values())

    def _review_lanes(self) -> None:
        if self.lanes is not None:
            clear = not any(inlet.closed for inlet in self.inlets)
            if self._lanes_open and not clear:
                self.lanes.explode()
            self._lanes_open = clear

    def _review_later(self, *_: None) -> None:
        self._reviewing = False
        self._review()

    # ------------------------------------------------------------ vote lanes
    def open_lanes(self, committee: Committee, domain: Domain, referee: Verifier) -> None:
        """From now on votes go through lanes wherever nothing is in their way (a mode for scale runs)."""
        floor = LaneFloor(self, self._kernel, self._ties, self._delay)
        self.lanes = Lanes(floor, self._kernel, committee, domain, referee, self._suspects)
        for inlet in self.inlets:
            inlet.watch = self.lanes.arrived
        self._review()

    # ------------------------------------------------------------ counters
    def account(self) -> None:
        """Count the keep-alives since the last look; before anything changes that they depend on."""
        self._counts.beat(self._kernel.now // KEEP_ALIVE_NS, self.inlets)

    def counters(self) -> dict[Link, LinkCount]:
        """As faults.port.Cluster.counters."""
        self.account()
        return self._counts.all(self.names, self.inlets)

    def delivered(self) -> int:
        """Messages that reached a node's door, and those that went into lanes."""
        return sum(sum(inlet.received) for inlet in self.inlets) + self._counts.all_laned()
