"""The general search: just-in-time linearization (Lowe 2017) of one register's calls, depth first, states remembered.

Records are read in order. A call is given its place when it ends, or earlier where that lets another one end. What is
known at a record is a configuration: the register's value, and which of the calls under way have taken effect. No
configuration is tried twice. Three rules spare most of them, each without losing an order that exists:

- a call that changes nothing takes effect as soon as the register holds what it expects;
- of calls under way that do the same, the one that ends first takes effect first;
- an open call whose value nobody observed never takes effect (`Layout` leaves it out).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from checkers.linear.calls import ANY, INITIAL, Call
from checkers.linear.layout import Layout

TAIL = 48  # changes of the register that a stop remembers
MOST_STATES = 64  # values at a stop that are told


@dataclass(frozen=True)
class Limits:
    """What a search may use: records read and places tried (about a microsecond each), and configurations remembered
    (about 100 bytes each)."""

    steps: int
    configurations: int


@dataclass(frozen=True)
class Stop:
    """Where an order ends: call `call` cannot be placed, or (`reason`) the limits were reached before it could.

    `order`: the last calls before it, in an order that is possible up to there; `states`: the values (ids) that the
    register can hold there. `causes`: calls that exclude every order by themselves, if such are known: one that
    observed a value never written; or four (-1 for the initial value), of which the 1st ended before the 2nd began and
    the 3rd before the 4th, so that each of two values, `blocks`, had to come before the other.
    """

    call: int
    order: tuple[int, ...] = ()
    states: tuple[int, ...] = ()
    causes: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()
    reason: str = ""


class Search:
    """One search over the calls of one register, given by their begin. `run` it once; `steps` counts what was done."""

    def __init__(self, calls: Sequence[Call], limits: Limits) -> None:
        self.steps = 0
        self._calls = calls
        self._limits = limits
        self._layout = Layout(calls)
        self._seen: set[int] = set()
        # (event, bits, value, length of the trail, call placed here) still to go on from; -1: to place others first
        self._stack: list[tuple[int, int, int, int, int]] = []
        self._trail: list[tuple[int, int]] = []  # (event, call): the changes of the register on the way here
        self._deepest = -1
        self._states: dict[int, None] = {}
        self._tail: list[tuple[int, int]] = []
        self._cut = False

    @property
    def configurations(self) -> int:
        """How many were remembered."""
        return len(self._seen)

    def run(self) -> Stop | None:
        """None if all calls can be put in order, else where that ends."""
        if self._advance(0, 0, INITIAL, {}):
            return None
        limits = self._limits
        while self._stack:
            if self.steps > limits.steps:
                return self._stop(f"gave up after {self.steps:,} steps")
            if len(self._seen) > limits.configurations:
                return self._stop(f"gave up with {len(self._seen):,} configurations in memory")
            at, placed, value, length, number = self._stack.pop()
            del self._trail[length:]
            if number < 0:
                self._branch(at, placed, value)
                continue
            self._trail.append((at, number))
            if self._advance(at, placed, value, dict(self._layout.pending(at).observers)):
                return None
        return self._stop("")

    def _advance(self, at: int, placed: int, value: int, watching: dict[int, int]) -> bool:
        """Go on from event `at` while calls can be placed as they end; True at the last event.

        `placed`: bits of the calls under way that took effect; `watching`: value -> bits of calls that wait for it.
        """
        calls, layout = self._calls, self._layout
        events, bits, writing = layout.events, layout.bits, layout.writing
        width, count, start = layout.width, len(events), at
        while at < count:
            event = events[at]
            if event >= 0:
                expects = calls[event].expects
                if expects == calls[event].leaves:
                    watching[expects] = watching.get(expects, 0) | bits[event]
                    if expects == value:
                        placed |= bits[event]
                at += 1
                continue
            call, bit = calls[~event], bits[~event]
            expects, leaves = call.expects, call.leaves
            if expects == leaves:
                watching[expects] &= ~bit
            if placed & bit:
                placed ^= bit
                at += 1
                continue
            if writing[at] & ~placed & ~bit:  # others could go first
                key = ((value * count + at) << width) | placed
                if key in self._seen:
                    break
                self._seen.add(key)
                self._stack.append((at, placed, value, len(self._trail), -1))
            if expects != ANY and (expects != value or expects == leaves):
                self._stuck(at, value)
                break
            self._trail.append((at, ~event))
            value = leaves
            placed |= watching.get(value, 0)
            at += 1
        self.steps += at - start + 1
        return at == count

    def _branch(self, at: int, placed: int, value: int) -> None:
        """At the end of a call: each other call that can take effect before it. The likeliest is put on top."""
        calls, bits, pending = self._calls, self._layout.bits, self._layout.pending(at)
        ending = calls[~self._layout.events[at]]
        tried = {(ending.expects, ending.leaves)}  # at the end of a write, another of the same value may end later
        found: list[tuple[bool, bool, int, int]] = []
        for rank, number in enumerate(pending.writers):
            call = calls[number]
            if bits[number] & placed or call.expects not in (ANY, value) or (call.expects, call.leaves) in tried:
                continue
            tried.add((call.expects, call.leaves))
            waited_for = bool(pending.observers.get(call.leaves, 0) & ~placed)
            found.append((call.leaves == ending.expects, waited_for, -rank, number))
        self.steps += len(found) + 1
        for _, _, _, number in sorted(found):
            leaves = calls[number].leaves
            after = placed | bits[number] | pending.observers.get(leaves, 0)
            self._stack.append((at, after, leaves, len(self._trail), number))

    # ---------------------------------------------------------------- where it stops
    def _stuck(self, at: int, value: int) -> None:
        if at > self._deepest:
            self._deepest, self._states = at, {}
            self._tail, self._cut = self._trail[-TAIL:], len(self._trail) > TAIL
        if at == self._deepest and len(self._states) < MOST_STATES:
            self._states[value] = None

    def _stop(self, reason: str) -> Stop:
        call = ~self._layout.events[self._deepest]
        return Stop(call, tuple(self._order()), tuple(sorted(self._states)), reason=reason)

    def _order(self) -> list[int]:
        """The last calls placed on the way to the deepest stop, observers among them, in order."""
        changes: dict[int, list[int]] = {}
        for at, number in self._tail:
            changes.setdefault(at, []).append(number)
        order: dict[int, None] = {}
        value = ANY if self._cut else INITIAL
        for at in range(self._tail[0][0] if self._cut else 0, self._deepest + 1):
            event = self._layout.events[at]
            if event >= 0 and self._calls[event].observes and self._calls[event].expects == value:
                order[event] = None
            for number in changes.get(at, ()):
                order[number] = None
                value = self._calls[number].leaves
                waiting = self._layout.pending(at).observers.get(value, 0)
                order |= dict.fromkeys(self._layout.holders(waiting, at))
        return list(order)
