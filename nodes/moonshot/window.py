"""What is kept by view, and only for the views of the window (protocol.md 1.4, message recency bound)."""

from __future__ import annotations

from typing import TypeVar

V = TypeVar("V")


class ByView(dict[int, V]):
    """A dict by view whose owner adds nothing under the view that it last pruned below."""

    _floor = 0

    def prune(self, below: int) -> None:
        """Forget views under `below`. Costs as much as the window has moved, not as much as is held."""
        if below - self._floor > len(self):
            for view in [view for view in self if view < below]:
                del self[view]
        else:
            for view in range(self._floor, below):
                self.pop(view, None)
        self._floor = max(below, self._floor)
