"""The simulated network: one directed link for each ordered pair of nodes.

Two transports. `stream` behaves like the TCP links of the real runtime: a link keeps its order, a lost packet is sent
again later, and what cannot pass (a cut, a receiver that is down) waits at the sender and arrives some time after the
heal; a sender that dies takes it along. `datagram` loses what is lost or cut, and jitter reorders.

Draws depend on (seed, link, number of the message on the link) only (draws.py). A multicast makes one event a recipient
and no copy of the message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from faults.observe import combined
from faults.port import Link, LinkCount, MessageRule, NodeId, Passage, RuleCount, Shape
from harness.backends.sim.counts import Counts
from harness.backends.sim.draws import salt, tie_break, unit
from harness.backends.sim.ends import Inlet, LinkFan
from harness.backends.sim.kernel import Kernel
from harness.backends.sim.lanes import LANED, Lanes
from harness.backends.sim.rules import ActiveRule
from harness.backends.sim.watch import LinkWatch
from harness.backends.sim.wire import Suspects
from nodes.committee import Committee
from nodes.crypto import Domain, Verifier
from nodes.messages import Message, encode

KEEP_ALIVE_NS = 500_000_000  # as the real links do it
RETRANSMIT_NS = 200_000_000  # first retransmission time-out of a stream; doubles
RECONNECT_NS = (50_000_000, 500_000_000)  # how long after a heal a stream flows again
MAX_HELD = 10_000  # messages that wait on one link; the oldest are dropped
MOST_LOSSES = 6  # in a row, of one message on a stream


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
        self._egress = egress_mbit
        self._egress_free = [0] * self.size  # when the node's uplink is idle again
        n = self.size
        self._groups: list[dict[str, tuple[int, ...]]] = [
            {g: tuple(self.index[m] for m in members if m != me) for g, members in groups.items()} for me in self.names
        ]
        self._ties = [[salt(seed, "tie", a, b) for b in self.names] for a in self.names]
        self._noise = [[salt(seed, "noise", a, b) for b in self.names] for a in self.names]
        self._base = [[base.get((a, b), Shape()) for b in self.names] for a in self.names]
        self._shape = [list(row) for row in self._base]
        self._delay = [[int(shape.delay_ms * 1e6) for shape in row] for row in self._shape]
        self._counts = Counts(self._groups)
        self._reconnects = [[0] * n for _ in range(n)]
        self._last = [[0] * n for _ in range(n)]  # arrival of the link's newest message, where order is kept
        self._free = [[0] * n for _ in range(n)]  # when a link with a rate is idle again
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
        self._salts: NDArray[np.uint64] | None = None
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
            fan = self._fans[sender][group] = self.fan_of(sender, group)
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

    def fan_of(self, sender: int, group: str) -> LinkFan:
        """A sender's links to a group as they are now."""
        targets = self._groups[sender][group]
        delays, ties = self._delay[sender], self._ties[sender]
        return LinkFan(
            sender, targets, [delays[t] for t in targets], [ties[t] for t in targets],
            [self.inlets[t].arrive for t in targets], [t for t in targets if t not in self._suspects],
        )  # fmt: skip

    def _offer(self, sender: int, to: int, message: Message) -> None:
        """One message on one link, whatever is done to it there."""
        if sender == to:
            return
        counts = self._counts.sent[sender]
        counts[to] = number = counts[to] + 1
        if self._plain[sender]:
            self._put(sender, to, message, self._kernel.now + self._delay[sender][to])
            return
        number += self._counts.laned(sender, to)
        delays = [0]
        if self._rules:
            link = (self.names[sender], self.names[to])
            for rule in self._rules.values():
                delays = rule.apply(link, message, number, delays)
                if not delays:
                    self._counts.dropped[sender][to] += 1
                    break
        at = self._arrival(sender, to, message, number) if delays else self._kernel.now + self._delay[sender][to]
        if at < 0:
            return
        for extra in delays:  # copies travel with the original, so that they move no draw of the link's
            self._depart(sender, to, message, at + extra, number if self._watches else 0)
        for watch in self._watches.values():
            watch.sent((sender, to), message, number, at)

    def _arrival(self, sender: int, to: int, message: Message | int, counter: int) -> int:
        """When it (or a packet of so many bytes) arrives, by the link's shape; -1: lost for good."""
        shape, noise = self._shape[sender][to], self._noise[sender][to]
        at = self._kernel.now
        if self._egress or shape.rate_kbit:
            size = message if isinstance(message, int) else len(encode(message))
            at = self._serialised(sender, to, shape, size)
        at += self._delay[sender][to]
        if shape.jitter_ms:
            at += int(shape.jitter_ms * 1e6 * (2 * unit(noise, counter) - 1))
        if shape.loss:
            losses = 0
            while losses < MOST_LOSSES and unit(noise ^ (losses + 1), counter) < shape.loss:
                losses += 1
            self._counts.dropped[sender][to] += losses
            if losses and not self._stream:
                return -1
            at += RETRANSMIT_NS * (2**losses - 1)
        at = max(at, self._kernel.now)
        if self._stream:
            at = max(at, self._last[sender][to])
            self._last[sender][to] = at
        return at

    def _serialised(self, sender: int, to: int, shape: Shape, size: int) -> int:
        """When the last bit has left: first through the node's uplink, then through the link."""
        at = self._kernel.now
        if self._egress:
            at = max(at, self._egress_free[sender]) + int(size * 8000 / self._egress)
            self._egress_free[sender] = at
        if shape.rate_kbit:
            at = max(at, self._free[sender][to]) + int(size * 8_000_000 / shape.rate_kbit)
            self._free[sender][to] = at
        return at

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
        at = self._arrival(i, j, size, self._counts.sent[i][j] + self._counts.laned(i, j))
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
        held = self._held.get(link)
        if held and self._open(link):
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

    def born(self, node: int) -> None:
        """A process began: what others kept for it comes."""
        self.account()
        for other in range(self.size):
            self.flow(other, node)
        self._review()

    # ------------------------------------------------------------ shapes and rules
    def reshape(self, link: Link, extra: Shape | None) -> None:
        """Put `extra` on top of the base shape, or nothing: then queues and retransmissions are over, and what is still
        on its way is there within the link's delay."""
        i, j = self.index[link[0]], self.index[link[1]]
        if self.lanes is not None:
            self.lanes.explode()
        base = self._base[i][j]
        self._shape[i][j] = base if extra is None else combined((base, extra))
        before = self._delay[i][j]
        if (i, j) not in self._under_way:  # what left until now is not on the books, and nothing may overtake it
            self._settled[i, j] = max(self._settled.get((i, j), 0), self._kernel.now + before)
            if self._stream:
                self._last[i][j] = max(self._last[i][j], self._settled[i, j])
        self._delay[i][j] = int(self._shape[i][j].delay_ms * 1e6)
        if extra is None:
            self._relieve(i, j, self._kernel.now + max(before, self._delay[i][j]))
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
        self._last[sender][to] = min(self._last[sender][to], at)
        self._free[sender][to] = min(self._free[sender][to], self._kernel.now)

    def add_rule(self, rule: MessageRule) -> int:
        """Put a rule in force; returns its number."""
        number, self._next_number = self._next_number, self._next_number + 1
        self._rules[number] = ActiveRule(rule, self._seed, number)
        self._review()
        return number

    def remove_rule(self, number: int) -> RuleCount:
        """Take a rule out of force."""
        rule = self._rules.pop(number)
        self._review()
        return rule.count()

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
            easy = all(not (s.jitter_ms or s.loss or s.rate_kbit) for s in self._shape[i])
            easy = easy and not (self._rules or self._watches or self._egress or i in self._suspects or i in shaped)
            # A stream keeps its order: nothing may overtake slow messages that are still on their way.
            wait = max(last - now - delay for last, delay in zip(self._last[i], self._delay[i], strict=True))
            self._plain[i] = easy and wait <= 0
            if easy and wait > 0 and not self._reviewing:
                self._reviewing = True
                self._kernel.at(now + wait, 0, self._review_later)
        for inlet in self.inlets:
            self._review_inlet(inlet)
        self._review_lanes()

    def _review_inlet(self, inlet: Inlet) -> None:
        watched = any(inlet.index in watch.inlets for watch in self._watches.values())
        held = inlet.resuming > 0 or any(inlet.blocked)
        inlet.closed = held or watched or inlet.node is None or not inlet.node.up

    def _review_lanes(self) -> None:
        if self.lanes is not None:
            clear = not any(inlet.closed for inlet in self.inlets)
            if self._lanes_open and not clear:
                self.lanes.explode()
            self._lanes_open = clear

    def _review_later(self, _: None, __: None) -> None:
        self._reviewing = False
        self._review()

    # ------------------------------------------------------------ vote lanes (lanes.Floor)
    def open_lanes(self, committee: Committee, domain: Domain, referee: Verifier) -> None:
        """From now on votes go through lanes wherever nothing is in their way (a mode for scale runs)."""
        self.lanes = Lanes(self, self._kernel, committee, domain, referee, self._suspects)
        for inlet in self.inlets:
            inlet.watch = self.lanes.arrived
        self._review()

    def tie(self, sender: int, to: int, at: int) -> int:
        """Tie-break of a link's messages that arrive at `at`."""
        return tie_break(self._ties[sender][to], at)

    def ties(self, senders: Sequence[int], to: Sequence[int], at: int) -> NDArray[np.uint64]:
        """The same for many links: senders by receivers."""
        if self._salts is None:
            self._salts = np.array(self._ties, dtype=np.uint64)
        return (self._salts[np.ix_(senders, to)] * np.uint64(at | 1)) >> np.uint64(32)

    def delay(self, sender: int, to: int) -> int:
        """Constant delay of a link, ns."""
        return self._delay[sender][to]

    def classes(self) -> list[list[int]]:
        """Nodes by equal delays from every other node, a class each, in order of their first members."""
        found: list[list[int]] = []
        for j in range(self.size):
            for members in found:
                k = members[0]
                alike = all(self._delay[i][j] == self._delay[i][k] for i in range(self.size) if i not in (j, k))
                if alike and (len(members) == 1 or self._delay[k][j] == self._delay[members[1]][j]):
                    members.append(j)
                    break
            else:
                found.append([j])
        return found

    def deliver(self, sender: int, to: int, message: Message) -> None:
        """Hand a message to a node now, uncounted."""
        node = self.inlets[to].node
        if node is not None and node.up:
            node.receive(self.names[sender], message)

    def single(self, at: int, sender: int, to: int, message: Message, sequence: int) -> None:
        """Have one message arrive at `at` as an ordinary one that was sent with this sequence number."""
        tie = tie_break(self._ties[sender][to], at)
        self._kernel.scheduler.put(at, tie, self.inlets[to].arrive, sender, message, sequence)

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
