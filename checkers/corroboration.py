"""What honest nodes' records say about a fault or behaviour that claims to have bitten.

A receipt is the fault's own word. Honest records can refute it (a killed node that wrote on, a message over a cut link,
a withheld vote inside a certificate), and some effects must show in them (two blocks voted for in one view). Faults
that are not known here are judged by their receipts alone.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from checkers.arithmetic import clan_majority
from checkers.index import MS, Index
from results.store import FaultInfo
from results.trace import TraceEvent

Window = tuple[int, int]  # ns: from when to when it was surely active
Test = Callable[[Index, FaultInfo, Window], str]
MARGIN = 1000 * MS  # what was sent before a behaviour's window opened has arrived by then
SHUT_OUT = 3  # blocks that a listening node would not all have passed over
WITHHOLDER = "vote-withholder"  # who does not vote is in no certificate
BLOCK_VOTES = ("optimistic", "normal", "fallback")
_CLAN_VOTES = {"available": "availability", "state_certificate": "state"}  # record -> the votes it is made of


def contradictions(index: Index, fault: FaultInfo, window: Window) -> list[str]:
    """Sentences; empty if nothing in the honest records speaks against the receipt."""
    tests = _FAULTS.get(fault.use, ()) if fault.kind == "fault" else (*_BEHAVIOURS.get(fault.use, ()), _heard)
    return [found for test in tests if (found := test(index, fault, window))]


def hops_ms(index: Index, window: Window) -> list[float]:
    """From an honest proposal to another honest node's vote for it, both in the window: at least one message delay."""
    proposed: dict[str, TraceEvent] = {}
    for event in index.events("propose"):
        proposed.setdefault(event["block"], event)  # the first: a block may be proposed again in another kind
    return [
        (int(event["time"]) - int(proposed[event["block"]]["time"])) / MS
        for event in _inside(index, window, "vote")
        if event["kind"] in BLOCK_VOTES and event["block"] in proposed
        if window[0] < int(proposed[event["block"]]["time"])
        if proposed[event["block"]]["node"] != event["node"]
    ]


def _inside(index: Index, window: Window, *names: str) -> list[TraceEvent]:
    return [event for event in index.events(*names) if window[0] < int(event["time"]) < window[1]]


def _settled(window: Window) -> Window:
    """Without the first moments of a window that opens in mid-run."""
    return (window[0] + MARGIN if window[0] else 0, window[1])


# ---------------------------------------------------------------- faults
def _silent(index: Index, fault: FaultInfo, window: Window) -> str:
    for event in index.all_events:
        if event["node"] in fault.targets and window[0] < int(event["time"]) < window[1]:
            return f"{event['node']} recorded {event['event']!r} while it was said to be down"
    return ""


def _came_back(index: Index, fault: FaultInfo, window: Window) -> str:
    born = {event["node"] for event in index.events("start", "restart") if int(event["time"]) > window[0]}
    missing = [node for node in fault.targets if node in index.honest and node not in born]
    return f"{', '.join(missing)} never started again: it was not killed, or stayed down" if missing else ""


def _forgot(index: Index, fault: FaultInfo, window: Window) -> str:
    for event in index.events("restart"):
        if event["node"] in fault.targets and int(event["time"]) > window[0] and event.get("recovered"):
            return f"{event['node']} recovered {event['recovered']} records from a disk said to be lost"
    return ""


def _cut(index: Index, fault: FaultInfo, window: Window) -> str:
    links = set(fault.targets)
    for event in _inside(index, window, "received", "retrieve"):
        link = f"{event.get('from', '')}>{event['node']}"
        if link in links and event.get("ok", True):
            return f"{event['node']} recorded {event['event']!r} from {event['from']}, over a link said to be cut"
    return ""


def _delayed(index: Index, fault: FaultInfo, window: Window) -> str:
    """Only where every link is slowed by one amount."""
    extra = float(fault.parameters.get("delay_ms", 0)) - float(fault.parameters.get("jitter_ms", 0))
    if extra <= 0 or fault.parameters.get("victims", "all") != "all":
        return ""
    during = hops_ms(index, window)
    if not during or min(during) >= extra:
        return ""
    return f"a vote followed its proposal after {min(during):.0f} ms, but {extra:.0f} ms or more were said to be added"


