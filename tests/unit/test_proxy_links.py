"""Links through proxies: who dials what, what a cut stops, and whose bytes the kernel counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.port import Link, LinkCount, Shape, UnsupportedError
from harness.backends import sockets
from harness.backends.packet_meter import meter_script
from harness.backends.port import MachineError
from harness.backends.proxy_links import ProxyLinks, parts
from harness.backends.sockets import Flow, Meter, Socket, Tap, parse

PEERS = {"n0": ("127.0.0.1", 4000), "n1": ("127.0.0.1", 4001), "n2": ("127.0.0.1", 4002)}
SS = """\
ESTAB 0      0          127.0.2.1:4001      127.0.0.1:50000 ino:11 sk:1 <-> cubic wscale:7,7 bytes_sent:30 bytes_acked:30 bytes_received:700 segs_out:3
ESTAB 0      0          127.0.0.1:50001     127.0.0.1:4001  ino:12 sk:2 <-> cubic bytes_sent:650 bytes_acked:651 bytes_received:30
ESTAB 0      0          127.0.0.1:50002     127.0.0.1:4001  ino:13 sk:3 <-> cubic bytes_sent:5
SYN-SENT 0   1          127.0.0.1:50003     127.0.0.1:4001  ino:14 sk:4

"""  # noqa: E501


class FakeProxies:
    """A Toxiproxy server's client that remembers its toxics, and refuses one proxy if told to."""

    def __init__(self) -> None:
        self.toxics: dict[tuple[str, str, str], dict[str, int]] = {}
        self.refuse = ""

    async def add_toxic(self, name: str, kind: str, attributes: dict[str, int], stream: str) -> None:
        if name == self.refuse:
            raise MachineError("no")
        self.toxics[name, kind, stream] = attributes

    async def remove_toxic(self, name: str, kind: str, stream: str) -> None:
        del self.toxics[name, kind, stream]

    async def set_toxics(self, wanted: Any, stream: str) -> None:
        for name, toxics in wanted.items():
            for kind in ("latency", "bandwidth"):
                self.toxics.pop((name, kind, stream), None)
                if kind in toxics:
                    self.toxics[name, kind, stream] = toxics[kind]


@pytest.fixture
def links(tmp_path: Path) -> Iterator[tuple[ProxyLinks, FakeProxies]]:
    made, fake = ProxyLinks(PEERS, {("n0", "n1"): Shape(delay_ms=5)}, "run", tmp_path), FakeProxies()
    made._proxies = dict.fromkeys(PEERS, fake)  # type: ignore[arg-type]
    yield made, fake


def test_a_node_dials_its_own_loopback_address_and_the_others_port(links: tuple[ProxyLinks, FakeProxies]) -> None:
    made, _ = links
    assert made.dial("n0", "n2") == ("127.0.2.1", 4002)
    assert made.dial("n1", "n2") == ("127.0.3.1", 4002)
    assert made.shared("n2") == ("peers.moonquake", 4002)
    assert made.resolver("n1", "/w.so")["LD_PRELOAD"] == "/w.so"


def test_a_link_passes_through_both_its_ends_proxies() -> None:
    assert parts(("n0", "n1")) == ((("n0", "n1"), "upstream"), (("n1", "n0"), "downstream"))


async def test_a_cut_stops_one_direction_and_needs_as_many_heals(links: tuple[ProxyLinks, FakeProxies]) -> None:
    made, fake = links
    silent = {("n0>n1", "timeout", "upstream"), ("n1>n0", "timeout", "downstream")}
    await made.cut([("n0", "n1")])
    await made.cut([("n0", "n1"), ("n0", "n1")])
    assert set(fake.toxics) == silent
    await made.heal([("n0", "n1")])
    assert set(fake.toxics) == silent
    await made.heal([("n0", "n1")])
    assert not fake.toxics
    with pytest.raises(ValueError, match="not cut"):
        await made.heal([("n0", "n1")])
    with pytest.raises(KeyError, match="no link n0>n9"):
        await made.cut([("n0", "n9")])


async def test_a_cut_that_fails_half_way_is_undone(links: tuple[ProxyLinks, FakeProxies]) -> None:
    made, fake = links
    fake.refuse = "n2>n1"
    with pytest.raises(MachineError):
        await made.cut([("n0", "n1"), ("n2", "n1")])
    assert not fake.toxics
    fake.refuse = ""
    await made.cut([("n0", "n1")])
    assert fake.toxics


async def test_a_shape_lies_on_top_of_the_base_in_the_links_direction(links: tuple[ProxyLinks, FakeProxies]) -> None:
    made, fake = links
    await made.shape([("n0", "n1")], Shape(delay_ms=20))
    wanted = {"latency": 25, "jitter": 0}
    assert fake.toxics == {
        ("n0>n1", "latency", "upstream"): wanted, ("n1>n0", "latency", "downstream"): wanted,
    }  # fmt: skip
    await made.shape([("n0", "n1")], None)
    assert {toxic["latency"] for toxic in fake.toxics.values()} == {5}
    with pytest.raises(UnsupportedError):
        await made.shape([("n0", "n1")], Shape(loss=0.1))


def test_ss_is_read() -> None:
    found = parse(SS)
    assert found[0] == Socket(11, "127.0.2.1:4001", "127.0.0.1:50000", 30, 700)
    assert [s.sent for s in found] == [30, 650, 5, 0]
    assert [s.inode for s in found] == [11, 12, 13, 14]


async def test_bytes_belong_to_the_proxy_that_took_or_gave_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """n0's server (pid 1) and n2's (pid 2) both dial n1: whose socket it is, only its process tells."""
    monkeypatch.setattr(sockets, "find_ss", lambda: "ss")
    monkeypatch.setattr(sockets, "owned", lambda pid: {1: {11, 12}, 2: {13}}[pid])
    told = parse(SS)

    async def look(tool: str, listening: set[int], dialled: set[int]) -> list[Socket]:
        return told

    monkeypatch.setattr(sockets, "sockets", look)
    meter = Meter([
        Tap(("127.0.2.1", 4001), ("127.0.0.1", 4001), 1), Tap(("127.0.4.1", 4001), ("127.0.0.1", 4001), 2),
    ])  # fmt: skip
    first = [Flow(700, 650, 30, 30), Flow(0, 5, 0, 0)]
    assert await meter.look() == first
    told = []
    assert await meter.look() == first, "a socket that is gone counts as it was last seen"


async def test_the_counts_of_a_link_come_from_both_proxies(links: tuple[ProxyLinks, FakeProxies]) -> None:
    made, _ = links
    flows = dict.fromkeys(made.links, Flow())
    flows["n0", "n1"], flows["n1", "n0"] = Flow(100, 90, 7, 6), Flow(50, 50, 4, 3)

    class Fixed:
        async def look(self) -> list[Flow]:
            return [flows[link] for link in made.links]

    made._meter = Fixed()  # type: ignore[assignment]
    counts: dict[Link, LinkCount] = await made.counters()
    assert counts["n0", "n1"] == LinkCount(104, 93)
    assert counts["n1", "n0"] == LinkCount(57, 56)
    made._break("ss is missing")
    with pytest.raises(MachineError, match="ss is missing"):
        await made.counters()


def test_the_meter_drops_nothing_and_lies_round_the_packet_layer() -> None:
    script = meter_script("t", [("198.18.0.2", "198.18.0.3")])
    assert "drop" not in script and "198.18.0.2 . 198.18.0.3" in script
    assert "forward priority -310" in script and "postrouting priority 310" in script
