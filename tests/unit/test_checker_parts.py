"""The checkers' own arithmetic, encoding, ledger, evidence and registry, against values worked out by hand."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from checkers.arithmetic import Bounds, clan_faults, clan_majority, tribe_faults, tribe_quorum
from checkers.encoding import Tx, body, transaction
from checkers.evidence import EvidenceError, Notary, unhex
from checkers.ledger import ZERO, Ledger, clan_of, clan_of_list, permuted
from checkers.registry import CheckerError, describe, judge, load, names
from results.stats import quantile, summary
from results.verdict import Status
from tests.driver import signer_of
from tests.golden.plants import PLANTS, bounds
from tests.golden.world import World

ALICE, BOB = (signer_of(name).public_key for name in ("alice", "bob"))


def h(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def tx(*operations: list[Any], seq: int = 0, chain: str = "test", expiry_ms: int = 99, by: str = "alice") -> Tx:
    """A transaction signed the way a wallet does, built from the description of the encoding alone."""
    signer = signer_of(by)
    parts = [chain, signer.public_key, seq, expiry_ms, list(operations), b"", bytes(64)]
    raw = h(b"TX", msgspec.msgpack.encode(parts))
    parts[-1] = signer.sign(h(msgspec.msgpack.encode(["moonquake/1", chain, "transaction", raw])))
    return transaction(parts)


def ledger(clan: int = 0, clans: int = 1) -> Ledger:
    return Ledger(clan, clans, "test", {ALICE.hex(): 100})


# ---------------------------------------------------------------- ledger
def naive_root(entries: dict[bytes, bytes], previous: bytes) -> bytes:
    """The root by its definition, without any incremental cleverness."""
    level = []
    for bucket in range(256):
        chosen = sorted((k, v) for k, v in entries.items() if h(k)[0] == bucket)
        parts = [len(k).to_bytes(4, "big") + k + len(v).to_bytes(4, "big") + v for k, v in chosen]
        level.append(h(b"BUCKET", *parts))
    for _ in range(8):
        level = [h(b"NODE", a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
    return h(b"ROOT", level[0], previous)


def account(balance: int, seq: int) -> bytes:
    return balance.to_bytes(8, "big") + seq.to_bytes(8, "big")


def test_roots_follow_their_definition() -> None:
    state = ledger()
    assert state.genesis_root == naive_root({b"A" + ALICE: account(100, 0)}, ZERO)
    assert state.execute(tx(["t", BOB, 30], ["a", 7, -5], ["a", 7, 6], ["r", 7]), 0) == ("", ((-5, 6),))
    values = (2).to_bytes(4, "big") + (-5).to_bytes(8, "big", signed=True) + (6).to_bytes(8, "big")
    entries = {b"A" + ALICE: account(70, 1), b"A" + BOB: account(30, 0), b"L" + (7).to_bytes(8, "big"): values}
    first = state.root(state.genesis_root)
    assert first == naive_root(entries, state.genesis_root)
    assert state.root(first) == naive_root(entries, first)  # an empty block still chains


@pytest.mark.parametrize(
    ("made", "reason", "seq"),
    [
        (tx(["t", BOB, 100]), "", 1),
        (tx(["t", BOB, 0]), "", 1),
        (tx(["t", ALICE, 100], ["t", ALICE, 100]), "", 1),  # to oneself: needs the money, keeps it
        (tx(["t", ALICE, 101]), "insufficient", 1),
        (tx(["t", BOB, 60], ["t", BOB, 60]), "insufficient", 1),
        (tx(["t", BOB, 1], seq=1), "too-new", 0),
        (tx(["t", BOB, 1], expiry_ms=49), "expired", 0),
        (tx(["t", BOB, 1], expiry_ms=50), "", 1),
        (tx(["t", BOB, 1], chain="other"), "invalid", 0),
    ],
)
def test_outcomes(made: Tx, reason: str, seq: int) -> None:
    state = ledger()
    assert state.execute(made, 50)[0] == reason
    assert state.accounts[ALICE][1] == seq
    assert state.total() == 100
    if reason:
        assert state.accounts[ALICE][0] == 100


def test_a_copy_is_a_duplicate_without_effect() -> None:
    state = ledger()
    made = tx(["t", BOB, 10])
    assert state.execute(made, 0)[0] == ""
    assert state.execute(made, 0)[0] == "duplicate"
    assert state.accounts[ALICE] == (90, 1)


def test_a_forged_signature_is_invalid() -> None:
    forged = tx(["t", BOB, 10], by="mallory")
    stolen = Tx(forged.id, forged.raw, forged.chain, ALICE, 0, 99, forged.operations, forged.signature)
    assert ledger().execute(stolen, 0) == ("invalid", ())


def test_another_clans_state_is_foreign() -> None:
    home = clan_of(ALICE, 2)
    assert ledger(1 - home, 2).execute(tx(["t", ALICE, 0]), 0)[0] == "foreign"
    away = next(key for key in range(64) if clan_of_list(key, 2) != home)
    assert ledger(home, 2).execute(tx(["r", away]), 0)[0] == "foreign"
    assert ledger(home, 2).execute(tx(["t", ALICE, 0]), 0)[0] == ""


def test_order_within_a_block() -> None:
    txs = [tx(["t", BOB, 1], seq=seq) for seq in range(4)] + [tx(["t", BOB, 1], seq=s, by="bob") for s in range(3)]
    block = b"b" * 32
    order = permuted(txs, block)
    drawn = sorted(txs, key=lambda t: h(b"ORDER", h(b"SEED", block), t.raw))
    assert [t.sender for t in order] == [t.sender for t in drawn]
    assert [t.seq for t in order if t.sender == ALICE] == [0, 1, 2, 3]
    assert any(permuted(txs, bytes([i]) * 32) != order for i in range(8))


# ---------------------------------------------------------------- encoding and evidence
def test_bodies_prove_themselves() -> None:
    story = World(plan=(2,)).story()
    event = story.events("body")[0]
    data = base64.b64decode(event["data"])
    assert body(data).id == event["batch"]
    header, txs, signature = msgspec.msgpack.decode(data)
    for broken in ([header, txs[:-1], signature], [header, [], signature], [header, txs], "nonsense"):
        with pytest.raises(EvidenceError):
            body(msgspec.msgpack.encode(broken))
    with pytest.raises(EvidenceError):
        body(data[:-1])


def test_unpaired_signatures_are_unreadable() -> None:
    notary = Notary(World(plan=(1,)).story().run().info)
    with pytest.raises(EvidenceError, match="0 signatures for 1 signers"):
        notary.fault(["n0"], 1, ["n0"], [], b"")
    with pytest.raises(EvidenceError, match="not 64 hex digits"):
        unhex("abc", 32, "root")


def test_bounds_can_be_set() -> None:
    story = World(n=7, plan=(1,)).story()
    default = Bounds(story.run().info)
    assert (default.liveness_ms, default.retrieve_ms) == (12 * 500 + 5 * 50, 4 * 1000 + 10 * 50)
    assert default.inclusion_ms == 2000 + 3 * 1500 * 2 + 20 * 50 + 3000
    story.info["parameters"]["batch_retry_ms"] = 4180  # a search found it: a fetch's own rhythm is what bounds it
    assert Bounds(story.run().info).retrieve_ms == 4 * 4180 + 10 * 50
    bounds(story, liveness_deltas=4, exec_ms=123)
    assert (Bounds(story.run().info).liveness_ms, Bounds(story.run().info).exec_ms) == (2250, 123)


# ---------------------------------------------------------------- arithmetic
@pytest.mark.parametrize(
    ("n", "faults", "quorum"),
    [(1, 0, 1), (3, 0, 2), (4, 1, 3), (5, 1, 4), (6, 1, 4), (7, 2, 5), (10, 3, 7), (100, 33, 67)],
)
def test_tribe_thresholds(n: int, faults: int, quorum: int) -> None:
    assert (tribe_faults(n), tribe_quorum(n)) == (faults, quorum)


@pytest.mark.parametrize(
    ("n", "faults", "majority"), [(1, 0, 1), (2, 0, 1), (3, 1, 2), (4, 1, 2), (5, 2, 3), (7, 3, 4), (101, 50, 51)]
)
def test_clan_thresholds(n: int, faults: int, majority: int) -> None:
    assert (clan_faults(n), clan_majority(n)) == (faults, majority)


def test_statistics_are_observed_values() -> None:
    assert quantile([1, 2, 3, 4], 0.5) == 2
    assert quantile([1, 2, 3, 4], 1.0) == 4
    assert summary([]) == {"n": 0}
    assert summary([3, 1, 2]) == {"n": 3, "mean": 2.0, "p50": 2, "p99": 3, "max": 3}
    with pytest.raises(ValueError, match="quantile of nothing"):
        quantile([], 0.5)


# ---------------------------------------------------------------- registry
def test_every_checker_describes_itself() -> None:
    told = describe()
    assert set(PLANTS) <= set(told)
    assert all(line.endswith(".") and len(line) <= 120 for line in told.values()), told


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(CheckerError, match="there are accountability, "):
        load("forks")


def test_checkers_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from results.verdict import Status, Verdict\n"
        "class Mine:\n    property = 'mine'\n    def check(self, run):\n"
        "        return Verdict('mine', Status.PASS, len(run.trace))\n"
        "class Careless:\n    property = 'careless'\n    def check(self, run):\n"
        "        raise KeyError('no such thing')\n"
        "class Mute:\n    property = 'mute'\n    def check(self, run):\n        return None\n"
    )
    mine, careless, mute = judge(World(plan=(1,)).story().run(), [f"{path}:Mine", f"{path}:Careless", f"{path}:Mute"])
    assert (mine.status, mine.property) == (Status.PASS, "mine")
    assert careless.status is Status.UNKNOWN and "no such thing" in careless.reason and "Traceback" in careless.reason
    assert mute.status is Status.UNKNOWN and "NoneType" in mute.reason
    for wrong in (f"{path}:Absent", f"{tmp_path}/none.py:Mine", f"{path}:Status.PASS"):
        with pytest.raises(CheckerError):
            load(wrong)


def test_names_are_sorted() -> None:
    assert names() == sorted(names()) and "state-root" in names()
