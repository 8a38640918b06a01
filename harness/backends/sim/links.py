"""The simulated network: one directed link for each ordered pair of nodes.

Two transports. `stream` behaves like the TCP links of the real runtime: a link keeps its order, a lost packet is sent
again later, and what cannot pass (a cut, a receiver that is down) waits at the sender and arrives some time after the
heal; a sender that dies takes it along. `datagram` loses what is lost or cut, and jitter reorders.

Draws depend on (seed, link, number of the message on the link) only (draws.py). A multicast makes one event a recipient
and no copy of the message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from faults.port import Link, LinkCount, MessageRule, NodeId, RuleCount, Shape
from harness.backends.sim.draws import MASK, salt, tie_break, unit
from harness.backends.sim.kernel import Kernel
from harness.backends.sim.rules import ActiveRule
from harness.backends.sim.wire import Suspects
from nodes.messages import Message, encode

KEEP_ALIVE_NS = 500_000_000  # as the real links do it
RETRANSMIT_NS = 200_000_000  # first retransmission time-out of a stream; doubles
RECONNECT_NS = (50_000_000, 500_000_000)  # how long after a heal a stream flows again
MAX_HELD = 10_000  # messages that wait on one link; the oldest are dropped
MOST_LOSSES = 6  # in a row, of one message on a stream


class Receiver(Protocol):
    """What the network needs of a node."""

    up: bool
    paused: bool

    def receive(self, sender: NodeId, message: Message) -> None: ...


class Inlet:
    """The receiving ends of one node's links."""

    def __init__(self, index: int, links: Links) -> None:
        self.index = index
        self._links = links
        self.node: Receiver | None = None
        self.blocked = [0] * links.size  # cuts of the link from each sender
        self.closed = False  # any cut, or the node is down
        self.received = [0] * links.size

    def arrive(self, sender: int, message: Message) -> None:
        """A message reaches the node, unless the link is cut or nobody is there."""
        if self.closed and self._links.stopped(sender, self.index, message):
            return
        self.received[sender] += 1
        self.node.receive(self._links.names[sender], message)  # type: ignore[union-attr]  # set before any traffic


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
        self._count = [[0] * n for _ in range(n)]  # messages put on each link, ever
        self._zero_sent = [[0] * n for _ in range(n)]  # the counter's reading when the sender's process began
        self._beats = [[[0, 0] for _ in range(n)] for _ in range(n)]  # keep-alives sent, received
        self._beaten = 0  # keep-alive periods accounted for
        self._dropped = [[0] * n for _ in range(n)]
        self._last = [[0] * n for _ in range(n)]  # arrival of the link's newest message, where order is kept
        self._free = [[0] * n for _ in range(n)]  # when a link with a rate is idle again
        self._held: dict[tuple[int, int], deque[Message]] = {}
        # What is on its way on links with an extra shape, by number: a heal takes the shape off it too.
        self._under_way: dict[tuple[int, int], dict[int, tuple[int, Message]]] = {}
        self._tokens = 0
        self._rules: dict[int, ActiveRule] = {}
        self._next_rule = 1
        self._plain = [False] * n
        self._next_review = 0  # when the links will be looked at again; 0: no such date
        self._review()

    # ------------------------------------------------------------ sending
    def send(self, sender: int, to: NodeId, message: Message) -> None:
        """One message to one node. Raises KeyError for a node that does not exist."""
        self._offer(sender, self.index[to], message)

    def multicast(self, sender: int, group: str, message: Message) -> None:
        """To every member of the group but the sender."""
        targets = self._groups[sender][group]
        if not self._plain[sender]:
            for to in targets:
                self._offer(sender, to, message)
            return
        now, put = self._kernel.now, self._kernel.scheduler.put
        delays, ties, counts, inlets = self._delay[sender], self._ties[sender], self._count[sender], self.inlets
        for to in targets:
            at = now + delays[to]
            counts[to] += 1
            put(at, ((ties[to] * (at | 1)) & MASK) >> 32, inlets[to].arrive, sender, message)

    def _offer(self, sender: int, to: int, message: Message) -> None:
        """One message on one link, whatever is done to it there."""
        if sender == to:
            return
        counts = self._count[sender]
        counts[to] = number = counts[to] + 1
        if self._plain[sender]:
            self._put(sender, to, message, self._kernel.now + self._delay[sender][to])
            return
        delays = [0]
        if self._rules:
            link = (self.names[sender], self.names[to])
            for rule in self._rules.values():
                delays = rule.apply(link, message, number, delays)
            if not delays:
                self._dropped[sender][to] += 1
        for copy, extra in enumerate(delays):
            at = self._arrival(sender, to, message, 8 * number + min(copy, 7))
            if at >= 0:
                self._put(sender, to, message, at + extra)

    def _arrival(self, sender: int, to: int, message: Message | None, counter: int) -> int:
        """When it arrives, by the link's shape; -1: lost for good. (None: an empty packet.)"""
        shape, noise = self._shape[sender][to], self._noise[sender][to]
        at = self._kernel.now
        if self._egress or shape.rate_kbit:
            at = self._serialised(sender, to, shape, 0 if message is None else len(encode(message)))
        at += self._delay[sender][to]
        if shape.jitter_ms:
            at += int(shape.jitter_ms * 1e6 * (2 * unit(noise, counter) - 1))
        if shape.loss:
            losses = 0
            while losses < MOST_LOSSES and unit(noise ^ (losses + 1), counter) < shape.loss:
                losses += 1
            self._dropped[sender][to] += losses
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

    def _put(self, sender: int, to: int, message: Message, at: int) -> None:
        """Let it arrive at `at`. A corrupted sender's message must survive the wire; what does not is refused there."""
        tie = tie_break(self._ties[sender][to], at)
        fault = self._suspects.fault(message) if sender in self._suspects else None
        if fault is not None:
            self._kernel.at(at, tie, self._refuse, (sender, to), fault)
            return
        shaped = self._under_way.get((sender, to))
        if shaped is None:
            self._kernel.at(at, tie, self.inlets[to].arrive, sender, message)
        else:
            self._tokens += 1
            shaped[self._tokens] = (at, message)
            self._kernel.at(at, tie, self._due, (sender, to), self._tokens)

    def _due(self, link: tuple[int, int], token: int) -> None:
        """The moment of a message on a shaped link, unless it went on faster when the shape was taken off."""
        found = self._under_way.get(link, {}).pop(token, None)
        if found is not None:
            self.inlets[link[1]].arrive(link[0], found[1])

    def _refuse(self, link: tuple[int, int], fault: str) -> None:
        """What cannot be decoded reaches the node's door only, if that is open."""
        if self._open(link):
            self._suspects.refuse(link[1], self.names[link[0]], fault)

    def probe(self, link: Link, arrived: Callable[[], None], lost: Callable[[], None]) -> None:
        """Send an empty packet over the link, as it is now; `arrived` is called at the other end, `lost` if it does not
        get there."""
        i, j = self.index[link[0]], self.index[link[1]]
        self._count[i][j] += 1
        at = self._arrival(i, j, None, 8 * self._count[i][j])
        if at < 0:
            lost()
        else:
            self._kernel.at(at, tie_break(self._ties[i][j], at), self._probed, (i, j), (arrived, lost))

    def _probed(self, link: tuple[int, int], calls: tuple[Callable[[], None], Callable[[], None]]) -> None:
        arrived, lost = calls
        (arrived if self._open(link) else lost)()

    def _open(self, link: tuple[int, int]) -> bool:
        """Is the link free, and its receiver there?"""
        inlet = self.inlets[link[1]]
        return not inlet.blocked[link[0]] and inlet.node is not None and inlet.node.up

    # ------------------------------------------------------------ obstacles
    def stopped(self, sender: int, to: int, message: Message) -> bool:
        """Does something hold the message up? Then it waits here, or is lost."""
        inlet = self.inlets[to]
        node = inlet.node
        cut = inlet.blocked[sender] > 0
        if not cut and node is not None and node.up:
            return False
        self._dropped[sender][to] += cut
        if self._stream:
            held = self._held.setdefault((sender, to), deque(maxlen=MAX_HELD))
            held.append(message)
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
        self._review()
        for link in freed:
            self.flow(*link)

    def flow(self, sender: int, to: int) -> None:
        """Send on what waited on a link, if nothing holds it any more: after a reconnection, in order."""
        if not self._open((sender, to)):
            return
        held = self._held.pop((sender, to), None)
        if not held:
            return
        low, high = RECONNECT_NS
        wait = low + int((high - low) * unit(self._noise[sender][to] ^ 0xF10, self._count[sender][to]))
        at = max(self._kernel.now + wait + self._delay[sender][to], self._last[sender][to])
        self._last[sender][to] = at
        for message in held:
            self._put(sender, to, message, at)

    def died(self, node: int) -> None:
        """A process ended: what it had not sent is gone, its counters begin again."""
        self.account()
        for other in range(self.size):
            self._held.pop((node, other), None)
            self._zero_sent[node][other] = self._count[node][other]
            self._dropped[node][other] = 0
            self._beats[node][other][0] = 0
            self._beats[other][node][1] = 0
            self.inlets[node].received[other] = 0
        self._review()

    def born(self, node: int) -> None:
        """A process began: what others kept for it comes."""
        self.account()
        self._review()
        for other in range(self.size):
            self.flow(other, node)

    # ------------------------------------------------------------ shapes and rules
    def reshape(self, link: Link, extra: Shape | None) -> None:
        """Put `extra` on top of the base shape, or nothing: then what is still on its way goes on as if it were sent
        now, or arrives as it would have, if that is earlier."""
        i, j = self.index[link[0]], self.index[link[1]]
        base = self._base[i][j]
        self._shape[i][j] = base if extra is None else on_top(base, extra)
        self._delay[i][j] = int(self._shape[i][j].delay_ms * 1e6)
        if extra is None:
            at = self._kernel.now + self._delay[i][j]
            self._last[i][j], self._free[i][j] = min(self._last[i][j], at), min(self._free[i][j], self._kernel.now)
            for due, message in self._under_way.pop((i, j), {}).values():
                self._put(i, j, message, min(due, at))
        else:
            self._under_way.setdefault((i, j), {})
        self._review()

    def add_rule(self, rule: MessageRule) -> int:
        """Put a rule in force; returns its number."""
        for link in rule.links:
            if link[0] not in self.index or link[1] not in self.index:
                raise ValueError(
                    f"a message rule names the link {link[0]}>{link[1]}; nodes are {', '.join(self.names)}"
                )
        number, self._next_rule = self._next_rule, self._next_rule + 1
        self._rules[number] = ActiveRule(rule, self._seed, number)
        self._review()
        return number

    def remove_rule(self, number: int) -> RuleCount:
        """Take a rule out of force."""
        rule = self._rules.pop(number)
        self._review()
        return rule.count()

    def _review(self) -> None:
        """Which senders' links have nothing on them but a constant delay, and which inlets have an obstacle."""
        now, again = self._kernel.now, 0
        for i in range(self.size):
            easy = all(not (s.jitter_ms or s.loss or s.rate_kbit) for s in self._shape[i])
            easy = easy and not (self._rules or self._egress or i in self._suspects)
            # Order must be kept behind messages that are still on their way and arrive later than a new one would.
            free = max(last - delay for last, delay in zip(self._last[i], self._delay[i], strict=True))
            self._plain[i] = easy and free <= now
            if easy and free > now:
                again = max(again, free)
        if again > now and not self._next_review > now:
            self._next_review = again
            self._kernel.at(again, 0, self._review_later)
        for inlet in self.inlets:
            inlet.closed = any(inlet.blocked) or inlet.node is None or not inlet.node.up

    def _review_later(self, _: None, __: None) -> None:
        self._next_review = 0
        self._review()

    # ------------------------------------------------------------ counters
    def account(self) -> None:
        """Count the keep-alives since the last look: both ends must be there, and the link free, for one to arrive."""
        periods = self._kernel.now // KEEP_ALIVE_NS
        new, self._beaten = periods - self._beaten, periods
        if not new:
            return
        nodes = [inlet.node for inlet in self.inlets]
        awake = [node is not None and node.up and not node.paused for node in nodes]
        for i in range(self.size):
            if not awake[i]:
                continue
            for j in range(self.size):
                beat = self._beats[i][j]
                beat[0] += new
                if awake[j] and not self.inlets[j].blocked[i]:
                    beat[1] += new

    def counters(self) -> dict[Link, LinkCount]:
        """As faults.port.Cluster.counters."""
        self.account()
        out: dict[Link, LinkCount] = {}
        for i, a in enumerate(self.names):
            for j, b in enumerate(self.names):
                if i != j:
                    sent = self._count[i][j] - self._zero_sent[i][j] + self._beats[i][j][0]
                    received = self.inlets[j].received[i] + self._beats[i][j][1]
                    out[a, b] = LinkCount(sent, received, self._dropped[i][j])
        return out


def on_top(base: Shape, extra: Shape) -> Shape:
    """`extra` on top of `base`: delays and jitters add, the narrower rate wins, losses combine."""
    rates = [r for r in (base.rate_kbit, extra.rate_kbit) if r > 0]
    return Shape(
        base.delay_ms + extra.delay_ms,
        base.jitter_ms + extra.jitter_ms,
        1 - (1 - base.loss) * (1 - extra.loss),
        min(rates) if rates else 0.0,
    )
