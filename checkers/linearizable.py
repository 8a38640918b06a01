"""linearizable: every read and compare-and-set of a register saw what some order in real time allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from checkers.index import Index
from checkers.judge import MOST_ANOMALIES, Judge, conclude, crashed, tempered
from checkers.linear.calls import Register, registers
from checkers.linear.decide import Decision, decide
from checkers.linear.explain import kind, operations, sentence
from checkers.linear.search import Limits
from checkers.soundness import history_flaws
from results.history import HistoryError, Operation
from results.store import Run
from results.verdict import Anomaly, Status, Verdict

STEPS = 6_000_000  # of all searches of one history together: some ten seconds
CONFIGURATIONS = 1_000_000  # of one search: some 150 MB


class Linearizable(Judge):
    """Reads, writes and compare-and-sets of registers took effect in one order that real time allows.

    Operations: f read or write with the value v, or cas with [old, new]; with keys [k, v], [k, [old, new]]. Keys are
    judged one by one. A register holds `initial` at first. Anomalies, one a key: unwritten-read (of a value that
    nobody had begun to write), stale-read, impossible-read, impossible-cas, impossible-write. Keys on which the search
    reaches its limits leave the verdict UNKNOWN. Examined: operations that happened or may have. The history is all the
    evidence: it can be judged without a run round it.
    """

    property: ClassVar[str] = "linearizable"

    def __init__(self, initial: Any = None, steps: int = STEPS, configurations: int = CONFIGURATIONS) -> None:
        self._initial = initial
        self._steps = steps
        self._configurations = configurations

    def check(self, run: Run) -> Verdict:
        """The verdict; UNKNOWN with a reason for a history that cannot be read or judged."""
        try:
            _ = run.info
        except HistoryError:  # a history on its own
            return self._alone(run)
        return super().check(run)

    def _alone(self, run: Run) -> Verdict:
        try:
            return tempered(self.over(run.history), history_flaws(run.history))
        except HistoryError as error:
            return Verdict(self.property, Status.UNKNOWN, 0, reason=str(error))
        except Exception:
            return crashed(self.property)

    def judge(self, index: Index) -> Verdict:
        return self.over(index.history)

    def over(self, history: Sequence[Operation]) -> Verdict:
        """The verdict over a history. Raises HistoryError on values that are those of no register."""
        found = registers(history, self._initial)
        decisions = self._decide(found)
        anomalies: list[Anomaly] = []
        undecided: list[dict[str, Any]] = []
        for register, decision in zip(found, decisions, strict=True):
            stop = decision.stop
            if stop is None:
                continue
            summary, witness = sentence(history, register, stop), operations(history, register, stop)
            if stop.reason:
                undecided.append({"summary": summary, "operations": witness})
            else:
                anomalies.append(Anomaly(kind(history, register, stop), summary, witness))
        examined = sum(len(register.calls) for register in found)
        measures: dict[str, Any] = {
            "keys": len(found),
            "keys_decided_by_zones": sum(decision.by == "zones" for decision in decisions),
            "search_steps": sum(decision.steps for decision in decisions),
            "most_configurations": max((decision.configurations for decision in decisions), default=0),
        }
        if undecided:
            measures["keys_undecided"] = len(undecided)
        if undecided and not anomalies:
            measures["undecided"] = undecided[:MOST_ANOMALIES]  # drawn by results.report.linear
        nothing = "no operation on a register (f: read, write or cas) in this history"
        return conclude(self.property, examined, anomalies, measures, nothing, [one["summary"] for one in undecided])

    def _decide(self, found: Sequence[Register]) -> list[Decision]:
        """Each key in turn with an equal share of the steps that are left; then those undecided, if that is much more
        than they had."""
        decisions: dict[int, Decision] = {}
        left, least = self._steps, 0
        waiting = list(range(len(found)))
        while waiting and left > 2 * least * len(waiting):
            least = left // len(waiting)
            for position, number in enumerate(waiting):
                limits = Limits(max(left, 0) // (len(waiting) - position), self._configurations)
                decisions[number] = decide(found[number].calls, len(found[number].values), limits)
                left -= decisions[number].steps
            waiting = [n for n in waiting if (stop := decisions[n].stop) is not None and stop.reason]
        return [decisions[number] for number in range(len(found))]
