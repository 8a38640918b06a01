"""The simulated disks and clocks hold what they promise, whatever is done to them (Hypothesis)."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from harness.backends.sim.disk import Disk
from harness.backends.sim.kernel import Kernel
from harness.backends.sim.node import LocalClock
from nodes.records import BatchKeyRecord, Record, VoteState, latest


def _record(number: int, votes: bool) -> Record:
    if not votes:
        return BatchKeyRecord(0, "n0", number, bytes(32))
    return VoteState(number, 0, bytes(32), 0, 0, 0, (), None, ())  # type: ignore[arg-type]  # the lock plays no part


@given(st.lists(st.booleans() | st.sampled_from(["sync", "power", "kill"]), max_size=40))
def test_a_power_loss_keeps_exactly_the_synced_prefix(steps: Sequence[bool | str]) -> None:
    disk = Disk()
    written: list[Record] = []
    durable: list[Record] = []
    lost = 0
    for number, step in enumerate(steps):
        if isinstance(step, bool):
            written.append(_record(number, step))
            disk.append(written[-1])
        elif step == "sync":
            disk.synced(disk.written)
            durable = list(written)
        else:
            if step == "power":
                gone = disk.power_loss()
                assert gone == len(written) - len(durable)
                lost, written = lost + gone, list(durable)
            found = disk.recover()
            assert found == latest(written) and disk.all_durable
            written, durable = list(found), list(found)
    assert disk.written == len(written) and disk.lost == lost


def test_a_disk_keeps_one_durable_snapshot_of_the_votes() -> None:
    disk = Disk()
    for number in range(1000):
        disk.append(_record(number, True))
        disk.synced(disk.written)
    assert disk.written == 1000 and disk.power_loss() == 0
    assert len(disk._durable) + len(disk._tail) == 0
    assert disk.recover() == (_record(999, True),) and disk.written == 1


def test_a_lost_disk_holds_nothing() -> None:
    disk = Disk()
    disk.append(_record(1, False))
    disk.synced(1)
    disk.wipe()
    assert disk.recover() == () and disk.power_loss() == 0


SETTINGS = st.tuples(st.floats(-500, 500), st.floats(-400_000, 900_000), st.integers(0, 10**9))


@given(st.lists(SETTINGS, max_size=6), st.lists(st.integers(0, 10**9), max_size=6))
def test_a_clock_never_goes_back_and_due_is_the_inverse_of_now(
    sets: Sequence[tuple[float, float, int]], ahead: Sequence[int]
) -> None:
    kernel = Kernel()
    clock = LocalClock(kernel)
    last = clock.now()
    for skew, drift, wait in sets:
        clock.set(skew, drift)
        assert clock.now() >= last
        for more in ahead:
            at = clock.now() + more + 1
            due = clock.due(at)
            assert due > kernel.now, "a reading that is still to come"
            other = LocalClock(kernel)  # the same clock, so that looking ahead does not move this one
            other.__dict__.update(clock.__dict__)
            now, kernel.now = kernel.now, due
            assert other.now() >= at
            other.__dict__.update(clock.__dict__)
            kernel.now = due - 1
            assert other.now() < at
            kernel.now = now
        kernel.now += wait
        assert clock.now() >= last
        last = clock.now()
    if not sets:
        assert clock.true and clock.due(5) == 5
