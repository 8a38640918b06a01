"""Verdicts: what a checker says, and what it may not say (architecture section 6)."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class Status(StrEnum):
    """UNKNOWN is never a pass."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


class Anomaly(msgspec.Struct, frozen=True):
    """One violation: its kind, a sentence a person can follow, and the records that prove it."""

    kind: str
    summary: str
    witness: list[dict[str, Any]]


class Verdict(msgspec.Struct, frozen=True):
    """Judgement of one property over one run. `examined` counts what was really looked at.

    Raises ValueError on a PASS that examined nothing and on a FAIL without a witness: both are programming errors.
    """

    property: str
    status: Status
    examined: int
    anomalies: list[Anomaly] = []
    measures: dict[str, Any] = {}
    reason: str = ""  # why UNKNOWN

    def __post_init__(self) -> None:
        if self.status is Status.PASS and self.examined <= 0:
            raise ValueError(f"checker {self.property!r} says PASS but examined nothing")
        if self.status is Status.FAIL and not any(a.witness for a in self.anomalies):
            raise ValueError(f"checker {self.property!r} says FAIL without a witness")
        if self.status is Status.PASS and self.anomalies:
            raise ValueError(f"checker {self.property!r} says PASS but lists anomalies")
        if self.status is Status.UNKNOWN and not self.reason:
            raise ValueError(f"checker {self.property!r} says UNKNOWN without a reason")


def judged(
    property: str,
    examined: int,
    anomalies: list[Anomaly],
    measures: dict[str, Any] | None = None,
    nothing: str = "nothing to examine",
) -> Verdict:
    """The usual ending of a checker: FAIL on anomalies, PASS if something was examined, else UNKNOWN."""
    measures = measures or {}
    if anomalies:
        return Verdict(property, Status.FAIL, examined, anomalies, measures)
    if examined > 0:
        return Verdict(property, Status.PASS, examined, [], measures)
    return Verdict(property, Status.UNKNOWN, 0, [], measures, reason=nothing)
