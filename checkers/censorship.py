"""censorship: what an honest family member received is included in time (claim censorship-resistance; I-CENS)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from checkers.duties import Named, censors, culprits, duties, struck
from checkers.inclusion import Journey, firsts, journeys, timeline, timeout_ns
from checkers.index import MS, Index
from checkers.judge import Judge, conclude, record, short
from results.stats import gini, jain, quantile
from results.stats import summary as figures
from results.verdict import Anomaly, Verdict

FEWEST_OPPORTUNITIES = (
    3  # blocks of honest leaders after the time-out: with fewer the chain stood still, nobody withheld
)


class Censorship(Judge):
    """A transaction forwarded by an honest gateway is finalised within the inclusion bound.

    It counts if a never-faulty member of its family received it (from then on, or from the heal if later), or if its
    whole family is Byzantine (from the forward on). Beyond the bound, and with at least three blocks of honest leaders
    after the time-out, it is one of: censored (never finalised, and corrupted nodes withheld it: members of its family
    that made no batch with it, or leaders that left its certified batch out), lost (never finalised, and no corrupted
    node had a hand in it), delayed (finalised too late, by whom if anybody). Without a culprit, where batches or blocks
    were full, it is congestion, unless it strikes its sender more than others (exact odds): counted, and a doubt.
    Excluded and counted: received by no such member; pending; without opportunity; expired, before the bound was over.
    Measures: delay in ms, views and honest opportunities; victims against control; the spread over senders and
    proposers; censors, named by role with exact odds against their peers, also of what was rescued in time. Examined:
    transactions judged.
    """

    property: ClassVar[str] = "censorship"

    def judge(self, index: Index) -> Verdict:
        bound = int(index.bounds.inclusion_ms * MS)
        ways = [way for way in journeys(index) if not way.lapsed(way.start + bound)]
        pending = {way.tx for way in ways if way.final is None and way.start + bound > index.end}
        judged = [way for way in ways if way.tx not in pending]
        late = [way for way in judged if way.final is None or way.final.time > way.start + bound]
        counts = {"pending": len(pending), "without_opportunity": 0, "congested": 0}
        counts["expired"] = len(journeys(index)) - len(ways)
        victims = struck([way.sender for way in ways], [way.sender for way in late])
        peers = _Peers(ways, bound)
        anomalies: list[Anomaly] = []
        for way in late:
            guilty = culprits(index, way)
            chances = timeline(index).delay(way.start + timeout_ns(index), way.final)[1]
            if not guilty and chances < FEWEST_OPPORTUNITIES:
                counts["without_opportunity"] += 1
            elif not guilty and way.sender not in victims and timeline(index).saturated(way.start, _until(index, way)):
                counts["congested"] += 1
            else:
                anomalies.append(_violation(index, way, guilty, peers.share(way)))
        measures = {**_measures(index, ways, judged), **counts, "senders_struck": [short(one) for one in victims]}
        examined = len(judged) - counts["without_opportunity"]
        nothing = "no forwarded transaction could be judged"
        return conclude(self.property, examined, anomalies, measures, nothing, _doubts(index, counts))


class _Peers:
    """Delays in opportunities of the transactions of the same time, for the place of one among them.

    Times are slices as long as the inclusion bound; what is not final has waited until the end.
    """

    def __init__(self, ways: Sequence[Journey], bound: int) -> None:
        self._length = max(bound, 1)
        slices: dict[int, list[int]] = {}
        for way in ways:
            slices.setdefault(way.start // self._length, []).append(way.opportunities)
        self._slices = {number: sorted(delays) for number, delays in slices.items()}

    def share(self, way: Journey) -> float:
        """Exact permutation p-value of this delay: the share of its time, itself included, that fared no better."""
        delays = self._slices[way.start // self._length]
        return (len(delays) - bisect_left(delays, way.opportunities)) / len(delays)


def _until(index: Index, way: Journey) -> int:
    return way.final.time if way.final is not None else index.end


def _violation(index: Index, way: Journey, guilty: list[tuple[str, str]], share: float) -> Anomaly:
    """A breach of the bound, with who withheld it."""
    waited = (_until(index, way) - way.start) / MS
    kind = "delayed" if way.final is not None else "censored" if guilty else "lost"
    ended = {
        "delayed": f"was finalised only after {waited:.0f} ms",
        "censored": f"was never finalised in {waited:.0f} ms",
        "lost": f"was never finalised in {waited:.0f} ms, though no corrupted node had a hand in it",
    }[kind]
    known = way.known
    whose = f"{known['node']} had received it as {known['role']}" if known else "its whole family is Byzantine"
    by = ", ".join(f"{node} as {role}" for role, node in guilty)
    summary = (
        f"transaction {short(way.tx)}, forwarded by {way.forward['node']} to {', '.join(way.family)}, {ended} (bound"
        f" {index.bounds.inclusion_ms:.0f} ms), over {way.views} views and {way.opportunities} blocks of honest leaders"
        f" (p = {share:.3g} among those of its time); {whose}" + (f"; withheld by {by}" if by else "")
    )
    witness: list[dict[str, Any]] = [record(event) for event in (way.forward, known) if event]
    if guilty:
        witness.append({"event": "withheld", "by": [{"role": role, "node": node} for role, node in guilty]})
    if way.final is not None:
        final = way.final
        witness.append({"event": "finalise", "node": final.node, "time": final.time, "height": final.height})
    return Anomaly(kind, summary, witness)


def _measures(index: Index, ways: Sequence[Journey], judged: Sequence[Journey]) -> dict[str, Any]:
    """What is told beside the verdict, in the units of the three denominators."""
    placed = [way for way in judged if way.final is not None]
    roles = {(event["tx"], event["batch"]): event["role"] for event in index.events("include")}
    corrupted = set(index.info.byzantine)
    first = {tx: inclusions[0][1] for tx, inclusions in index.inclusions.items()}
    delivered = {way.tx for way in journeys(index)}
    return {
        "delay_ms": figures(_delay_ms(way) for way in placed),
        "delay_views": figures(way.views for way in placed),
        "delay_opportunities": figures(way.opportunities for way in placed),
        "bound_ms": index.bounds.inclusion_ms,
        "undelivered": len(firsts(index.events("forward")).keys() - delivered),
        "whole_family_byzantine": sum(way.known is None for way in ways),
        "rescued_by_secondaries": sum(roles.get((way.tx, first[way.tx])) == "secondary" for way in placed),
        "victims_to_control": _ratio(placed, lambda way: way.family[0] in corrupted),
        "senders": _senders(placed),
        "proposers": _proposers(index),
        "duties": {
            role: [sum(d.failures for d in nodes.values()), sum(d.occasions for d in nodes.values())]
            for role, nodes in duties(index).items()
        },
        "censors": [_told(named) for named in censors(index)],
    }


def _delay_ms(way: Journey) -> float:
    assert way.final is not None
    since = way.known or way.forward
    return (way.final.time - int(since["time"])) / MS


def _ratio(placed: Sequence[Journey], struck: Any) -> dict[str, Any]:
    """Delays (ms) of transactions with a corrupted primary against those with an honest one; how many times as long."""
    groups: dict[bool, list[float]] = {True: [], False: []}
    for way in placed:
        groups[struck(way)].append(_delay_ms(way))
    ordered = {key: sorted(values) for key, values in groups.items()}
    told: dict[str, Any] = {"victims": len(ordered[True]), "control": len(ordered[False])}
    if ordered[True] and ordered[False]:
        told |= {
            f"p{share * 100:.0f}": round(quantile(ordered[True], share) / max(quantile(ordered[False], share), 1.0), 3)
            for share in (0.5, 0.99)
        }
    return told


def _senders(placed: Sequence[Journey]) -> dict[str, Any]:
    """How evenly the mean delay (in opportunities, its own block included) is spread over senders."""
    delays: dict[str, list[int]] = {}
    for way in placed:
        if way.sender:
            delays.setdefault(way.sender, []).append(way.opportunities + 1)
    return _spread([sum(values) / len(values) for values in delays.values()])


def _proposers(index: Index) -> dict[str, Any]:
    """How evenly finalised batches are spread over the proposers, corrupted ones included."""
    slots = dict.fromkeys((node for clan in index.info.clans for node in clan), 0)
    for place in index.placed:
        for _, key in place.effective:
            slots[key.proposer] = slots.get(key.proposer, 0) + 1
    return _spread(list(slots.values()))


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {"n": len(values), "gini": round(gini(values), 4), "jain": round(jain(values), 4)}


def _told(named: Named) -> dict[str, Any]:
    return {
        "node": named.node,
        "role": named.role,
        "withheld": [named.failures, named.occasions],
        "peers": list(named.peers),
        "p": float(f"{named.p:.3g}"),
        "victims": [short(sender) for sender in named.victims] or "everybody alike",
    }


def _doubts(index: Index, counts: Mapping[str, int]) -> list[str]:
    doubts = [index.chain[1]] if index.chain[1] and index.finals else []
    if index.info.interrupted:
        doubts.append("the run was interrupted before its bounds could pass")
    unread = sum(batch not in index.contents for place in index.placed for batch, _ in place.effective)
    if unread:
        doubts.append(f"no honest node knew the transactions of {unread} finalised batches")
    if counts["without_opportunity"]:
        doubts.append(
            f"{counts['without_opportunity']} transactions are late, but fewer than {FEWEST_OPPORTUNITIES} blocks of"
            " honest leaders came after their time-out: the chain stood still"
        )
    if counts["congested"]:
        doubts.append(f"{counts['congested']} transactions are late in a time when batches or blocks were full")
    return doubts
