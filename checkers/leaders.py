"""Who leads a view (protocol.md 1.7), recomputed from run.json alone."""

from __future__ import annotations

from checkers.evidence import EvidenceError
from checkers.index import Index, once
from checkers.succession import Schedule


def schedule(index: Index) -> Schedule:
    """The schedule of a run, made once. Raises EvidenceError where run.json names none."""
    return once(index, _schedule)


def _schedule(index: Index) -> Schedule:
    declared = index.info.leaders
    if not declared:
        raise EvidenceError("run.json does not say who leads which view (`leaders`); it is of an older version")
    return Schedule(index.info.tribe, str(declared.get("kind", "")), declared.get("order") or ())
