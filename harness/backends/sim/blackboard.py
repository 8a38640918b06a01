"""The coalition's side channel in one process (faults/byzantine/side_channel.py): others hear a note at once.

Notes are packed and unpacked as elsewhere, so that an attack that works here works over sockets too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from faults.byzantine.side_channel import pack
from nodes.messages import NodeId


class Blackboard:
    """What each member has not heard yet, and everything said so far, for members that start again."""

    def __init__(self, members: Iterable[NodeId]) -> None:
        self._waiting: dict[NodeId, dict[str, bytes]] = {member: {} for member in members}
        self._said: dict[str, bytes] = {}

    def channel(self, member: NodeId) -> Channel:
        """The channel of a member that has just started: it hears what was said before."""
        self._waiting[member] = dict(self._said)
        return Channel(self, member)

    def tell(self, key: str, value: Any, speaker: NodeId | None = None) -> None:
        """Put a note on every member's board but the speaker's. Raises SideChannelError."""
        note = pack(key, value)
        self._said[key] = note
        for member, notes in self._waiting.items():
            if member != speaker:
                notes[key] = note

    def hear(self, member: NodeId) -> dict[str, Any]:
        """What the member has not heard yet."""
        notes = self._waiting[member]
        if not notes:
            return {}
        self._waiting[member] = {}
        return {key: msgspec.msgpack.decode(note)[1] for key, note in notes.items()}


class Channel:
    """faults.byzantine.side_channel.SideChannel on a blackboard."""

    def __init__(self, board: Blackboard, member: NodeId) -> None:
        self._board = board
        self._member = member

    def share(self, key: str, value: Any) -> None:
        self._board.tell(key, value, self._member)

    def drain(self) -> dict[str, Any]:
        return self._board.hear(self._member)
