"""The delay line on a virtual clock."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from faults.port import Shape
from harness.backends.shaping import BACKLOG_NS, DelayLine

MS = 1_000_000


def line(**shapes: Shape) -> DelayLine[str]:
    made: DelayLine[str] = DelayLine(Random(1))
    for link, shape in shapes.items():
        made.shape(link, shape)
    return made


def test_packets_leave_after_their_links_delay_in_order_of_release() -> None:
    delays = line(slow=Shape(delay_ms=50), fast=Shape(delay_ms=10))
    assert delays.admit(0, "slow", 1, 100)
    assert delays.admit(1 * MS, "fast", 2, 100)
    assert delays.next_release() == 11 * MS
    assert delays.due(10 * MS) == []
    assert delays.due(60 * MS) == [2, 1]
    assert delays.next_release() is None


def test_an_unshaped_link_passes_at_once() -> None:
    delays = line()
    delays.admit(5, "other", 1, 100)
    assert delays.due(5) == [1]


def test_loss_is_counted_and_near_what_was_asked() -> None:
    delays = line(lossy=Shape(loss=0.3))
    kept = sum(delays.admit(0, "lossy", i, 100) for i in range(5000))
    count = delays.counts()["lossy"]
    assert (count.delayed, count.lost) == (kept, 5000 - kept)
    assert 0.27 < count.lost / 5000 < 0.33


def test_a_rate_spaces_packets_and_drops_what_no_router_would_hold() -> None:
    delays = line(narrow=Shape(rate_kbit=8_000))  # one byte a microsecond
    kept = [i for i in range(1000) if delays.admit(0, "narrow", i, 1000)]
    assert len(kept) == BACKLOG_NS // MS + 1
    assert delays.due(1 * MS) == [0]
    assert delays.due(10 * MS) == list(range(1, 10))
    assert delays.counts()["narrow"].lost == 1000 - len(kept)


def test_a_new_shape_leaves_packets_on_their_way_alone() -> None:
    delays = line(link=Shape(delay_ms=50))
    delays.admit(0, "link", 1, 100)
    delays.shape("link", Shape(delay_ms=1))
    delays.admit(10 * MS, "link", 2, 100)
    assert delays.due(49 * MS) == []  # order is kept, so the second waits for the first
    assert delays.due(50 * MS) == [1, 2]


def test_flush_gives_everything_once_in_order() -> None:
    delays = line(a=Shape(delay_ms=50), b=Shape(delay_ms=5))
    delays.admit(0, "a", 1, 1)
    delays.admit(0, "b", 2, 1)
    assert delays.flush() == [2, 1]
    assert delays.flush() == []


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 5 * MS), st.sampled_from("xy")), max_size=40),
    st.floats(0, 20),
    st.floats(0, 20),
    st.integers(0, 2**32),
)
def test_jitter_never_reorders_a_link_nor_leaves_its_bounds(
    arrivals: list[tuple[int, str]], delay: float, jitter: float, seed: int
) -> None:
    delays: DelayLine[str] = DelayLine(Random(seed))
    for link in "xy":
        delays.shape(link, Shape(delay_ms=delay, jitter_ms=jitter))
    now, sent = 0, {}
    for number, (gap, link) in enumerate(arrivals):
        now += gap
        sent[number] = (now, link)
        assert delays.admit(now, link, number, 100)
    out: dict[str, list[int]] = {"x": [], "y": []}
    while (release := delays.next_release()) is not None:
        for number in delays.due(release):
            at, link = sent[number]
            out[link].append(number)
            assert release >= at + max(0, round(delay * MS) - round(jitter * MS))
            assert release <= now + round(delay * MS) + round(jitter * MS)
    assert all(numbers == sorted(numbers) for numbers in out.values())
    assert len(out["x"]) + len(out["y"]) == len(arrivals)
