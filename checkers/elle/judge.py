"""How an Elle checker comes to its verdict: inference, cycles, and what the asked-for model says to both."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from checkers.elle import models
from checkers.elle.cycles import Cycles, search
from checkers.elle.findings import MOST_TOLD, Inference, witness
from checkers.elle.graph import KIND_NAMES, PROCESS, REALTIME
from checkers.elle.path import Cycle, Hop
from checkers.index import Index
from checkers.judge import Judge, conclude, crashed
from results.alone import HistoryAlone
from results.history import HistoryError
from results.records import of_operations
from results.store import Run
from results.transactions import Transactions, load
from results.verdict import Anomaly, Status, Verdict


class ElleJudge(Judge):
    """Base of both checkers: a history's transactions against a consistency model, with proofs in prose.

    The history is all the evidence: it can be judged without a run round it.
    """

    def __init__(self, consistency: str = models.DEFAULT) -> None:
        """Raises ValueError on a model that is not known."""
        self.consistency = models.canonical(consistency)

    @abstractmethod
    def infer(self, history: Transactions) -> Inference:
        """What the history gives away. Raises HistoryError on one of another kind."""

    def check(self, run: Run) -> Verdict:
        """The verdict; UNKNOWN with a reason for a history that cannot be read or judged."""
        if not isinstance(run, HistoryAlone):
            return super().check(run)
        try:
            return self.over(run.transactions)
        except HistoryError as error:
            return Verdict(self.property, Status.UNKNOWN, 0, reason=str(error))
        except Exception:
            return crashed(self.property)

    def judge(self, index: Index) -> Verdict:
        return self.over(load("history.jsonl", of_operations(index.history)))

    def over(self, history: Transactions) -> Verdict:
        """The verdict over transactions. Raises HistoryError on those of another kind of history."""
        measures: dict[str, Any] = {"consistency": self.consistency, "transactions": len(history)}
        if not len(history):
            others = ", ".join(f"{count} {f}" for f, count in sorted(history.others.items()))
            reason = f"the history holds no transaction (an operation txn){f', only {others}' if others else ''}"
            return Verdict(self.property, Status.UNKNOWN, 0, measures=measures, reason=reason)
        inference = self.infer(history)
        measures |= inference.measures
        if history.premature:
            measures["ok_before_execution"] = history.premature  # taken as info: they may still be undone
        if inference.ambiguous:
            return Verdict(self.property, Status.UNKNOWN, 0, measures=measures, reason=inference.ambiguous)
        ruled_out = models.ruled_out(self.consistency)
        cycles = search(history, inference, ruled_out)
        findings = inference.findings
        for cycle in cycles.found:
            findings.put(_anomaly(history, inference, cycle))
        measures |= _measures(inference, cycles, self.consistency)
        told = [a for kind in findings.told for a in findings.told[kind][:MOST_TOLD] if kind in ruled_out]
        doubts = [*inference.doubts, *_doubts(history)]
        if cycles.components and not cycles.found and not cycles.allowed:
            doubts.append(
                f"cycles were found, but not whether {self.consistency} rules one out: the search was cut short"
            )
        return conclude(self.property, inference.examined, told, measures, "no transaction ended ok", doubts)


def _measures(inference: Inference, cycles: Cycles, model: str) -> dict[str, Any]:
    counts, ruled_out = inference.findings.counts, models.ruled_out(model)
    measures: dict[str, Any] = {"dependencies": len(inference.edges)}
    bad = {kind: counts[kind] for kind in sorted(counts) if kind in ruled_out}
    allowed = {kind: counts[kind] for kind in sorted(counts) if kind not in ruled_out}
    if bad:
        certain = [kind for kind in bad if inference.certain is None or kind in inference.certain]
        measures |= {"kinds": bad, "violates": models.violated(certain) or [model]}
    if allowed:
        measures["allowed"] = allowed
    if cycles.components:
        measures |= {"components": cycles.components, "largest_component": cycles.largest}
    if cycles.not_searched:
        measures["not_searched"] = cycles.not_searched[:MOST_TOLD]
    return measures


def _doubts(history: Transactions) -> list[str]:
    """Why a pass over these records would claim too much."""
    if history.gaps:
        return [f"{history.source}: the indices skip some: records are missing"]
    return []


def _anomaly(history: Transactions, inference: Inference, cycle: Cycle) -> Anomaly:
    names = {hop.source: f"T{number}" for number, hop in enumerate(cycle.hops, 1)}
    reasons = [_reason(history, inference, hop, names) for hop in cycle.hops]
    ring = " < ".join([*names.values(), "T1"])
    summary = f"{'; '.join(reasons)}. So {ring}: a cycle ({cycle.kind})"
    if not cycle.shortest:
        summary += "; there may be a shorter one"
    records = [witness(history, transaction, name) for transaction, name in names.items()]
    hops = [
        {"from": names[hop.source], "to": names[hop.target], "edge": KIND_NAMES[hop.kind], "because": reason}
        for hop, reason in zip(cycle.hops, reasons, strict=True)
    ]
    return Anomaly(cycle.kind, summary, [*records, *hops])


def _reason(history: Transactions, inference: Inference, hop: Hop, names: dict[int, str]) -> str:
    a, b = names[hop.source], names[hop.target]
    if hop.kind == PROCESS:
        process = history.names.of(int(history.process[hop.source]))
        return f"process {process} executed {a} and then {b}, so {a} < {b} (process)"
    if hop.kind == REALTIME:
        return f"{a} had ended before {b} began, so {a} < {b} (realtime)"
    return inference.explain(hop.kind, hop.here, hop.there, a, b)
