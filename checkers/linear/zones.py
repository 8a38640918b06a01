"""The zone check (Gibbons and Korach 1997): are calls on one register linearizable, if each value is written once?

The calls that share a value form a block: between its write and the next one nothing else can be held. Let `first_end`
be the earliest end and `last_begin` the latest begin among them. If first_end of a < last_begin of b, some call of a
ended before one of b began, so block a comes before block b. The calls are linearizable exactly if every value read was
written, no read ended before the write of its value began, and no two blocks must each come before the other.

A compare-and-set belongs to two blocks, and a value written more than once to none. With either, a violation found here
is still one, but its absence proves nothing (`Blocks.complete`). Time O(n log n), memory O(n).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from checkers.linear.calls import ANY, INITIAL, OPEN, Call

NEVER = -3  # begin of a write that is not there
BEFORE_ALL = -2  # when the initial value was written


@dataclass(frozen=True)
class Conflict:
    """Why no order exists. `first` was never written in time; or, if `second` is there, each must precede the other."""

    first: int  # value ids
    second: int | None = None


class Blocks:
    """The blocks of one register's calls, as far as they are known at record `until`.

    What began later is left out; what ended later is still open.
    """

    def __init__(self, calls: Sequence[Call], values: int, until: int = OPEN) -> None:
        self.until = until
        self.first_end = first_end = [OPEN] * values
        self.last_begin = last_begin = [NEVER] * values
        self.written = written = [NEVER] * values  # when the earliest write began
        self.repeated = [False] * values
        self.compared = False
        first_end[INITIAL] = last_begin[INITIAL] = written[INITIAL] = BEFORE_ALL
        for call in calls:
            begin, held, expects = call.begin, call.leaves, call.expects
            if begin > until:
                break
            end = call.end if call.end <= until else OPEN
            if expects != held:
                if written[held] == NEVER:
                    written[held] = begin
                else:
                    self.repeated[held] = True
                if expects != ANY:
                    self.compared = True
                    if end < OPEN:  # an open compare-and-set may never have happened: it proves no value
                        self._observe(expects, begin, end)
            elif end == OPEN:
                continue
            if end < first_end[held]:
                first_end[held] = end
            if begin > last_begin[held]:
                last_begin[held] = begin

    def _observe(self, value: int, begin: int, end: int) -> None:
        self.first_end[value] = min(end, self.first_end[value])
        self.last_begin[value] = max(begin, self.last_begin[value])

    @property
    def complete(self) -> bool:
        """Is the absence of a conflict a proof?"""
        return not self.compared and not any(self.repeated)

    def unwritten(self) -> int | None:
        """A value that was observed, though its write had not begun when its observer ended; None if there is none."""
        for value, end in enumerate(self.first_end):
            if end < self.written[value] or (self.written[value] == NEVER and self.last_begin[value] != NEVER):
                return value
        return None

    @cached_property
    def forward(self) -> list[tuple[int, int, int]]:
        """(first_end, last_begin, value) of the blocks that certainly hold the register in between, sorted."""
        zones = zip(self.first_end, self.last_begin, self.repeated, strict=True)
        return sorted((end, begin, value) for value, (end, begin, many) in enumerate(zones) if end < begin and not many)

    def conflict(self) -> Conflict | None:
        """Two blocks of which each must come before the other, or a value never written; None if there is neither."""
        missing = self.unwritten()
        if missing is not None:
            return Conflict(missing)
        forward = self.forward
        for (_, begin, value), (end, _, other) in pairwise(forward):
            if end < begin:
                return Conflict(value, other)
        ends = [end for end, _, _ in forward]
        for value, (end, begin) in enumerate(zip(self.first_end, self.last_begin, strict=True)):
            if begin < end and not self.repeated[value]:  # a backward zone
                at = bisect_left(ends, begin) - 1
                if at >= 0 and end < forward[at][1]:
                    return Conflict(forward[at][2], value)
        return None

    def excludes(self, value: int, begin: int, end: int) -> bool:
        """Would one more call from `begin` to `end` on `value` make a conflict?"""
        first, last = min(end, self.first_end[value]), max(begin, self.last_begin[value])
        zones = zip(self.first_end, self.last_begin, strict=True)
        return any(other != value and first < b and e < last for other, (e, b) in enumerate(zones))

    def order(self) -> list[int]:
        """Value ids in an order in which their blocks can follow each other, if there is no conflict.

        A forward zone stands where it begins; a backward zone at its left end, or behind the forward zone around that.
        """
        places: list[tuple[int, int, int]] = [(end, end, value) for end, _, value in self.forward]
        ends = [end for end, _, _ in self.forward]
        for value, (end, begin) in enumerate(zip(self.first_end, self.last_begin, strict=True)):
            if NEVER < begin <= end < OPEN:  # the rest need not have happened
                at = bisect_left(ends, begin) - 1
                inside = at >= 0 and begin < self.forward[at][1]
                places.append((self.forward[at][1] if inside else begin, begin, value))
        return [value for _, _, value in sorted(places)]


def stopped_at(calls: Sequence[Call], blocks: Blocks, conflict: Conflict) -> int:
    """The first record by which the calls have a conflict (the end of some call), given one of all their blocks.

    Conflicts do not go away as more is known. So it is sought backwards from where the given one shows, in steps that
    double, and then by bisection.
    """
    values = [value for value in (conflict.first, conflict.second) if value is not None]
    shows = max(blocks.first_end[value] for value in values)
    if conflict.second is not None:
        latest = {blocks.last_begin[value] for value in values}
        shows = max([shows, *(call.end for call in calls if call.begin in latest and call.end < OPEN), *latest])
    ends = sorted(call.end for call in calls if call.end < OPEN)

    def conflicts(end: int) -> bool:
        return Blocks(calls, len(blocks.first_end), end).conflict() is not None

    high = bisect_left(ends, shows)
    step = 1
    while high >= step and conflicts(ends[high - step]):
        high, step = high - step, 2 * step
    return ends[bisect_left(ends, True, max(high - step + 1, 0), high, key=conflicts)]