# ---------------------------------------------------------------- behaviours
def _heard(index: Index, fault: FaultInfo, window: Window) -> str:
    """Nodes that shut a peer out at its first bad message spare themselves every later attack, and show nothing.

    Told of a node that refused something of the corrupted one and then voted for blocks, but for none of those of the
    corrupted one that others finalised; and of a tribe in whose certificates it never appears again.
    """
    blocks = {e["block"]: (e.get("proposer"), int(e["time"])) for e in index.events("finalise")}
    for target in fault.targets:
        refused: dict[str, int] = {}  # only the addressee can refuse a message, or vote for a proposal
        for event in index.events("reject"):
            if event.get("sender") == target:
                refused[event["node"]] = int(event["time"])
        for node, since in refused.items():
            votes = (e for e in index.events("vote") if e["node"] == node and e["kind"] in BLOCK_VOTES)
            voted = {e["block"] for e in votes if int(e["time"]) > since}
            proposers = [blocks.get(block, (target, 0))[0] for block in voted]  # a block that nobody kept may be its
            own = sum(proposer == target and time > since + MARGIN // 4 for proposer, time in blocks.values())
            others = sum(proposer != target for proposer in proposers)
            if min(own, others) >= SHUT_OUT and target not in proposers:
                return (
                    f"{node} refused a message of {target} at {since / MS:.0f} ms, and has voted for {others} blocks"
                    f" since, but for none of the {own} of {target}: it may have shut {target} out"
                )
        withheld = any(f.use == WITHHOLDER and target in f.targets for f in index.info.faults)
        if refused and not withheld and _vanished(index, target, max(refused.values())):
            return f"after its last refused message {target} is in no certificate any more: it may have been shut out"
    return ""


def _vanished(index: Index, target: str, since: int) -> bool:
    """Is a node that signed certificates before this time in none of many that came later?"""
    signed = [
        (int(e["time"]) <= since, target in e["signers"])
        for e in index.events("certify", "timeout_certificate")
        if not since < int(e["time"]) < since + MARGIN // 4
    ]
    later = signed.count((False, True)) + signed.count((False, False))
    return (True, True) in signed and (False, True) not in signed and later >= 10 * SHUT_OUT


def _one_replica(index: Index, fault: FaultInfo, window: Window) -> str:
    """Twins are honest copies with one key: nobody refuses their signatures, and somebody catches them contradicting
    each other."""
    others = {node for f in index.info.faults if f.kind == "behaviour" and f.id != fault.id for node in f.targets}
    alone = set(fault.targets) - others
    for event in index.events("reject"):
        if event.get("sender") in alone and "signature" in event.get("reason", ""):
            return f"{event['node']} refused a signature of {event['sender']}: its two copies have not the same key"
    accused = {event["culprit"] for event in index.events("accuse")}
    innocent = sorted(set(fault.targets) - accused)
    return f"no honest node saw the copies of {', '.join(innocent)} contradict each other" if innocent else ""


def _two_blocks(index: Index, fault: FaultInfo, window: Window) -> str:
    seen: dict[int, set[str]] = {}
    for event in _inside(index, window, "vote", "certify"):
        seen.setdefault(event["view"], set()).add(event["block"])
        if len(seen[event["view"]]) > 1:
            return ""
    return "no two honest nodes saw different blocks in any view"


def _no_block(index: Index, fault: FaultInfo, window: Window) -> str:
    timestamped = [e for e in _inside(index, _settled(window), "finalise") if e.get("proposer") in fault.targets]
    late = [e for e in timestamped if _settled(window)[0] < int(e.get("timestamp_ms") or 0) * MS < window[1]]
    return f"a block of {late[0]['proposer']} was finalised at height {late[0]['height']}" if late else ""


def _no_vote(index: Index, fault: FaultInfo, window: Window) -> str:
    kinds = fault.parameters.get("kinds", ("vote", "commit"))
    for event in _inside(index, _settled(window), "certify", "available", "state_certificate"):
        kind = event.get("kind", "")
        wanted = _CLAN_VOTES.get(event["event"]) or ("commit" if kind == "commit" else "vote")
        signed = sorted(set(event["signers"]) & set(fault.targets))
        if wanted in kinds and signed:
            where = f"{kind} certificate of view {event['view']}" if kind else f"{wanted} certificate"
            return f"{event['node']} holds a {where} signed by {signed[0]}"
    return ""


def _no_batch(index: Index, fault: FaultInfo, window: Window) -> str:
    if fault.parameters.get("victims") or fault.parameters.get("role", "any") != "any":
        return ""
    for event in _inside(index, _settled(window), "batch"):
        if event["proposer"] in fault.targets and event["txs"]:
            return f"{event['node']} holds a batch of {event['proposer']} with {len(event['txs'])} transactions"
    return ""


def _serves_nobody(index: Index, fault: FaultInfo, window: Window) -> str:
    for event in _inside(index, _settled(window), "retrieve"):
        if event["ok"] and event.get("from") in fault.targets:
            return f"{event['node']} fetched batch {event['batch'][:10]}.. from {event['from']}"
    return ""


def _lied(index: Index, fault: FaultInfo, window: Window) -> str:
    """A liar's signature under a root that an honest executor of its clan got is no lie."""
    true = {(e["clan"], e["height"], e["block"], e["root"]) for e in index.events("execute")}
    for event in _inside(index, _settled(window), "state_certificate"):
        signed = sorted(set(event["signers"]) & set(fault.targets))
        if signed and (event["clan"], event["height"], event["block"], event["root"]) in true:
            return f"{signed[0]} signed the true root of clan {event['clan']} height {event['height']}"
    return ""


def _invented(index: Index, fault: FaultInfo, window: Window) -> str:
    """With fewer keys than a clan's majority nothing comes of the inventions: then there is nothing to be seen."""
    if not any(len(set(clan) & set(fault.targets)) >= clan_majority(len(clan)) for clan in index.info.clans):
        return ""
    held = {event["batch"] for event in index.events("batch", "body")}
    if any(event["batch"] not in held for event in _inside(index, window, "available")):
        return ""
    return "every certified batch was held by an honest node"


def _two_batches(index: Index, fault: FaultInfo, window: Window) -> str:
    slots: dict[tuple[int, str, int], set[str]] = {}
    for event in _inside(index, window, "batch", "availability_vote", "available"):
        if event["proposer"] in fault.targets:
            at = slots.setdefault((event["clan"], event["proposer"], event["seq"]), set())
            at.add(event["batch"])
            if len(at) > 1:
                return ""
    return "no honest node saw a second batch under one number"


_FAULTS: dict[str, tuple[Test, ...]] = {
    "crash": (_silent, _came_back),
    "power-loss": (_silent, _came_back),
    "disk-loss": (_silent, _came_back, _forgot),
    "membership": (_silent, _came_back),
    "pause": (_silent,),
    "partition": (_cut,),
    "latency": (_delayed,),
}
_BEHAVIOURS: dict[str, tuple[Test, ...]] = {
    "equivocating-leader": (_two_blocks,),
    "silent-leader": (_no_block,),
    "twins": (_one_replica,),
    "vote-withholder": (_no_vote,),
    "censoring-primary": (_no_batch,),
    "data-withholding": (_serves_nobody,),
    "equivocating-batch": (_two_batches,),
    "lying-executor": (_lied,),
    "colluding-clan-majority": (_invented, _serves_nobody),
}


def network(index: Index) -> tuple[dict[str, float], str]:
    """The measured hop, and a doubt if the scenario's latency was evidently not in force."""
    hops = hops_ms(index, (0, index.end))
    if index.info.md_ms <= 0 or len(hops) < 5:
        return {}, ""
    middle = median(hops)
    doubt = f"votes follow proposals after {middle:.0f} ms, but one message should take {index.info.md_ms:.0f} ms"
    return {"hop_ms": round(middle, 1)}, doubt if middle < index.info.md_ms / 2 else ""
