"""What all checkers of this package share: reading a run safely, and how a judgement ends."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, ClassVar

import msgspec

from checkers.evidence import EvidenceError
from checkers.index import Index, index_of
from checkers.soundness import flaws
from results.history import HistoryError
from results.store import Run
from results.verdict import Anomaly, Status, Verdict, judged

COLUMNS = "checkers.columnar.judging"  # numpy and arrow: imported when a run has columns
MOST_ANOMALIES = 25  # listed per verdict; the measure "anomalies" has the full count


class Judge(ABC):
    """Base of the checkers: `judge` sees the index of the run; whatever it raises becomes UNKNOWN.

    So does a pass over records that are incomplete or contradict themselves (`soundness.flaws`).
    """

    property: ClassVar[str] = ""
    columnar: ClassVar[str] = ""  # the module whose judge(wide) does the same on columns; "": there is none

    @abstractmethod
    def judge(self, index: Index) -> Verdict:
        """The verdict over a readable run."""

    def check(self, run: Run) -> Verdict:
        """The verdict; UNKNOWN with a reason for a run that cannot be read or judged."""
        try:
            if self.columnar and run.columns is not None:
                verdict: Verdict = import_module(COLUMNS).judged(run, self.property, self.columnar)
                return verdict
            index = index_of(run)
            return tempered(self.judge(index), flaws(index))
        except (HistoryError, EvidenceError) as error:
            return Verdict(self.property, Status.UNKNOWN, 0, reason=str(error))
        except Exception:
            return crashed(self.property)


def tempered(verdict: Verdict, flaws: Sequence[str]) -> Verdict:
    """The verdict over flawed records: a pass becomes UNKNOWN, a violation stands, the flaws are told with both."""
    if not flaws:
        return verdict
    measures = {**verdict.measures, "flaws_of_the_records": list(flaws[:MOST_ANOMALIES])}
    if verdict.status is Status.FAIL:
        return msgspec.structs.replace(verdict, measures=measures)
    reason = listed([verdict.reason, *flaws] if verdict.reason else flaws)
    return msgspec.structs.replace(verdict, status=Status.UNKNOWN, measures=measures, reason=reason)


def listed(reasons: Sequence[str]) -> str:
    """Reasons in one line, the first eight in full."""
    return "; ".join(reasons[:8]) + (f"; and {len(reasons) - 8} more" if len(reasons) > 8 else "")


def crashed(property: str) -> Verdict:
    """UNKNOWN with the traceback of the exception being handled."""
    return Verdict(property, Status.UNKNOWN, 0, reason=f"the checker crashed:\n{traceback.format_exc()}")


def conclude(
    property: str,
    examined: int,
    anomalies: Sequence[Anomaly],
    measures: dict[str, Any],
    nothing: str,
    doubts: Iterable[str] = (),
) -> Verdict:
    """FAIL on anomalies; else UNKNOWN on doubts (a pass would claim too much); else PASS if something was examined."""
    if anomalies:
        measures = {**measures, "anomalies": len(anomalies)}
        return judged(property, examined, list(anomalies[:MOST_ANOMALIES]), measures)
    reasons = list(dict.fromkeys(doubts))
    if reasons:
        return Verdict(property, Status.UNKNOWN, examined, [], measures, reason=listed(reasons))
    return judged(property, examined, [], measures, nothing)


def short(digest: str) -> str:
    """A hash as people read it."""
    return f"{digest[:10]}.."


def record(event: dict[str, Any]) -> dict[str, Any]:
    """A trace record as a witness: without the bulk of a batch body."""
    return {name: value for name, value in event.items() if name != "data"}
