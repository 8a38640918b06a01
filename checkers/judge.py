"""What all checkers of this package share: reading a run safely, and how a judgement ends."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from checkers.evidence import EvidenceError
from checkers.index import Index, index_of
from results.history import HistoryError
from results.store import Run
from results.verdict import Anomaly, Status, Verdict, judged

MOST_ANOMALIES = 25  # listed per verdict; the measure "anomalies" has the full count


class Judge(ABC):
    """Base of the checkers: `judge` sees the index of the run; whatever it raises becomes UNKNOWN."""

    property: ClassVar[str] = ""

    @abstractmethod
    def judge(self, index: Index) -> Verdict:
        """The verdict over a readable run."""

    def check(self, run: Run) -> Verdict:
        """The verdict; UNKNOWN with a reason for a run that cannot be read or judged."""
        try:
            return self.judge(index_of(run))
        except (HistoryError, EvidenceError) as error:
            return Verdict(self.property, Status.UNKNOWN, 0, reason=str(error))
        except Exception:
            return crashed(self.property)


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
        shown = "; ".join(reasons[:8]) + (f"; and {len(reasons) - 8} more" if len(reasons) > 8 else "")
        return Verdict(property, Status.UNKNOWN, examined, [], measures, reason=shown)
    return judged(property, examined, [], measures, nothing)


def short(digest: str) -> str:
    """A hash as people read it."""
    return f"{digest[:10]}.."


def record(event: dict[str, Any]) -> dict[str, Any]:
    """A trace record as a witness: without the bulk of a batch body."""
    return {name: value for name, value in event.items() if name != "data"}
