"""What a wire would do to a corrupted sender's messages: they must decode, or the receiver refuses them.

Honest nodes' messages are objects of the protocol's own making and need no examination; a behaviour can put anything
into one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from nodes.messages import DecodeError, Message, decode, encode

Refuse = Callable[[int, str, str], None]


class Suspects:
    """Indices of the corrupted nodes, and their messages' examination; the same object in a row is examined once."""

    def __init__(self, indices: Collection[int], refuse: Refuse) -> None:
        self._indices = frozenset(indices)
        self.refuse = refuse  # receiver's index, sender, why
        self._last: tuple[Any, str | None] = (None, None)

    def __contains__(self, index: object) -> bool:
        return index in self._indices

    def fault(self, message: Message) -> str | None:
        """Why the message does not survive the wire, or None."""
        if message is self._last[0]:
            return self._last[1]
        fault: str | None = None
        try:
            if decode(encode(message)) != message:
                fault = "does not decode to what it was"
        except (DecodeError, TypeError, ValueError, OverflowError) as error:
            fault = f"malformed message: {error}"
        self._last = (message, fault)
        return fault
