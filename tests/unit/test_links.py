"""Links authenticate who dials, deliver in order, count attempts, come back, and bound everything."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from nodes.committee import Committee
from nodes.crypto import Domain, Ed25519Signer, Ed25519Verifier
from nodes.messages import BlockRequest, Message, encode
from nodes.runtime import links as links_module
from nodes.runtime import outgoing
from nodes.runtime.framing import frame
from nodes.runtime.handshake import hello
from nodes.runtime.links import Links
from nodes.runtime.outgoing import Outgoing, keep_alive
from tests.live.clusterfiles import genesis, seed_of

CONFIG = genesis(3)
DOMAIN = Domain("test", 0, 0)


class Peer:
    """One node's links and what it heard."""

    def __init__(self, name: str, addresses: dict[str, tuple[str, int]]) -> None:
        self.heard: list[tuple[str, Message]] = []
        self.rejected: list[tuple[str, str]] = []
        self.links = Links(
            name,
            Committee(CONFIG),
            DOMAIN,
            Ed25519Signer(seed_of(name)),
            Ed25519Verifier(),
            {n: a for n, a in addresses.items() if n != name},
            lambda peer, message: self.heard.append((peer, message)),
            lambda reason, sender: self.rejected.append((reason, sender)),
        )


@asynccontextmanager
async def cluster(*names: str) -> AsyncIterator[dict[str, Peer]]:
    sockets = {f"n{i}": socket.create_server(("127.0.0.1", 0)) for i in range(3)}
    addresses = {n: s.getsockname() for n, s in sockets.items()}
    peers = {n: Peer(n, addresses) for n in names}
    try:
        for name, peer in peers.items():
            await peer.links.start(sockets[name])
        yield peers
    finally:
        for peer in peers.values():
            await peer.links.close()
        for bound in sockets.values():
            bound.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  (what changes is not ours to signal)
            await asyncio.sleep(0.005)


def message(number: int) -> BlockRequest:
    return BlockRequest(number.to_bytes(32, "big"), 0)


def address(peer: Peer) -> tuple[str, int]:
    server = peer.links._server
    assert server is not None
    host, port = server.sockets[0].getsockname()
    return host, port


async def dial(peer: Peer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """A raw connection and the nonce it was given."""
    reader, writer = await asyncio.open_connection(*address(peer))
    return reader, writer, (await reader.readexactly(36))[4:]


async def closed(reader: asyncio.StreamReader) -> bool:
    """Was the connection closed by the other side (orderly or by reset)?"""
    try:
        async with asyncio.timeout(20):
            while await reader.read(65536):
                continue
    except ConnectionError:
        return True
    return True


async def test_messages_arrive_in_order_from_an_authenticated_peer() -> None:
    async with cluster("n0", "n1") as peers:
        for i in range(500):
            peers["n0"].links.send("n1", message(i))
        peers["n0"].links.flush()
        await until(lambda: len(peers["n1"].heard) == 500)
        assert peers["n1"].heard == [("n0", message(i)) for i in range(500)]
        assert peers["n0"].links.counts()["n1"]["sent"] >= 500
        assert peers["n1"].links.counts()["n0"]["received"] >= 500


async def test_a_multicast_reaches_everybody_but_us_and_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[object] = []
    monkeypatch.setattr(links_module, "encode", lambda m: encoded.append(m) or encode(m))
    async with cluster("n0", "n1", "n2") as peers:
        peers["n0"].links.multicast("tribe", message(1))
        peers["n0"].links.flush()
        await until(lambda: len(peers["n1"].heard) == len(peers["n2"].heard) == 1)
        assert len(encoded) == 1 and peers["n0"].heard == []


async def test_attempts_count_while_the_link_is_down_and_arrive_when_it_is_up() -> None:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    addresses = {f"n{i}": s.getsockname() for i, s in enumerate(sockets)}
    sockets[1].close()
    one = Peer("n0", addresses)
    await one.links.start(sockets[0])
    one.links.send("n1", message(7))
    one.links.flush()
    await until(lambda: one.links.counts()["n1"]["refused"] > 0 and one.links.counts()["n1"]["sent"] >= 2)
    two = Peer("n1", addresses)
    await two.links.start(socket.create_server(addresses["n1"]))
    await until(lambda: two.heard == [("n0", message(7))])
    for peer in (one, two):
        await peer.links.close()
    sockets[2].close()


async def test_keep_alives_flow_and_measure_the_delay() -> None:
    async with cluster("n0", "n1") as peers:
        await until(lambda: peers["n1"].links.counts()["n0"]["received"] >= 2)
        assert peers["n1"].heard == []
        assert peers["n1"].links.counts()["n0"]["delay_us"] >= 0


async def test_queue_is_bounded_and_drops_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "MAX_QUEUED", 10)
    monkeypatch.setattr(outgoing, "MAX_QUEUED_BYTES", 100)
    link = Outgoing("n1", ("127.0.0.1", 1), lambda nonce: b"", [])
    for i in range(50):
        link.offer(bytes([i]) * 4)
    assert link.backlog == (10, 40) and link.dropped == 40 and link.sent == 50
    link.offer(bytes(90))
    assert link.backlog == (3, 98)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("garbage", "malformed hello"),
        ("oversized", "exceeds the limit"),
        ("stranger", "not in the genesis"),
        ("wrong listener", "meant for"),
        ("wrong key", "bad signature"),
        ("old nonce", "bad signature"),
        ("other chain", "bad signature"),
        ("myself", "meant for"),
    ],
)
async def test_a_bad_hello_is_rejected_and_closed(case: str, reason: str) -> None:
    async with cluster("n0") as peers:
        reader, writer, nonce = await dial(peers["n0"])
        good = Ed25519Signer(seed_of("n1"))
        writer.write(
            {
                "garbage": frame(b"\xc1" * 20),
                "oversized": (2**31).to_bytes(4, "big"),
                "stranger": frame(hello("n9", "n0", nonce, DOMAIN, good)),
                "wrong listener": frame(hello("n1", "n2", nonce, DOMAIN, good)),
                "wrong key": frame(hello("n1", "n0", nonce, DOMAIN, Ed25519Signer(seed_of("n2")))),
                "old nonce": frame(hello("n1", "n0", bytes(32), DOMAIN, good)),
                "other chain": frame(hello("n1", "n0", nonce, Domain("other", 0, 0), good)),
                "myself": frame(hello("n0", "n0", nonce, DOMAIN, Ed25519Signer(seed_of("n0")))),
            }[case]
        )
        assert await closed(reader)
        assert len(peers["n0"].rejected) == 1 and reason in peers["n0"].rejected[0][0]
        writer.close()


