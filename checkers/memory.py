"""memory: whatever a node is sent, its stores stay below their caps (L-MEM, protocol.md 6.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from checkers.index import MS, Index
from checkers.judge import Judge, conclude, record
from results.store import RunInfo
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

OPEN_BATCHES = 512  # of a proposer, voted for and not final (2.3)
REMEMBERED_SEQS = 5_001  # of a proposer (2.3)
OPEN_VOTES = 2_000  # of a voter, on batches without a certificate (2.3)
ALTERNATES, CLOSED_KEYS, SERVED, ACCUSED, EARLY = 4_096, 512, 1_024, 1_000, 64
WANTED = 256  # missing blocks (1.8)
HISTORY, AHEAD, UNSETTLED = 2_000, 512, 64  # heights of execution (2.7): kept, ahead, between two clearings
SPARE_BYTES = 64 * 1024 * 1024
RECENT = 50_000  # transactions that buckets and gateways remember
BATCHES, BLOCKS, WAITERS, ROOTS = 5_000, 10_000, 20_000, 4_096  # of a gateway


class Memory(Judge):
    """No store of an honest node that peers can fill holds more than its cap, at any census that it took.

    The caps are those of the protocol, worked out here from the parameters and the sizes of the committees; those of
    blocks grow with the views since the newest final block. Anomaly: beyond-cap, the first for each node and store.
    Nodes without a census, stores without a cap, and those that one leaves out make it UNKNOWN. Examined: censuses.
    """

    property: ClassVar[str] = "memory"

    def judge(self, index: Index) -> Verdict:
        anomalies: list[Anomaly] = []
        doubts: list[str] = []
        told: set[tuple[str, str]] = set()
        fullest: dict[str, tuple[float, int, int, str]] = {}  # store -> share of the cap, count, cap, node
        takes = index.events("buffers")
        for event in takes:
            limits = caps(index.info, event["node"], event["view"], event["final"])
            doubts += _unlike(event, limits)
            for store, cap in limits.items():
                count = event["sizes"].get(store, 0)
                fullest[store] = max(fullest.get(store, (-1.0, 0, 0, "")), (count / cap, count, cap, event["node"]))
                if count > cap and (event["node"], store) not in told:
                    told.add((event["node"], store))
                    anomalies.append(_beyond(event, store, count, cap))
        counted = {event["node"] for event in takes}
        doubts += [f"{node} took no census of its stores" for node in index.steady if node not in counted]
        measures: dict[str, Any] = {
            "fullest": {
                store: {"count": count, "cap": cap, "node": node} for store, (_, count, cap, node) in fullest.items()
            }
        }
        nothing = "no honest node took a census of its stores (records of an older version, or of a lean trace)"
        return conclude(self.property, len(takes), anomalies, measures, nothing, doubts if takes else [nothing])


def caps(info: RunInfo, node: str, view: int, final: int) -> dict[str, int]:
    """Store -> the most that it may hold at a node in `view` whose newest final block is of view `final`."""
    caps = _consensus(info, view, final) | _batches(info, node)
    heights = HISTORY + AHEAD + UNSETTLED
    largest = max(map(len, info.clans), default=0)
    caps |= {
        "execution.tallies": heights,
        "execution.ballots": heights * 2 * largest,
        "execution.spare-bytes": SPARE_BYTES,
        **dict.fromkeys(("execution.claims", "execution.own-votes", "execution.undo"), HISTORY),
        "execution.certificates": HISTORY,
    }
    if node in info.gateways:
        return caps | {
            "gateway.transactions": 3 * RECENT,  # waiting, finished, only seen on the chain
            "gateway.pending": RECENT,
            "gateway.batches": BATCHES,
            "gateway.blocks": BLOCKS,
            "gateway.waiters": WAITERS,
            "gateway.roots": 2 * ROOTS,  # executed here, certified ahead of that
        }
    return caps | {
        "buckets.held": _parameter(info, "max_bucket_txs", 20_000),
        "buckets.parked": _parameter(info, "too_new_backlog", 25),
        "buckets.stored": caps["xrbc.bodies"],
        "buckets.recent": RECENT,
        "buckets.returns": RECENT,
    }


def _parameter(info: RunInfo, name: str, default: int) -> int:
    return int(info.parameters.get(name, default))


def _consensus(info: RunInfo, view: int, final: int) -> dict[str, int]:
    """By views: those of the window behind and ahead (1.4), cleared every fourth view; those that are not final."""
    window, n = _parameter(info, "recency_bound", 20), len(info.tribe)
    views = 2 * window + 4
    unsettled = view + window + 1 - final
    traced = view + 2 - min(final, view - window)
    return {
        "consensus.polls": views,  # of one kind of vote: one a view
        "consensus.ballots": 4 * views * 2 * n,  # two choices a voter
        "consensus.timeouts": n * views,
        "consensus.proposals": 3 * views,  # two optimistic ones, one normal or fallback
        "consensus.accused": (6 * n + 6) * views,  # six kinds of a voter's guilt, six of the leader's
        "consensus.sighted": (4 + n) * traced,  # four kinds of certificates, time-outs by their lock
        "consensus.bodies": 4 * unsettled,  # the leader's three, and one that a certificate names beside them
        "consensus.certified": 4 * unsettled,
        "consensus.wanted": WANTED,
        "consensus.commit-votes": views,
        "consensus.timed-out": views,
    }


def _batches(info: RunInfo, node: str) -> dict[str, int]:
    """By proposers: what each may have open at each member of its clan. Nobody limits what a node itself proposes."""
    largest = max(map(len, info.clans), default=0)
    clan = next((len(members) for members in info.clans if node in members), 0)
    certified = OPEN_BATCHES * largest  # of one proposer: each certificate takes a member that has it open
    every = certified * len(info.tribe)
    return {
        "xrbc.open": OPEN_BATCHES,
        "xrbc.voted": REMEMBERED_SEQS * max(clan, 1),
        "xrbc.waiting": certified,
        "xrbc.alternates": ALTERNATES,
        "xrbc.slots": OPEN_VOTES * len(info.tribe) + every + CLOSED_KEYS,
        "xrbc.open-votes": OPEN_VOTES,
        "xrbc.bodies": OPEN_BATCHES * clan + _parameter(info, "max_bucket_txs", 20_000) if clan else every,
        "xrbc.fetches": every,
        "xrbc.served": SERVED,
        "xrbc.early": EARLY,
        "xrbc.accused": ACCUSED,
    }


def _unlike(event: TraceEvent, limits: Mapping[str, int]) -> list[str]:
    """A census of other stores than those that have a cap: one of the two sides does not know the other."""
    extra = sorted(event["sizes"].keys() - limits.keys())
    missing = sorted(limits.keys() - event["sizes"].keys())
    return [
        *(f"no cap is known for store {store} of {event['node']}" for store in extra),
        *(f"the census of {event['node']} leaves out store {store}" for store in missing),
    ]


def _beyond(event: TraceEvent, store: str, count: int, cap: int) -> Anomaly:
    summary = (
        f"store {store} of {event['node']} held {count} entries at {event['time'] / MS:.0f} ms, where {cap} is the most"
        f" (view {event['view']}, newest final block of view {event['final']})"
    )
    return Anomaly("beyond-cap", summary, [{**record(event), "store": store, "count": count, "cap": cap}])
