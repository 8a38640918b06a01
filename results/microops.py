"""Micro-operations as columns, and the general way to them from JSON; `steptext` has the fast one for whole numbers."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from results.history import UNDECODABLE, HistoryError

Ints: TypeAlias = NDArray[np.int64]
Bytes: TypeAlias = NDArray[np.int8]
Narrow: TypeAlias = NDArray[np.int32]  # where numbers of transactions and of their steps are all there is
Flags: TypeAlias = NDArray[np.bool_]

APPEND, WRITE, READ = 0, 1, 2
KINDS = {"append": APPEND, "w": WRITE, "r": READ}
VERBS = ("append", "w", "r")
NIL = np.iinfo(np.int64).min  # the result of a read that saw nothing, or that nobody knows
NAMED = 1 << 62  # from here on an integer stands for something else

Step: TypeAlias = tuple[Literal["append", "w", "r"], int, int | list[int] | None]
_SHAPES: dict[type, int] = {type(None): 0, int: 1, list: 2}


class Names:
    """Numbers for keys, values and processes: a small integer is its own, everything else is given one."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, Any], int] = {}
        self._things: list[Any] = []

    def number(self, thing: Any) -> int:
        """The number of a JSON value; equal values have equal numbers, and true is not 1."""
        if isinstance(thing, float) and thing.is_integer():
            thing = int(thing)
        if type(thing) is int and -NAMED < thing < NAMED:
            return thing
        tagged = (type(thing).__name__, thing if isinstance(thing, str | int | float) else msgspec.json.encode(thing))
        if tagged not in self._numbers:
            self._numbers[tagged] = NAMED + len(self._things)
            self._things.append(thing)
        return self._numbers[tagged]

    def of(self, number: int) -> Any:
        """What a number stands for; None for NIL."""
        if number == NIL:
            return None
        return number if number < NAMED else self._things[number - NAMED]


class Columns(msgspec.Struct, frozen=True):
    """Micro-operations of a sequence of transactions; `lengths` and `elements` are those of the lists read."""

    counts: Ints  # micro-operations per transaction
    kind: Bytes
    key: Ints
    result: Ints  # a value or NIL, or the number of a list
    listed: Flags
    lengths: Ints
    elements: Ints


def flatten(values: list[msgspec.Raw], names: Names) -> Columns:
    """Columns of encoded transaction values, whatever is in them: there are names for what is no small integer.

    Raises StepError about a value that is no transaction.
    """
    counts: list[int] = []
    rows: list[tuple[int, int, int, bool]] = []
    lengths: list[int] = []
    elements: list[int] = []
    for place, raw in enumerate(values):
        try:
            transaction = msgspec.json.decode(raw)
        except UNDECODABLE as error:
            raise StepError(place, f"value: {error}") from error
        if not isinstance(transaction, list):
            raise StepError(place, f"value: expected a list of micro-operations, got {_cut(transaction)}")
        for number, step in enumerate(transaction):
            where = f"value[{number}]"
            kind, key, result = _step(step, place, where)
            if kind == READ and isinstance(result, list):
                rows.append((kind, names.number(key), len(lengths), True))
                lengths.append(len(result))
                elements += map(names.number, result)
            elif result is None:
                rows.append((kind, names.number(key), NIL, False))
            else:
                rows.append((kind, names.number(key), names.number(result), False))
        counts.append(len(transaction))
    table = np.array(rows, np.int64).reshape(-1, 4)
    kind_, key_, result_, listed = table.T
    return Columns(
        np.array(counts, np.int64), kind_.astype(np.int8), key_, result_, listed.astype(np.bool_),
        np.array(lengths, np.int64), np.array(elements, np.int64),
    )  # fmt: skip


class StepError(HistoryError):
    """A value that is no transaction; `place` is which of the values."""

    def __init__(self, place: int, message: str) -> None:
        super().__init__(message)
        self.place = place


def _step(step: Any, place: int, where: str) -> tuple[int, Any, Any]:
    if not isinstance(step, list) or len(step) not in (2, 3) or not isinstance(step[0], str):
        raise StepError(place, f'{where}: expected ["append" | "w" | "r", key, value], got {_cut(step)}')
    verb, key, result = step[0], step[1], step[2] if len(step) == 3 else None
    if verb not in KINDS:
        raise StepError(place, f"{where}: no micro-operation {_cut(verb)}; there are append, w and r")
    if key is None:
        raise StepError(place, f"{where}: the key is null")
    if verb != "r" and (result is None or isinstance(result, list)):
        raise StepError(place, f"{where}: {verb} needs one value, got {_cut(result)}")
    return KINDS[verb], key, result


def _cut(thing: Any) -> str:
    text = msgspec.json.encode(thing).decode()
    return text if len(text) <= 60 else f"{text[:60]}.."
