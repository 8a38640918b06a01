"""Many deadlines behind one timer."""

from __future__ import annotations

import heapq
from typing import TypeAlias

from nodes.port import Effect, SetTimer

Task: TypeAlias = tuple[str, bytes]  # what to do, batch id


class Agenda:
    """Tasks by due time. Nothing is ever cancelled: whoever takes a due task checks whether it still matters."""

    def __init__(self, timer: str) -> None:
        self._timer = timer
        self._heap: list[tuple[int, int, Task]] = []
        self._sequence = 0
        self._armed: int | None = None

    def add(self, at: int, task: Task) -> None:
        """Put `task` down for `at` ns; `arm` must follow in the same step."""
        self._sequence += 1
        heapq.heappush(self._heap, (at, self._sequence, task))

    def expired(self, now: int) -> list[Task]:
        """The timer fired: takes out every task due at `now`, in order of due time."""
        self._armed = None
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[2])
        return due

    def arm(self, out: list[Effect]) -> None:
        """Set the timer to the earliest due time, if it is not so already."""
        if self._heap and self._heap[0][0] != self._armed:
            self._armed = self._heap[0][0]
            out.append(SetTimer(self._timer, self._armed))
