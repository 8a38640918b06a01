"""Links over several hosts: a cut is asked of the sender's host, counted, and healed when the last holder lets go."""

from __future__ import annotations

from typing import Any, cast

import pytest

from faults.port import Shape
from harness.backends.ssh.client import WardenClient
from harness.backends.ssh.network import HostLinks, Seat, until
from harness.outcome import MachineError

SEATS = {
    "n0": Seat("a", 61200, "198.18.0.2", 10001, 1),
    "n1": Seat("a", 61201, "198.18.0.2", 10002, 2),
    "n2": Seat("b", 61200, "198.18.0.3", 10001, 1),
}


class FakeWarden:
    """Remembers what it was asked; its packet filter drops three packets of each cut link."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.cuts: list[Any] = []
        self.broken = False

    async def ask(self, op: str, **words: Any) -> dict[str, Any]:
        if self.broken:
            raise MachineError("the host is gone")
        self.asked.append((op, words))
        if op == "cut":
            self.cuts = [way for way in self.cuts + words["add"] if way not in words["delete"]]
            return {"healed": [(*way, 3) for way in words["delete"]]}
        if op == "counters":
            return {"cuts": [(*way, 3) for way in self.cuts], "lost": [(9, "elsewhere", 9, 9)], "delayed": 0}
        return {}


@pytest.fixture
def wardens() -> dict[str, FakeWarden]:
    return {"a": FakeWarden(), "b": FakeWarden()}


@pytest.fixture
def links(wardens: dict[str, FakeWarden]) -> HostLinks:
    return HostLinks(SEATS, cast(dict[str, WardenClient], wardens), {("n0", "n2"): Shape(delay_ms=20)})


async def test_a_cut_is_the_senders_hosts_business(links: HostLinks, wardens: dict[str, FakeWarden]) -> None:
    await links.cut([("n0", "n2"), ("n2", "n1")])
    assert wardens["a"].asked == [("cut", {"add": [(61200, "198.18.0.3", 10001)], "delete": []})]
    assert wardens["b"].asked == [("cut", {"add": [(61200, "198.18.0.2", 10002)], "delete": []})]


async def test_two_nodes_of_one_host_are_told_apart(links: HostLinks, wardens: dict[str, FakeWarden]) -> None:
    await links.cut([("n1", "n0")])
    assert wardens["a"].cuts == [(61201, "198.18.0.2", 10001)] and wardens["b"].asked == []
    assert await links.dropped() == {("n1", "n0"): 3}


async def test_two_cuts_need_two_heals_and_drops_outlive_the_heal(
    links: HostLinks, wardens: dict[str, FakeWarden]
) -> None:
    await links.cut([("n0", "n2")])
    await links.cut([("n0", "n2")])
    await links.heal([("n0", "n2")])
    assert wardens["a"].cuts
    await links.heal([("n0", "n2")])
    assert not wardens["a"].cuts
    assert await links.dropped() == {("n0", "n2"): 3}
    with pytest.raises(ValueError, match="not cut"):
        await links.heal([("n0", "n2")])


async def test_a_shape_adds_to_the_base_and_goes_back_to_it(links: HostLinks, wardens: dict[str, FakeWarden]) -> None:
    await links.shape([("n0", "n2")], Shape(delay_ms=30, loss=0.1))
    await links.shape([("n0", "n2")], None)
    shapes = [words["links"][0][1] for op, words in wardens["a"].asked if op == "shape"]
    assert [(s["delay_ms"], round(s["loss"], 6)) for s in shapes] == [(50, 0.1), (20, 0)]


async def test_a_link_that_is_none_and_a_host_that_is_gone(links: HostLinks, wardens: dict[str, FakeWarden]) -> None:
    for link in (("n0", "n9"), ("n0", "n0")):
        with pytest.raises(KeyError, match="no link"):
            await links.cut([link])
    wardens["b"].broken = True
    with pytest.raises(MachineError, match="the host is gone"):
        await links.cut([("n0", "n2"), ("n2", "n0")])
    assert wardens["a"].cuts  # the others were still asked, so that their hosts know what is in force


async def test_waiting_has_an_end() -> None:
    async def never() -> bool:
        return False

    with pytest.raises(MachineError, match="no packets"):
        await until(never, 0.0, "no packets")