async def test_garbage_after_a_good_hello_closes_the_link_and_names_the_peer() -> None:
    async with cluster("n0") as peers:
        reader, writer, nonce = await dial(peers["n0"])
        signer = Ed25519Signer(seed_of("n1"))
        writer.write(frame(hello("n1", "n0", nonce, DOMAIN, signer)) + frame(encode(message(3))) + frame(b"\xc1"))
        assert await closed(reader)
        assert peers["n0"].heard == [("n1", message(3))]
        assert peers["n0"].rejected[0][1] == "n1" and "undecodable" in peers["n0"].rejected[0][0]
        writer.close()


async def test_silent_connections_are_bounded_and_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_module, "MAX_PENDING", 3)
    monkeypatch.setattr(links_module, "HELLO_S", 0.3)
    async with cluster("n0") as peers:
        dialled = [await dial(peers["n0"]) for _ in range(5)]
        for reader, writer, _ in dialled:
            assert await closed(reader)
            writer.close()
        reasons = [reason for reason, _ in peers["n0"].rejected]
        assert sorted(set(reasons)) == ["no hello in time", "too many connections without a hello"]
        assert len(reasons) == 5


async def test_a_newer_connection_of_a_peer_replaces_the_older() -> None:
    async with cluster("n0") as peers:
        signer = Ed25519Signer(seed_of("n1"))
        first, first_writer, nonce = await dial(peers["n0"])
        first_writer.write(frame(hello("n1", "n0", nonce, DOMAIN, signer)) + keep_alive(1))
        await until(lambda: peers["n0"].links.received["n1"] == 1)
        second, second_writer, nonce = await dial(peers["n0"])
        second_writer.write(frame(hello("n1", "n0", nonce, DOMAIN, signer)) + frame(encode(message(1))))
        await until(lambda: len(peers["n0"].heard) == 1)
        assert await closed(first)
        assert not second.at_eof() and peers["n0"].rejected == []
        first_writer.close()
        second_writer.close()


async def test_sending_to_nobody_or_too_much_is_told_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_module, "MAX_FRAME_BYTES", 10)
    async with cluster("n0") as peers:
        peers["n0"].links.send("n7", message(1))
        peers["n0"].links.send("n1", message(1))
        assert ["no such peer" in r or "exceeds the limit" in r for r, _ in peers["n0"].rejected] == [True, True]
        with pytest.raises(KeyError, match="no group"):
            peers["n0"].links.multicast("clan:9", message(1))
