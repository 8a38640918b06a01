"""How many views a correct chain may need until it finalises, from who leads when (protocol.md 1.7, 1.11).

A view of a leader that may be silent ends by its time-out. The variant `commit` finalises in the first view of an
honest leader; `pipelined` needs the views of two honest leaders in a row, so that an honest leader before a silent one
finalises nothing either. f is no measure of that: a schedule may set honest leaders apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from checkers.evidence import EvidenceError
from checkers.succession import Schedule
from results.store import RunInfo


@dataclass(frozen=True)
class Wait:
    """Views that finalise nothing: of leaders that fail, and of honest ones that stand alone."""

    failed: int = 0
    alone: int = 0

    def ms(self, delta_ms: float, md_ms: float) -> float:
        """What they last at most: 3 Delta + 2 md until all have left a silent leader's view, Delta + 2 md of others."""
        return self.failed * (3 * delta_ms + 2 * md_ms) + self.alone * (delta_ms + 2 * md_ms)

    @property
    def deltas(self) -> int:
        """The same in Delta, message delays aside: an order of waits."""
        return 3 * self.failed + self.alone


class Waits:
    """The waits of one run. None where they are not known: run.json names no schedule, or under it the chain never
    finalises. Whoever was faulty at any time of the run counts as silent."""

    def __init__(self, info: RunInfo) -> None:
        self._in_a_row = 2 if info.parameters.get("variant") == "pipelined" else 1
        self._faulty = {*info.byzantine, *info.crashed, *info.amnesiac}
        declared = info.leaders
        try:
            schedule = Schedule(info.tribe, str(declared.get("kind", "")), declared.get("order") or ())
        except EvidenceError:
            self._cycle: tuple[str, ...] = ()
        else:
            self._cycle = schedule.cycle

    @property
    def longest(self) -> Wait | None:
        """The longest wait from any view on."""
        if not self._faulty & set(self._cycle):
            return Wait() if self._cycle else None
        waits = [self.after(view) for view in range(len(self._cycle))]
        return max((wait for wait in waits if wait is not None), key=lambda wait: wait.deltas, default=None)

    def after(self, view: int, late: Collection[str] = ()) -> Wait | None:
        """The wait from the view after `view` on. Each of `late`, honest but behind, loses its first turn besides."""
        behind, failed, alone, streak = set(late), 0, 0, 0
        for leader in self._turns(view + 1):
            if leader in self._faulty or leader in behind:
                behind.discard(leader)
                failed, alone, streak = failed + 1, alone + streak, 0
                continue
            streak += 1
            if streak == self._in_a_row:
                return Wait(failed, alone)
        return None

    def _turns(self, view: int) -> Iterable[str]:
        """Leaders from `view` on: in three cycles it shows whether enough honest ones ever follow each other."""
        size = len(self._cycle)
        return (self._cycle[turn % size] for turn in range(view, view + 3 * size))
