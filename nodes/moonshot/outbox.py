"""The effects of one step, collected in order, with the vote state's snapshot in front of them if it changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from nodes.messages import Message, NodeId
from nodes.moonshot.state import Replica
from nodes.port import CancelTimer, Effect, Emit, Multicast, Persist, Send, SetTimer
from nodes.records import Record

MS = 1_000_000  # nanoseconds


class Outbox:
    """`now` (ns) of the step under way, its effects, and the own messages still to be handled here.

    A multicast excludes its sender, so an own vote, timeout or proposal is put into `own` and handled in the same step.
    """

    __slots__ = ("_unsaved", "effects", "now", "own")

    def __init__(self) -> None:
        self.now = 0
        self.own: deque[Message] = deque()
        self.effects: list[Effect] = []
        self._unsaved = False

    @property
    def now_ms(self) -> int:
        return self.now // MS

    def save(self) -> None:
        """The vote state changed: its snapshot is durable before anything of this step leaves the node."""
        self._unsaved = True

    def take(self, state: Replica) -> Sequence[Effect]:
        """All effects of the step. One snapshot, of the state at its end, bars at least what each vote needs barred."""
        if not (self.effects or self._unsaved):
            return ()
        effects, self.effects = self.effects, []
        if self._unsaved:
            self._unsaved = False
            effects.insert(0, Persist(state.snapshot()))
        return effects

    def put(self, effect: Effect) -> None:
        self.effects.append(effect)

    def emit(self, event: str, **fields: Any) -> None:
        self.effects.append(Emit(event, fields))

    def reject(self, sender: NodeId, reason: str) -> None:
        self.effects.append(Emit("reject", {"reason": reason, "sender": sender}))

    def send(self, to: NodeId, message: Message) -> None:
        self.effects.append(Send(to, message))

    def multicast(self, group: str, message: Message) -> None:
        self.effects.append(Multicast(group, message))

    def persist(self, record: Record) -> None:
        self.effects.append(Persist(record))

    def timer(self, name: str, at: int) -> None:
        self.effects.append(SetTimer(f"moonshot:{name}", at))

    def cancel(self, name: str) -> None:
        self.effects.append(CancelTimer(f"moonshot:{name}"))
