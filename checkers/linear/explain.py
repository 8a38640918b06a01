"""Why there is no order, or how far one was found: a sentence, and the operations round that place as a witness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from checkers.linear.calls import ANY, CAS, INITIAL, OPEN, READ, WRITE, Call, Register
from checkers.linear.search import Stop
from results.history import Operation

MOST_OPERATIONS = 40  # in a witness
_LAST_PLACED = 16  # of which so many were put in order before the stop
_MOST_CHARACTERS = 40  # of a value in a sentence
_MOST_VALUES = 6


def operations(history: Sequence[Operation], register: Register, stop: Stop) -> list[dict[str, Any]]:
    """The operations round a stop by their begin, as `results.report.linear` draws them.

    key, process, f, value: as recorded; type: ok or info; begin, end: record numbers (end null: it may happen later);
    time, ended: ns; role: "stopped" (cannot be placed), "cause" (excludes every order), "placed" (`place` counts from
    1), "concurrent"; `could_hold` of the stopped one: the values that the register can hold at its end.
    """
    stopped = register.calls[stop.call]
    order = stop.order[-_LAST_PLACED:]
    places = {number: place for place, number in enumerate(order, 1)}
    causes = {number for number in stop.causes if number >= 0}
    shown = dict.fromkeys([stop.call, *sorted(causes), *order])
    for number, call in enumerate(register.calls):
        if call.begin > stopped.end or len(shown) >= MOST_OPERATIONS:
            break
        if call.end > stopped.begin:
            shown[number] = None
    found = []
    for number in sorted(shown):
        role = "placed" if number in places else "concurrent"
        role = "stopped" if number == stop.call else "cause" if number in causes else role
        one = _operation(history, register, register.calls[number], role)
        if number in places:
            one["place"] = places[number]
        if number == stop.call:
            one["could_hold"] = [register.values[value] for value in stop.states]
        found.append(one)
    return found


def _operation(history: Sequence[Operation], register: Register, call: Call, role: str) -> dict[str, Any]:
    recorded = history[call.begin if call.begin >= 0 else call.end]
    last = history[call.end] if call.end < OPEN else None
    old_and_new = [register.values[call.expects], register.values[call.leaves]]
    return {
        "key": register.key,
        "process": recorded.process,
        "f": recorded.f,
        "value": old_and_new if recorded.f == CAS else old_and_new[1],
        "type": "info" if last is None else "ok",
        "begin": call.begin,
        "end": None if last is None else call.end,
        "time": recorded.time if call.begin >= 0 else 0,
        "ended": None if last is None else last.time,
        "role": role,
    }


def kind(history: Sequence[Operation], register: Register, stop: Stop) -> str:
    """unwritten-read (of a value that nobody had begun to write), stale-read (it was written before the read began),
    impossible-read, impossible-cas or impossible-write."""
    call = register.calls[stop.call]
    if stop.causes and not stop.blocks:
        return "unwritten-read"
    if call.expects == ANY:
        return "impossible-write"
    if history[call.end].f == CAS:
        return "impossible-cas"
    stale = any(one.leaves == call.leaves and not one.observes and one.end < call.begin for one in register.calls)
    return "stale-read" if stale or call.leaves == INITIAL else "impossible-read"


def sentence(history: Sequence[Operation], register: Register, stop: Stop) -> str:
    """What happened at the stop, in words."""
    calls = register.calls
    where = "" if register.key is None else f"key {text(register.key)}: "
    name = _name(history, register, stop.call)
    held = _listed(register, stop.states) or "nothing that was tried"
    if stop.reason:
        return f"{where}{stop.reason}; no place was found for: {name}; there the register held {held}"
    if stop.blocks:
        return f"{where}there is no place for: {name}. {_contradiction(history, register, stop)}"
    if stop.causes:
        return f"{where}{name}, but nobody had begun to write that value by then"
    end = calls[stop.call].end
    earlier = sum(call.end < end for call in calls)
    return (
        f"{where}there is no place for: {name}. The {earlier} operations that ended before record {end} can be put in "
        f"order, but whatever the order, the register then holds {held}"
    )


def _contradiction(history: Sequence[Operation], register: Register, stop: Stop) -> str:
    """Two values, each of which was there before the other."""
    one, other = (text(register.values[value]) for value in stop.blocks)

    def before(first: str, second: str, ended: int, began: int) -> str:
        why = "the register held it at first"
        if ended >= 0:
            why = f"{_name(history, register, ended)} before {_name(history, register, began)}"
        return f"{first} came before {second}: {why}"

    early, later, early_too, later_too = stop.causes
    parts = before(one, other, early, later), before(other, one, early_too, later_too)
    could = f" It could have read {_listed(register, stop.states)}." if stop.states else ""
    return f"{'. '.join(parts)}. Each was written once.{could}"


def _listed(register: Register, values: Sequence[int]) -> str:
    shown = [text(register.values[value]) for value in values[:_MOST_VALUES]]
    return " or ".join(shown) + (f" or {len(values) - _MOST_VALUES} more" * (len(values) > _MOST_VALUES))


def _name(history: Sequence[Operation], register: Register, number: int) -> str:
    """A call as a clause: process 3 read 5 (records 8 to 9)."""
    call = register.calls[number]
    recorded = history[call.begin if call.begin >= 0 else call.end]
    old, new = (text(register.values[v]) if v != ANY else "" for v in (call.expects, call.leaves))
    verb = {READ: f"read {new}", WRITE: f"wrote {new}", CAS: f"replaced {old} by {new}"}[recorded.f]
    begin = str(call.begin) if call.begin >= 0 else "not recorded"
    where = f"record {begin}, still open" if call.end >= OPEN else f"records {begin} to {call.end}"
    return f"process {recorded.process} {verb} ({where})"


def text(value: Any) -> str:
    """A value as people read it."""
    shown = msgspec.json.encode(value).decode()
    return shown if len(shown) <= _MOST_CHARACTERS else shown[:_MOST_CHARACTERS] + ".."
