"""What to do next in a night: what was least covered so far, tonight and in the nights before.

1. Every regression scenario comes first, once a night: what broke before must not break again.
2. Then the kind of work with the fewest seconds behind it, divided by its weight; seconds of earlier nights count half
   as much with every night that has passed.
3. Of that kind the piece with the fewest runs behind it, counted alike; equals in their given order.
4. A piece that took longer than what is left of the budget waits for another night, but some piece is always done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from harness.night.records import Kind, Night, Piece

WEIGHTS: dict[Kind, float] = {"scenario": 4.0, "search": 4.0, "frontier": 1.0, "teeth": 1.0}
GUESS_S: dict[Kind, float] = {"regression": 20.0, "scenario": 30.0, "search": 0.0, "frontier": 120.0, "teeth": 5.0}
FADING = 0.5  # what a night counts against the one after it


class Work(msgspec.Struct, frozen=True):
    """Something that a night can do, as often as it likes, with another seed each time."""

    kind: Kind
    name: str


class Coverage:
    """Seconds by kind and runs by piece of work, tonight's in full and earlier nights' faded."""

    def __init__(self, earlier: Sequence[Night], tonight: Iterable[Piece]) -> None:
        self.seconds: dict[Kind, float] = defaultdict(float)
        self.runs: dict[Work, float] = defaultdict(float)
        self.took: dict[Work, float] = {}
        self.total_runs: dict[Work, int] = defaultdict(int)
        self.done: set[Work] = set()
        for age, night in enumerate(reversed(earlier), start=1):
            for piece in night.pieces:
                self._count(piece, FADING**age)
        for piece in tonight:
            self.add(piece)

    def add(self, piece: Piece) -> None:
        """Count a piece of tonight."""
        self._count(piece, 1.0)
        work = Work(piece.kind, piece.name)
        self.done.add(work)
        self.took[work] = piece.seconds

    def _count(self, piece: Piece, share: float) -> None:
        work = Work(piece.kind, piece.name)
        self.seconds[piece.kind] += share * piece.seconds
        self.runs[work] += share * piece.runs
        self.total_runs[work] += piece.runs
        self.took.setdefault(work, piece.seconds)

    def expected_s(self, work: Work) -> float:
        """How long it will take, going by its last time; a search takes what it is given."""
        return 0.0 if work.kind == "search" else self.took.get(work, GUESS_S[work.kind])


def choose(works: Sequence[Work], coverage: Coverage, left_s: float) -> Work | None:
    """The next piece of work; None when nothing fits into what is left."""
    fitting = [work for work in works if coverage.expected_s(work) <= left_s] if coverage.done else list(works)
    regressions = [work for work in fitting if work.kind == "regression" and work not in coverage.done]
    if regressions:
        return regressions[0]
    by_kind: dict[Kind, list[Work]] = {}
    for work in fitting:
        if work.kind != "regression":
            by_kind.setdefault(work.kind, []).append(work)
    if not by_kind:
        return None
    kind = min(by_kind, key=lambda kind: (coverage.seconds[kind] / WEIGHTS[kind], -WEIGHTS[kind]))
    return min(by_kind[kind], key=lambda work: coverage.runs[work])
