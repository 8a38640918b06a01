"""The write-ahead log: a cut-off tail loses only the record that was being written; damage is refused; a full disk is
an error before anything is acknowledged."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.messages import BlockCertificate
from nodes.records import BatchKeyRecord, VoteState, latest
from nodes.runtime.wal import HEADER_BYTES, MAGIC, Wal, WalError, frame_record, scan

bodies = st.lists(st.one_of(st.binary(min_size=1, max_size=60), st.integers(1, 5000).map(bytes)), max_size=6)


@settings(max_examples=60, deadline=None)
@given(records=bodies, cut=st.integers(0, 1_000_000))
def test_any_prefix_recovers_exactly_the_records_before_the_cut(records: list[bytes], cut: int) -> None:
    data = MAGIC + b"".join(map(frame_record, records))
    cut %= len(data) + 1
    whole, end = [], len(MAGIC)
    for body in records:
        end += HEADER_BYTES + len(body)
        if end <= cut:
            whole.append(body)
    recovered, sound = scan(data[:cut], "wal")
    assert recovered == whole
    assert sound == (len(MAGIC) + sum(HEADER_BYTES + len(b) for b in whole) if cut >= len(MAGIC) else 0)


@settings(max_examples=60, deadline=None)
@given(records=bodies.filter(bool), tail=st.integers(1, 200))
def test_blocks_that_were_never_written_are_a_torn_tail(records: list[bytes], tail: int) -> None:
    data = MAGIC + b"".join(map(frame_record, records))
    assert scan(data + bytes(tail), "wal") == (records, len(data))


@settings(max_examples=80, deadline=None)
@given(records=st.lists(st.binary(min_size=1, max_size=60), min_size=2, max_size=5), place=st.data())
def test_a_flipped_bit_before_the_end_is_refused(records: list[bytes], place: st.DataObject) -> None:
    data = bytearray(MAGIC + b"".join(map(frame_record, records)))
    last = len(data) - len(records[-1]) - HEADER_BYTES
    at = place.draw(st.integers(0, last - 1))
    data[at] ^= 1 << place.draw(st.integers(0, 7))
    with pytest.raises(WalError, match=r"damaged|not a write-ahead log"):
        scan(bytes(data), "wal")


def test_a_flipped_bit_in_the_last_complete_record_is_refused_too() -> None:
    data = bytearray(MAGIC + frame_record(b"first") + frame_record(b"a vote that left"))
    data[-1] ^= 1
    with pytest.raises(WalError, match=r"record 1 at byte .* damaged"):
        scan(bytes(data), "wal")


def test_torn_tail_is_cut_off_reported_and_written_over(tmp_path: Path) -> None:
    path = tmp_path / "wal.log"
    log = Wal(path)
    log.append(b"one")
    log.append(b"two")
    log.sync()
    log.close()
    with path.open("ab") as file:
        file.write(frame_record(b"three")[:-2])
    again = Wal(path)
    assert (again.records, again.torn_bytes) == ([b"one", b"two"], HEADER_BYTES + 3)
    again.append(b"four")
    again.sync()
    again.close()
    last = Wal(path)
    assert (last.records, last.torn_bytes) == ([b"one", b"two", b"four"], 0)
    last.close()


def test_many_records_share_one_sync(tmp_path: Path) -> None:
    log = Wal(tmp_path / "wal.log")
    before = log.syncs
    for i in range(100):
        log.append(str(i).encode())
    assert log.dirty
    log.sync()
    log.sync()
    assert log.syncs == before + 1 and not log.dirty
    log.close()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    log = Wal(tmp_path / "wal.log")
    with pytest.raises(WalError, match="another process has it open"):
        Wal(tmp_path / "wal.log")
    log.close()


class FullDisk:
    """A file on a disk with room for so many bytes; it writes what fits, then fails."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.content = b""
        self.durable = b""

    def write(self, data: bytes) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = data[: self.room]
        self.content += taken
        self.room -= len(taken)
        return len(taken)

    def sync(self) -> None:
        self.durable = self.content

    def truncate(self, size: int) -> None:
        self.content = self.durable = self.content[:size]

    def close(self) -> None:
        self.room = 0


@settings(max_examples=40, deadline=None)
@given(room=st.integers(len(MAGIC), 400))
def test_full_disk_keeps_what_was_synced_and_says_so(room: int) -> None:
    disk = FullDisk(room)
    log = Wal(Path("wal.log"), disk)
    synced: list[bytes] = []
    with pytest.raises(WalError, match=r"No space left on device.*Free space"):
        for i in range(100):
            log.append(b"record %d" % i)
            log.sync()
            synced.append(b"record %d" % i)
    assert scan(disk.durable, "wal") == (synced, len(disk.durable))
    with pytest.raises(WalError, match="earlier write failed"):
        log.sync()


def test_recovery_needs_only_the_last_vote_snapshot() -> None:
    lock = BlockCertificate(0, "normal", 0, bytes(32), b"", ())
    votes = [VoteState(view, 0, bytes(32), 0, 0, 0, (), lock, ()) for view in (1, 2, 3)]
    keys = [BatchKeyRecord(0, "n0", seq, bytes(32)) for seq in (1, 2)]
    assert latest([votes[0], keys[0], votes[1], keys[1], votes[2]]) == (*keys, votes[2])
    assert latest([votes[1], keys[0]]) == (keys[0], votes[1])
    assert latest(keys) == tuple(keys)
