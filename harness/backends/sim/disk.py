"""A node's disk: what is durable, what is not yet, and what a crash leaves.

A record is durable once a sync that began after it has ended. A crash of the process alone (kill -9) keeps what was
written; a power loss keeps only what was synced, and may tear the record that was being written, which the log's
framing then drops (nodes/runtime/wal.py).
"""

from __future__ import annotations

from nodes.records import Record, latest


class Disk:
    """The write-ahead log of one node, and how many bytes of trust it deserves. `sync_ns`: how long a sync takes."""

    def __init__(self, sync_ns: int = 0) -> None:
        self.sync_ns = sync_ns
        self.lost = 0  # records that power losses took, over all incarnations
        self.syncs = 0  # ended, ever
        self.sync_time = 0  # ns that they took together
        self._records: list[Record] = []
        self._durable = 0

    def append(self, record: Record) -> None:
        """Write one record; not durable before the next `synced`."""
        self._records.append(record)

    @property
    def written(self) -> int:
        """Records written so far."""
        return len(self._records)

    @property
    def all_durable(self) -> bool:
        """Has a sync covered everything that was written?"""
        return self._durable == len(self._records)

    def synced(self, count: int, took_ns: int = 0) -> None:
        """A sync that covered the first `count` records has ended."""
        self.syncs += 1
        self.sync_time += took_ns
        self._durable = max(self._durable, min(count, len(self._records)))

    def power_loss(self) -> int:
        """Lose what was not synced (a torn tail is part of that); returns how many records went."""
        gone = len(self._records) - self._durable
        del self._records[self._durable :]
        self.lost += gone
        return gone

    def wipe(self) -> None:
        """Lose everything."""
        self._records.clear()
        self._durable = 0

    def recover(self) -> tuple[Record, ...]:
        """What the next incarnation finds, oldest first; the log is compacted as the real one is read."""
        records = latest(self._records)
        self._records = list(records)
        self._durable = len(records)
        return records
