"""Results of pure functions of immutable objects, remembered by the object itself.

The cores of a node ask for the same hash of the same object again and again, and the nodes of a simulation share every
message. An entry keeps its object alive, so that its id names nothing else, and an id decides nothing but a look-up.
"""

from __future__ import annotations

from typing import Generic, TypeVar

R = TypeVar("R")


class ByObject(Generic[R]):
    """The last `kept` results. Whoever puts a result in has seen to it that the object is not large."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._results: dict[int, tuple[object, R]] = {}

    def get(self, subject: object) -> R | None:
        """The result for this very object, if it is remembered."""
        entry = self._results.get(id(subject))
        return entry[1] if entry is not None and entry[0] is subject else None

    def put(self, subject: object, result: R) -> None:
        """Remember, and forget the oldest."""
        if len(self._results) >= self._kept:
            del self._results[next(iter(self._results))]
        self._results[id(subject)] = (subject, result)
