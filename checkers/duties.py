"""Who withheld what it should have included: primaries, secondaries and leaders against their peers, with exact odds.

A duty is an occasion at which an honest node includes: the primary of a forwarded transaction until the inclusion
time-out, a secondary after it, a leader while certified batches wait and its block has room. The null model is
congestion: it strikes peers alike, so whoever failed more often than the others in the same role is judged by the
hypergeometric tail (Fisher's exact test), times the number of comparisons. Occasions in the window of a declared fault,
or while batches or blocks were full, are nobody's duty.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from checkers.inclusion import MOST_BATCHES, Journey, Timeline, journeys, timeline, timeout_ns
from checkers.index import MS, Index, once
from results.stats import hypergeometric_tail

ALPHA = 1e-4  # of one false name in a run of congestion alone, over all comparisons
FEWEST = 3  # failures of one node: fewer are no habit


@dataclass
class Duty:
    """Occasions of one node in one role, failures among them, and both by the sender of the transaction."""

    occasions: int = 0
    failures: int = 0
    senders: dict[str, list[int]] = field(default_factory=dict)  # sender -> [occasions, failures]

    def count(self, failed: bool, sender: str = "") -> None:
        """One more occasion."""
        self.occasions += 1
        self.failures += failed
        if sender:
            mine = self.senders.setdefault(sender, [0, 0])
            mine[0] += 1
            mine[1] += failed


@dataclass(frozen=True)
class Named:
    """A node that withheld more than its peers in a role; `p` is corrected for all comparisons.

    `victims`: senders that it treats worse than other senders, by the same test; empty: everybody alike.
    """

    node: str
    role: str
    failures: int
    occasions: int
    peers: tuple[int, int]  # failures, occasions
    p: float
    victims: tuple[str, ...]


def duties(index: Index) -> dict[str, dict[str, Duty]]:
    """Role (primary | secondary | leader) -> node -> its duties; made once per index."""
    return once(index, _duties)


def censors(index: Index) -> list[Named]:
    """Nodes whose failures congestion does not explain, the surest first; made once per index."""
    return once(index, _censors)


def _duties(index: Index) -> dict[str, dict[str, Duty]]:
    found: dict[str, dict[str, Duty]] = {
        "primary": defaultdict(Duty),
        "secondary": defaultdict(Duty),
        "leader": defaultdict(Duty),
    }
    calm = _Calm(index)
    for journey in journeys(index):
        _family(index, journey, found, calm)
    _leaders(index, found["leader"], calm)
    return {role: dict(sorted(nodes.items())) for role, nodes in found.items()}


class _Calm:
    """Times in which no declared fault of the environment was in force, and some time after."""

    def __init__(self, index: Index) -> None:
        margin = int(2 * index.bounds.delta_ms * MS)
        self._windows = [(f.start, max(f.stop, f.start) + margin) for f in index.info.faults if f.kind == "fault"]
        if self._windows and index.info.heal:
            self._windows.append((min(start for start, _ in self._windows), index.info.heal + margin))

    def __call__(self, since: int, until: int) -> bool:
        return all(until < start or stop < since for start, stop in self._windows)


def _slack(index: Index) -> int:
    """For a batch to be made, sent and seen (ns)."""
    delay = float(index.info.parameters.get("max_batch_delay_ms", 100))
    return int((2 * delay + index.bounds.delta_ms + 4 * index.bounds.md_ms) * MS)


def _family(index: Index, journey: Journey, found: dict[str, dict[str, Duty]], calm: _Calm) -> None:
    """The duties of a transaction's family."""
    forwarded = int(journey.forward["time"])
    timeout, slack = timeout_ns(index), _slack(index)
    deadline = forwarded + timeout + slack
    if deadline > index.end or not calm(forwarded, deadline) or timeline(index).saturated(forwarded, deadline):
        return
    if journey.lapsed(deadline):
        return  # members drop what has expired, rightly
    made: dict[str, int] = {}
    for held in journey.batches:
        made.setdefault(held.proposer, held.seen)
    primary, *secondaries = journey.family
    late = made.get(primary, index.end + 1) > forwarded + timeout
    ordered = journey.final.time if journey.final is not None else index.end + 1
    if late and ordered <= forwarded + timeout:
        return  # somebody else was faster: nothing was left to do
    found["primary"][primary].count(late, journey.sender)
    if not late or ordered <= deadline:
        return
    for node in secondaries:
        found["secondary"][node].count(made.get(node, index.end + 1) > deadline, journey.sender)


def _leaders(index: Index, found: dict[str, Duty], calm: _Calm) -> None:
    """For each finalised block: were batches waiting that it left out, though it had room?

    A batch waits from the time at which every never-faulty node of the tribe had its certificate until a block has it:
    an honest leader takes in all that it has. What a leader itself proposed does not count, for its votes reach it
    last; and one whose own knowledge is not in the records has half a message delay more.
    """
    ready = _known_to_all(index)
    steady = set(index.steady)
    hop = int(0.5 * index.bounds.md_ms * MS)
    line = timeline(index)
    later = {batch: time + hop for batch, time in ready.items()}
    for honest, times in ((True, ready), (False, later)):
        for place, waiting, held in _waiting(index, line, times):
            leader, now = line.leaders[place], line.times[place]
            if (leader in steady) is honest and waiting > 0 and calm(now - hop, now):
                found[leader].count(held < waiting)


