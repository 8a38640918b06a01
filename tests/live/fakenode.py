"""A node without a protocol, for tests of the runtime: `python -m tests.live.fakenode NODE_JSON`.

It multicasts a numbered vote every 20 ms. Each vote heard is persisted, then traced as `kept` and acknowledged by a
commit vote with the same number. `view` counts own votes, `height` votes kept, `executed` acknowledgements heard. The
environment variable FAKE_CRASH_AT makes it raise after that many votes kept.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from nodes.committee import ClusterConfig
from nodes.crypto import Signer, Verifier
from nodes.messages import CommitVote, Vote
from nodes.port import EVERYONE, Effect, Emit, Event, Expire, Multicast, Persist, Receive, Reply, Send, SetTimer, Start
from nodes.port import Submit as SubmitEvent
from nodes.records import BatchKeyRecord
from nodes.runtime.main import run_node

_PERIOD_NS = 20_000_000


class FakeNode:
    """See the module's text."""

    def __init__(self, me: str, config: ClusterConfig, signer: Signer, verifier: Verifier) -> None:
        self.me = me
        self.view = 0
        self.height = 0
        self.executed = 0
        self.certified = 0
        self._crash_at = int(os.environ.get("FAKE_CRASH_AT", "0"))

    def step(self, now: int, event: Event) -> Sequence[Effect]:
        return list(self._effects(now, event))

    def _effects(self, now: int, event: Event) -> Iterator[Effect]:
        if isinstance(event, Start):
            self.height = len(event.records)
            yield SetTimer("fake:tick", now + _PERIOD_NS)
        elif isinstance(event, Expire):
            self.view += 1
            yield Multicast(EVERYONE, Vote("normal", self.view, bytes(32), self.me, bytes(64)))
            yield SetTimer("fake:tick", now + _PERIOD_NS)
        elif isinstance(event, Receive) and isinstance(event.message, Vote):
            view = event.message.view
            self.height += 1
            if self.height == self._crash_at:
                raise RuntimeError("told to crash")
            yield Persist(BatchKeyRecord(0, event.sender, view, bytes(32)))
            yield Emit("kept", {"from": event.sender, "seq": view})
            yield Send(event.sender, CommitVote(view, bytes(32), self.me, bytes(64)))
        elif isinstance(event, Receive) and isinstance(event.message, CommitVote):
            self.executed += 1
            yield Emit("acked", {"by": event.sender, "seq": event.message.view})
        elif isinstance(event, SubmitEvent):
            yield Reply(event.request, {"echo": type(event.body).__name__, "tx": "00" * 32, "accepted": True})


if __name__ == "__main__":
    sys.exit(run_node(Path(sys.argv[1]), build=FakeNode))
