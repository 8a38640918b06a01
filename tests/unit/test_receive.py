"""`receive` is `step(Receive)` without the event, and nothing a node does depends on which of the two is called."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import pytest

from nodes.committee import Committee
from nodes.messages import Message, Vote, decode, encode
from nodes.port import Effect, Event, Receive, Send, Submit, SubmitTransaction
from nodes.supra import SupraNode, build
from tests.cores import VERIFIER, wallet_of
from tests.driver import MS, Driver, domain_of, signer_of, small_config

DOMAIN = domain_of(small_config())
Stream = list[tuple[int, str, list[tuple[str, Effect]]]]


class Watched:
    """A node whose effects are noted down; `direct`: messages go in through `receive`."""

    def __init__(self, name: str, node: SupraNode, stream: Stream, direct: bool) -> None:
        self._name, self._node, self._stream, self._direct = name, node, stream, direct

    def step(self, now: int, event: Event) -> Sequence[Effect]:
        if self._direct and isinstance(event, Receive):
            effects = self._node.receive(now, event.sender, event.message)
        else:
            effects = self._node.step(now, event)
        self._stream.append((now, self._name, [(type(effect).__name__, effect) for effect in effects]))
        return effects


class Hostile:
    """Delays, losses, and messages that come again, late, from the wrong peer, as other objects, or spoilt."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)
        self.driver: Driver | None = None

    def __call__(self, src: str, dst: str, message: Message) -> int | None:
        rng, driver = self._rng, self.driver
        if driver is not None and rng.random() < 0.1:
            copy: Any = decode(encode(message)) if rng.random() < 0.5 else message
            if rng.random() < 0.5 and hasattr(copy, "signature"):
                copy = msgspec.structs.replace(copy, signature=rng.randbytes(64))
            if rng.random() < 0.3 and isinstance(copy, Vote):  # its voter equivocates
                block = rng.randbytes(32)
                signature = signer_of(copy.voter).sign(DOMAIN.vote(copy.kind, copy.view, block))
                copy = msgspec.structs.replace(copy, block=block, signature=signature)
            sender = rng.choice(["n0", "n1", "g0", "nobody"]) if rng.random() < 0.3 else src
            driver._push(driver.now + rng.randint(1, 800) * MS, dst, Receive(sender, copy))
        return None if rng.random() < 0.05 else rng.randint(1, 60) * MS


def stream_of(seed: int, direct: bool) -> tuple[Stream, int, set[str]]:
    """(what every node did, the lowest height reached, the kinds of trace events) of one hostile schedule."""
    config = small_config(4, clans=2, delta_ms=100)
    names = [m.id for m in (*config.tribe, *config.gateways)]
    stream: Stream = []
    nodes: dict[str, SupraNode] = {}

    def watched(name: str) -> Watched:
        nodes[name] = build(name, config, signer_of(name), VERIFIER)
        return Watched(name, nodes[name], stream, direct)

    hostile = Hostile(seed)
    driver = Driver(Committee(config), watched, names, hostile, seed)
    hostile.driver = driver
    for number in range(12):
        wallet = wallet_of(config, f"acct{number % 4}")
        driver.submit("g0", number, SubmitTransaction(wallet.transfer(number // 4, wallet.address, 1)))
        driver.run(150 * number)
    driver.crash("n3")
    driver.run(2300)
    driver.start("n3")
    driver.run(3500)
    return stream, min(node.height for node in nodes.values()), {event for _, _, event, _ in driver.trace}


@pytest.mark.parametrize("seed", [1, 2])
def test_receive_and_step_give_the_same_effects_in_the_same_order(seed: int) -> None:
    stepped, height, events = stream_of(seed, direct=False)
    received, _, _ = stream_of(seed, direct=True)
    assert height > 5
    assert {"finalise", "execute", "reject", "certify", "timeout", "available", "accuse"} <= events
    encoded = [msgspec.msgpack.encode(entry) for entry in stepped]
    assert encoded == [msgspec.msgpack.encode(entry) for entry in received]


def test_a_message_for_another_role_is_nothing() -> None:
    config = small_config(4)
    gateway, node = (build(name, config, signer_of(name), VERIFIER) for name in ("g0", "n0"))
    transaction = wallet_of(config).transfer(0, wallet_of(config).address, 1)
    submitted = gateway.step(0, Submit(1, SubmitTransaction(transaction)))
    forward = next(effect.message for effect in submitted if isinstance(effect, Send) and effect.to == "n0")
    assert list(gateway.receive(0, "g0", forward)) == list(gateway.step(0, Receive("g0", forward))) == []
    assert [effect.to for effect in node.receive(0, "g0", forward) if isinstance(effect, Send)] == ["g0"]