def _waiting(index: Index, line: Timeline, ready: Mapping[str, int]) -> Iterator[tuple[int, int, int]]:
    """(place, batches of others that waited when that block was proposed, those of them that it holds), where it had
    room. Counts per proposer, so that a leader's own can be left out."""
    whose = {batch: index.keys[batch].proposer for batch in ready}
    arrivals = sorted((time, batch) for batch, time in ready.items())
    waiting: Counter[str] = Counter()  # proposer -> batches that are ready and not final
    final_early: set[str] = set()
    at = 0
    for place, final in enumerate(line.blocks):
        now = line.times[place]
        while at < len(arrivals) and arrivals[at][0] < now:
            batch = arrivals[at][1]
            if batch not in final_early:
                waiting[whose[batch]] += 1
            at += 1
        held = [batch for batch in final.batches if batch in ready and ready[batch] < now]
        if len(final.batches) < MOST_BATCHES and line.leaders[place]:
            own = line.leaders[place]
            yield place, waiting.total() - waiting[own], sum(whose[batch] != own for batch in held)
        final_early |= set(final.batches)
        waiting.subtract(Counter(whose[batch] for batch in held))


def _known_to_all(index: Index) -> dict[str, int]:
    """Batch -> when the last never-faulty node of the tribe first saw its certificate; without what some never saw.

    Without slots of two batches, too: where one is final, the other need not follow.
    """
    everybody = set(index.steady) & set(index.info.tribe)
    slots = Counter(index.keys.values())
    seen: Counter[str] = Counter()
    ready: dict[str, int] = {}
    for event in index.events("available"):
        if event["node"] in everybody and slots[index.keys[event["batch"]]] == 1:
            seen[event["batch"]] += 1
            if seen[event["batch"]] == len(everybody):
                ready[event["batch"]] = int(event["time"])
    return ready


def _censors(index: Index) -> list[Named]:
    table = duties(index)
    comparisons = sum(len(nodes) for nodes in table.values())
    named = []
    for role, nodes in table.items():
        failures, occasions = sum(d.failures for d in nodes.values()), sum(d.occasions for d in nodes.values())
        for node, duty in nodes.items():
            if duty.failures < FEWEST:
                continue
            p = _odds(duty.failures, duty.occasions, failures, occasions) * comparisons
            if p <= ALPHA:
                peers = (failures - duty.failures, occasions - duty.occasions)
                victims = _victims(duty)
                named.append(Named(node, role, duty.failures, duty.occasions, peers, p, victims))
    return sorted(named, key=lambda one: (one.p, one.node, one.role))


def _odds(failures: int, occasions: int, all_failures: int, all_occasions: int) -> float:
    """How likely so many failures or more fall on these occasions, if they strike all occasions alike."""
    return hypergeometric_tail(failures, all_occasions, all_failures, occasions)


def struck(senders: Sequence[str], late: Sequence[str]) -> list[str]:
    """Senders (one entry a transaction) of whom more is late than congestion, which is blind to senders, explains."""
    total, missed = Counter(senders), Counter(late)
    found = []
    for sender, failures in sorted(missed.items()):
        if sender and failures >= FEWEST:
            p = _odds(failures, total[sender], len(late), len(senders)) * len(total)
            if p <= ALPHA:
                found.append(sender)
    return found


def _victims(duty: Duty) -> tuple[str, ...]:
    """Senders whose transactions this node withheld more often than those of others."""
    found = []
    for sender, (occasions, failures) in sorted(duty.senders.items()):
        p = _odds(failures, occasions, duty.failures, duty.occasions) * len(duty.senders)
        if failures >= FEWEST and p <= ALPHA:
            found.append(sender)
    return tuple(found)


def culprits(index: Index, journey: Journey) -> list[tuple[str, str]]:
    """(role, node) of the corrupted nodes that could have included this transaction in time and did not.

    Corrupted members of the family that made no batch with it; if it was certified all the same, corrupted leaders
    whose blocks with room came after that and did not hold it.
    """
    corrupted = set(index.info.byzantine)
    certified = journey.certified
    if certified is None:
        made = {held.proposer for held in journey.batches}
        family = [node for node in journey.family if node in corrupted and node not in made]
        return [("primary" if node == journey.family[0] else "secondary", node) for node in family]
    line = timeline(index)
    margin = int(2 * index.bounds.delta_ms * MS)
    until = journey.final.time if journey.final else index.end
    passed = [
        line.leaders[place]
        for place in line.between(certified + margin, until)
        if line.blocks[place] is not journey.final and len(line.blocks[place].batches) < MOST_BATCHES
    ]
    return [("leader", node) for node in dict.fromkeys(passed) if node in corrupted]
