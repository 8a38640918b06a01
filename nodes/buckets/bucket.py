"""One bucket: transactions in order of arrival, with their encoded size known."""

from __future__ import annotations

import msgspec

from nodes.messages import NodeId, Transaction


class Entry(msgspec.Struct):
    """A transaction this node is responsible for."""

    tx: bytes
    transaction: Transaction
    size: int  # encoded bytes
    primary: NodeId
    deadline: int  # ns; a secondary includes it from then on
    received_ms: int
    included_ms: int = 0  # when it went into a batch of this node


class Bucket:
    """FIFO by transaction id, with the total of encoded bytes."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, entry: Entry) -> None:
        """Append an entry that is not in the bucket."""
        self.entries[entry.tx] = entry
        self.bytes += entry.size

    def remove(self, tx: bytes) -> Entry | None:
        """Take the entry out, if it is there."""
        entry = self.entries.pop(tx, None)
        if entry is not None:
            self.bytes -= entry.size
        return entry

    def first(self) -> Entry | None:
        """The oldest entry, or None."""
        return next(iter(self.entries.values()), None)
