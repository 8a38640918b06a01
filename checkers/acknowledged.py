"""acknowledged: nothing is called complete that did not happen, or is lost later (claim no-false-completion)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from checkers import balances
from checkers.answers import BALANCE
from checkers.conservation import finished, witness
from checkers.coverage import Coverage
from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from checkers.replay import Replay, replay_of
from checkers.told import early
from results.history import Operation
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict


class Acknowledged(Judge):
    """An honest gateway tells a phase, an outcome or a balance only as it is, and ok results of clients are true.

    Anomalies: early-preconfirmation, early-order, wrong-height (told.py), fooled-gateway (exec told without a matching
    root, or for a transaction that was not applied, or at another height, or before a certificate of a true root covers
    that height), early-abort (told before such a certificate), wrong-abort (told aborted, yet applied), unfounded-abort
    (not aborted at that height, or not for that reason), acknowledged-then-lost (a client's ok that the final order
    does not hold), wrong-read (a client read another list than was there), wrong-balance (the account at the height
    told, executed again, is another), uncertified-balance (the gateway had no certificate of a true root for that
    height or above). Excluded and counted: what lies above the height where bodies end. A false root was certified but
    no honest gateway refused anything: UNKNOWN, for nothing shows that a gateway would; so is a run in which no
    question for a balance was answered. Examined: gateway answers, ok operations and balances.
    """

    property: ClassVar[str] = "acknowledged"

    def judge(self, index: Index) -> Verdict:
        replay = replay_of(index)
        anomalies, examined = early(index)
        coverage = Coverage(index, replay)
        unjudged = 0
        for event in index.events("gateway"):
            if event["phase"] not in ("exec", "aborted"):
                continue
            found, known = _gateway(event, replay)
            found += _uncovered(event, replay, coverage)
            examined += known
            unjudged += not known
            anomalies += found
        oks = 0
        for operation in finished(index.history):
            oks += operation.type == "ok"
            if operation.type != "ok" or operation.gateway in index.info.byzantine:
                continue
            found, known = _client(operation, replay)
            examined += known
            unjudged += not known
            anomalies += found
        asked = balances.judged(index, replay, coverage)
        anomalies += asked.anomalies
        examined += asked.examined
        unjudged += asked.unjudged
        clients = sum(operation.type == "invoke" and operation.f != BALANCE for operation in index.history)
        refused = sum(event["phase"] == "refused" for event in index.events("gateway"))
        measures: dict[str, Any] = {"unjudged": unjudged, "clients_told_ok": oks, "refused_by_gateways": refused}
        if asked.asked:
            measures |= {"balances_asked": asked.asked, "balances_told": asked.told}
        measures |= replay.where_it_stopped()
        doubts = []
        if not refused and _false_certificates(index, replay):
            doubts.append("a false root was certified, but no gateway was seen to refuse a transaction under it")
        if not oks and index.info.target == "supra":
            doubts.append(f"of {clients} client operations none ended ok: nothing was acknowledged to anybody")
        if asked.asked and not asked.told:
            doubts.append(f"of {asked.asked} questions for a balance none was answered")
        if unjudged and not examined:
            doubts.append("every acknowledgement lies above the height up to which the order can be executed again")
        return conclude(self.property, examined, anomalies, measures, "nothing was acknowledged", doubts)


def _false_certificates(index: Index, replay: Replay) -> bool:
    """Did an honest node see a certificate for another root than re-execution gets?"""
    for event in index.events("state_certificate"):
        mine = replay.outcomes.get((event["clan"], event["height"]))
        if mine is not None and mine.root != event["root"]:
            return True
    return False


def _uncovered(event: TraceEvent, replay: Replay, coverage: Coverage) -> list[Anomaly]:
    """An outcome may be told once a certificate of a true root is there for its height or, as roots are chained,
    above."""
    clan, height, node = event.get("clan"), event.get("height"), event["node"]
    if clan is None or height is None:
        return []
    if (clan, height) not in replay.outcomes or not coverage.knows(node, clan):
        return []
    if coverage.reaches(node, clan, height, int(event["time"])):
        return []
    summary = (
        f"{node} told {event['phase']} for transaction {short(event['tx'])} at height {height} of clan {clan}, but it"
        " had no certificate of a true root for that height or a later one"
    )
    return [Anomaly("fooled-gateway" if event["phase"] == "exec" else "early-abort", summary, [record(event)])]


def _gateway(event: TraceEvent, replay: Replay) -> tuple[list[Anomaly], bool]:
    """Anomalies of one final answer, and whether it could be judged."""
    tx, told = event["tx"], f"{event['node']} told {event['phase']} for transaction {short(event['tx'])}"
    places = replay.applied.get(tx, [])
    if event["phase"] == "aborted":
        if places:
            clan, height = places[0]
            summary = f"{told}, but it was applied in clan {clan} at height {height}"
            return [Anomaly("wrong-abort", summary, [record(event), _place(tx, places)])], True
        return _unfounded(event, replay, told)
    if event.get("root_ok") is not True:
        summary = f"{told} without having matched the certified root with its own"
        return [Anomaly("fooled-gateway", summary, [record(event)])], True
    claimed = (event.get("clan"), event.get("height"))
    if places:
        if None not in claimed and claimed not in places:
            summary = f"{told} in clan {claimed[0]} height {claimed[1]}, but it was applied elsewhere: {places}"
            return [Anomaly("fooled-gateway", summary, [record(event), _place(tx, places)])], True
        return [], True
    judged = replay.complete or (None not in claimed and claimed in replay.outcomes)
    if not judged:
        return [], False
    why = ", ".join(sorted({reason for _, _, reason in replay.aborted.get(tx, ())})) or "it is not in the final order"
    summary = f"{told}, but executing the finalised order does not apply it ({why})"
    return [Anomaly("fooled-gateway", summary, [record(event), _place(tx, places)])], True


def _unfounded(event: TraceEvent, replay: Replay, told: str) -> tuple[list[Anomaly], bool]:
    """The same of an abort: the re-execution of that height must have aborted it, and for that reason."""
    clan, height = event.get("clan"), event.get("height")
    if (clan, height) not in replay.outcomes:
        return [], replay.complete
    aborts = [why for c, h, why in replay.aborted.get(event["tx"], ()) if (c, h) == (clan, height)]
    if event.get("reason", "") in aborts:
        return [], True
    why = f"aborted there as {' and '.join(sorted(set(aborts)))}" if aborts else "not aborted there"
    summary = f"{told} at height {height} of clan {clan} as {event.get('reason')!r}; it was {why}"
    return [Anomaly("unfounded-abort", summary, [record(event)])], True


def _client(operation: Operation, replay: Replay) -> tuple[list[Anomaly], bool]:
    """Anomalies of one ok operation, and whether it could be judged."""
    told = f"process {operation.process} was told ok for transaction {short(operation.tx)}"
    places = replay.applied.get(operation.tx, [])
    if not places:
        if not replay.complete:
            return [], False
        summary = f"{told}, but the finalised order does not apply it"
        return [Anomaly("acknowledged-then-lost", summary, [witness(operation), _place(operation.tx, places)])], True
    if operation.f == "txn" and isinstance(operation.value, list):
        seen = _lists(operation.value)
        true = [list(values) for values in replay.reads.get(operation.tx, ())]
        if seen != true:
            summary = f"{told} with reads {seen}; executing the finalised order reads {true}"
            return [Anomaly("wrong-read", summary, [witness(operation), _place(operation.tx, places)])], True
    return [], True


def _lists(value: Iterable[Any]) -> list[list[int]]:
    """What the reads of a txn operation returned, in order; an absent list is empty."""
    return [list(part[2] or ()) for part in value if part[0] == "r"]


def _place(tx: str, places: list[tuple[int, int]]) -> dict[str, Any]:
    return {"event": "re-execution", "tx": tx, "applied": [{"clan": c, "height": h} for c, h in places]}
