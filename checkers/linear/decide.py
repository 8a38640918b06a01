"""One register's calls: linearizable, not, or not decided within the limits. The zone check where it is enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from checkers.linear.calls import Call
from checkers.linear.search import Limits, Search, Stop
from checkers.linear.zones import NEVER, Blocks, stopped_at

_CANDIDATES = 32  # the latest values are tried for what a read could have returned
_LAST_BLOCKS = 12  # shown in order


@dataclass(frozen=True)
class Decision:
    """`stop` is None where an order exists. `by`: zones or search; `steps` and `configurations` are the search's."""

    stop: Stop | None
    by: str
    steps: int = 0
    configurations: int = 0


def decide(calls: Sequence[Call], values: int, limits: Limits) -> Decision:
    """Judge the calls of one register, given by their begin; value ids are below `values`."""
    blocks = Blocks(calls, values)
    conflict = blocks.conflict()
    if conflict is not None:
        return Decision(_explained(calls, stopped_at(calls, blocks, conflict), values), "zones")
    if blocks.complete:
        return Decision(None, "zones")
    search = Search(calls, limits)
    stop = search.run()
    return Decision(stop, "search", search.steps, search.configurations)


def _explained(calls: Sequence[Call], until: int, values: int) -> Stop:
    """The first conflict of blocks, which arises at record `until`: with the end of which call, and between which."""
    number = next(n for n, call in enumerate(calls) if call.end == until)
    blocks, before = Blocks(calls, values, until), Blocks(calls, values, until - 1)
    order = _in_order(calls, before) if before.complete else []
    states = _readable(calls[number], before) if before.complete and calls[number].observes else []
    conflict = blocks.conflict()
    if conflict is None or conflict.second is None:
        return Stop(number, tuple(order), tuple(states), (number,))
    pair = (conflict.first, conflict.second)
    return Stop(number, tuple(order), tuple(states), _causes(calls, blocks, *pair), pair)


def _in_order(calls: Sequence[Call], blocks: Blocks) -> list[int]:
    """The last calls of the blocks in order: of each block the write, then its reads by their begin."""
    places = {value: place for place, value in enumerate(blocks.order()[-_LAST_BLOCKS:])}
    found = [
        (places[call.leaves], call.observes, number)
        for number, call in enumerate(calls)
        if call.leaves in places and call.begin <= blocks.until and not (call.observes and call.end > blocks.until)
    ]
    return [number for _, _, number in sorted(found)]


def _readable(read: Call, blocks: Blocks) -> list[int]:
    """Values among the latest that the read could have returned."""
    latest = sorted(((begin, value) for value, begin in enumerate(blocks.last_begin) if begin != NEVER), reverse=True)
    return [value for _, value in latest[:_CANDIDATES] if not blocks.excludes(value, read.begin, read.end)]


def _causes(calls: Sequence[Call], blocks: Blocks, first: int, second: int) -> tuple[int, ...]:
    """The four calls by which each block comes before the other (see `Stop`)."""
    ends = {call.end: number for number, call in enumerate(calls)}
    begins = {call.begin: number for number, call in enumerate(calls)}

    def before(one: int, other: int) -> tuple[int, int]:
        return ends.get(blocks.first_end[one], -1), begins.get(blocks.last_begin[other], -1)

    return *before(first, second), *before(second, first)
