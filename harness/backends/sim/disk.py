"""A node's disk: what is durable, what is not yet, and what a crash leaves.

A record is durable once a sync that began after it has ended. A crash of the process alone (kill -9) keeps what was
written; a power loss keeps only what was synced, and may tear the record that was being written, which the log's
framing then drops (nodes/runtime/wal.py).
"""

from __future__ import annotations

from nodes.records import Record, VoteState


class Disk:
    """The write-ahead log of one node, and how many bytes of trust it deserves. `sync_ns`: how long a sync takes.

    Of the durable vote snapshots the last one is kept: no crash can bring an older one back.
    """

    def __init__(self, sync_ns: int = 0) -> None:
        self.sync_ns = sync_ns
        self.lost = 0  # records that power losses took, over all incarnations
        self.syncs = 0  # ended, ever
        self.sync_time = 0  # ns that they took together
        self._durable: list[Record] = []
        self._votes: VoteState | None = None  # the last durable snapshot
        self._synced = 0  # records that are durable, replaced snapshots included
        self._tail: list[Record] = []  # written after those

    def append(self, record: Record) -> None:
        """Write one record; not durable before the next `synced`."""
        self._tail.append(record)

    @property
    def written(self) -> int:
        """Records written so far."""
        return self._synced + len(self._tail)

    @property
    def all_durable(self) -> bool:
        """Has a sync covered everything that was written?"""
        return not self._tail

    def synced(self, count: int, took_ns: int = 0) -> None:
        """A sync that covered the first `count` records has ended."""
        self.syncs += 1
        self.sync_time += took_ns
        self._keep(max(0, min(count - self._synced, len(self._tail))))

    def power_loss(self) -> int:
        """Lose what was not synced (a torn tail is part of that); returns how many records went."""
        gone = len(self._tail)
        self._tail.clear()
        self.lost += gone
        return gone

    def wipe(self) -> None:
        """Lose everything."""
        self._durable.clear()
        self._tail.clear()
        self._votes, self._synced = None, 0

    def recover(self) -> tuple[Record, ...]:
        """What the next incarnation finds, oldest first; the log is compacted as the real one is read."""
        self._keep(len(self._tail))
        records = tuple(self._durable) if self._votes is None else (*self._durable, self._votes)
        self._synced = len(records)
        return records

    def _keep(self, count: int) -> None:
        """The first `count` records of the tail are durable now."""
        for record in self._tail[:count]:
            if isinstance(record, VoteState):
                self._votes = record
            else:
                self._durable.append(record)
        del self._tail[:count]
        self._synced += count
