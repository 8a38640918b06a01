"""Calls on registers, read from a history: what each expects, what it leaves, and between which records it took effect.

Jepsen's semantics: ok = happened between its two records; fail = never happened; info, or no ending at all = may have
happened at any time after its invocation, or not at all. Real time is the order of the records in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from results.history import HistoryError, Operation

READ, WRITE, CAS = "read", "write", "cas"
FUNCTIONS = frozenset((READ, WRITE, CAS))
OPEN = 1 << 62  # the end of a call that may take effect at any later time
ANY = -1  # what a write expects
INITIAL = 0  # the id of the value that every register holds at first


class Call(msgspec.Struct, frozen=True, gc=False):
    """One call on one register. It takes effect at one moment between `begin` and `end`, if the register then holds
    `expects` (a value id, or ANY), and leaves `leaves` there.

    A read expects and leaves what it read. A failed call is no call. `begin` and `end` are record numbers.
    """

    begin: int
    end: int
    expects: int
    leaves: int

    @property
    def observes(self) -> bool:
        """It changes nothing: a read, or a compare-and-set of a value to itself."""
        return self.expects == self.leaves


class Register:
    """The calls on one key by their begin, and the values that their ids stand for (id 0: the initial value)."""

    def __init__(self, key: Any, initial: Any) -> None:
        self.key = key
        self.calls: list[Call] = []
        self.values: list[Any] = [initial]
        self._ids: dict[Any, int] = {identity(initial): INITIAL}

    def id_of(self, value: Any) -> int:
        """The small number that stands for a value."""
        name = identity(value)
        found = self._ids.get(name)
        if found is None:
            found = self._ids[name] = len(self.values)
            self.values.append(value)
        return found


def identity(value: Any) -> Any:
    """A hashable stand-in that is equal for equal JSON values only: to Python, true equals 1."""
    if value is None or type(value) in (int, str):
        return value
    return (type(value).__name__, msgspec.json.encode(value, order="deterministic"))


def concerns(operation: Operation) -> bool:
    """Is it a client's operation on a register?"""
    return operation.f in FUNCTIONS and operation.process != "nemesis"


def registers(history: Sequence[Operation], initial: Any = None) -> list[Register]:
    """The registers of a history in order of first use; a history without keys has one, whose key is None.

    Every register holds `initial` at first. Where records are missing, the widest reading is taken: an ending without
    an invocation began before all else, an invocation without an ending stays open. Raises HistoryError on values that
    are none of v, [k, v], [old, new], [k, [old, new]], and on a history that mixes those with and without a key.
    """
    pairs = sorted(_pairs(history))
    keyed = _keyed(history, pairs)
    found: dict[Any, Register] = {}
    for begin, end in pairs:
        first = history[begin if begin >= 0 else end]
        told = history[end] if first.f == READ else first  # only the ending of a read knows what it read
        key, value = _two(told, told.value, "[key, value]") if keyed else (None, told.value)
        name = identity(key)
        register = found.get(name)
        if register is None:
            register = found[name] = Register(key, initial)
        if told.f == CAS:
            old, new = _two(told, value, "[old, new]")
            call = Call(begin, end, register.id_of(old), register.id_of(new))
        else:
            held = register.id_of(value)
            call = Call(begin, end, held if told.f == READ else ANY, held)
        register.calls.append(call)
    return list(found.values())


def _pairs(history: Sequence[Operation]) -> Iterator[tuple[int, int]]:
    """(begin, end) of every call that happened or may have; reads that never ended say nothing and are left out."""
    opened: dict[int | str, int] = {}
    for number, operation in enumerate(history):
        if operation.f not in FUNCTIONS or operation.process == "nemesis":
            continue
        if operation.type == "invoke":
            lost = opened.get(operation.process)
            if lost is not None and history[lost].f != READ:
                yield lost, OPEN  # its ending is missing
            opened[operation.process] = number
            continue
        begin = opened.pop(operation.process, -1)
        if operation.type == "ok":
            yield begin, number
        elif operation.type == "info" and begin >= 0 and history[begin].f != READ:
            yield begin, OPEN
    for begin in opened.values():
        if history[begin].f != READ:
            yield begin, OPEN


def _keyed(history: Sequence[Operation], pairs: Sequence[tuple[int, int]]) -> bool:
    """Do the values carry a key? A read is invoked with [k, null] or null; [k, [old, new]] is unlike [old, new].

    A history of nothing but writes of two-element lists is taken as keyed.
    """
    sure: dict[bool, int] = {}
    for begin, end in pairs:
        number = begin if begin >= 0 else end
        operation = history[number]
        value = operation.value
        pair = isinstance(value, list) and len(value) == 2
        if not pair:
            sure.setdefault(False, number)
        elif operation.f == CAS:
            sure.setdefault(isinstance(value[1], list) and len(value[1]) == 2, number)
        elif operation.f == READ and value[1] is None:
            sure.setdefault(True, number)
    if len(sure) == 2:
        raise HistoryError(
            f"history record {sure[True]} has a key ([key, value]), record {sure[False]} has none; give all operations "
            "on registers a key, or none"
        )
    return False not in sure


def _two(operation: Operation, value: Any, shape: str) -> tuple[Any, Any]:
    if not (isinstance(value, list) and len(value) == 2):
        raise HistoryError(
            f"history record {operation.index}: the value of a {operation.f} must be {shape}, not {value!r:.80}"
        )
    return value[0], value[1]
