"""The target CometBFT without CometBFT: files, and what each answer of its RPC means for the history."""

from __future__ import annotations

import base64
import json
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from faults.port import Roster
from harness.http import NeverSentError, UnansweredError
from harness.targets.cometbft import blocks, rpc
from harness.targets.cometbft import client as clients
from harness.targets.cometbft.blocks import Reader, milliseconds
from harness.targets.cometbft.client import Client, transaction
from harness.targets.cometbft.target import CometBFT
from harness.targets.port import Operation, Outcome
from tests.program_kit import FakeSite

NODES = ("n0", "n1", "n2", "n3", "n4")
WRITE = Operation("write", [1, 7])
TX = rpc.identity(b"r1=7")


class Site(FakeSite):
    """Five nodes."""

    nodes = NODES


class Node:
    """A node whose answers are given: method or path -> result, RPC error (str) or exception."""

    id = "n0"

    def __init__(self, **answers: Any) -> None:
        self.answers, self.asked = answers, []  # type: list[Any]

    async def ask(self, port: str, path: str, body: Any = None, timeout_s: float = 5.0) -> tuple[int, dict[str, Any]]:
        name = body["method"] if body else path.split("?")[0].strip("/")
        self.asked.append(name)
        answer = self.answers[name]
        answer = answer.pop(0) if isinstance(answer, list) else answer
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            return 500, {"error": {"code": -32603, "message": "Internal error", "data": answer}}
        return 200, {"result": answer}


def made(**options: Any) -> CometBFT:
    return CometBFT(Roster(NODES[: options.pop("nodes", 5)], (), ()), 1, **options)


def committed(check: int = 0, result: int = 0, height: int = 5) -> dict[str, Any]:
    return {"check_tx": {"code": check}, "tx_result": {"code": result}, "height": str(height)}


async def write(node: Node, **how: Any) -> Outcome:
    client = Client(how.get("way", "commit"), "local", how.get("resends", 0), 0.05, 0.01)
    return await client.perform(WRITE, node)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "LOOK_S", 0.01)


# ---------------------------------------------------------------- files
def test_equal_seeds_give_equal_files_and_other_seeds_other_keys() -> None:
    first, again = made().programs(Site()), made().programs(Site())
    assert first == again
    assert CometBFT(Roster(NODES, (), ()), 2).describe() != made().describe()


def test_every_node_dials_the_others_through_its_own_proxies() -> None:
    target = made(nodes=5)
    peers = {
        program.node: tomllib.loads(program.files["config/config.toml"].decode())["p2p"]["persistent_peers"]
        for program in target.programs(Site())
    }
    for node in NODES:
        addresses = {peer.split("@")[1] for peer in peers[node].split(",")}
        assert addresses == {"{}:{}".format(*Site().dial(node, other)) for other in NODES if other != node}


def test_twins_share_the_key_they_vote_with_and_nothing_else() -> None:
    programs = {p.node: p.files for p in made(nodes=5, twins=[["n3", "n4"]]).programs(Site())}
    same = {name for name in programs["n3"] if programs["n3"][name] == programs["n4"][name]}
    assert "config/priv_validator_key.json" in same and "config/node_key.json" not in same
    genesis = json.loads(programs["n0"]["config/genesis.json"])
    assert [one["name"] for one in genesis["validators"]] == ["n0", "n1", "n2", "n3"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"twins": [["n0"]]}, "pairs of nodes"),
        ({"twins": [["n0", "n9"]]}, "pairs of nodes"),
        ({"twins": ["n0"]}, "pairs of nodes"),
        ({"twins": [["n0", "n1"], ["n1", "n2"]]}, "in two pairs"),
        ({"twins": [["n0", "n0"]]}, "in two pairs"),
        ({"way": "maybe"}, "commit, sync, async"),
        ({"reads": "fast"}, "ordered, local"),
        ({"cache": -1}, "from 0 up"),
        ({"propose_ms": "1s"}, "whole number"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        made(**options)


def test_what_is_beyond_its_promises() -> None:
    def beyond(byzantine: tuple[str, ...] = (), crashes: int = 0, nodes: int = 5, **options: Any) -> int:
        return len(CometBFT(Roster(NODES[:nodes], (), (), byzantine), 1, **options).beyond(crashes))

    assert not beyond(("n3", "n4"), twins=[["n3", "n4"]])  # two nodes, one replica of four
    assert beyond(("n3", "n4"), crashes=1, twins=[["n3", "n4"]])
    assert beyond(("n2", "n3"), nodes=4) and not beyond(crashes=1, nodes=4)
    assert beyond(reads="local") and beyond(resends=1) and beyond(cache=0) and beyond(expects_once=True)


# ---------------------------------------------------------------- operations
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (committed(), "ok"),
        (committed(check=2, height=0), "fail"),
        (committed(result=3), "fail"),
        (committed(height=0), "info"),
        ("timed out waiting for tx to be included in a block", "info"),
        ("error on broadcastTxCommit: tx already exists in cache", "info"),
        ("error on broadcastTxCommit: mempool is full: number of txs 5000", "fail"),
        ("max_subscription_clients 100 reached", "fail"),
    ],
)
async def test_what_an_answer_to_a_commit_means(answer: Any, kind: str) -> None:
    outcome = await write(Node(broadcast_tx_commit=answer))
    assert (outcome.kind, outcome.tx) == (kind, TX)


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_accepted_is_not_applied(way: str) -> None:
    found = {"height": "7", "tx_result": {"code": 0}}
    sent = {f"broadcast_tx_{way}": {"code": 0}}
    assert (await write(Node(**sent, tx="tx (ab) not found"), way=way)).kind == "info"
    assert (await write(Node(**sent, tx=found), way=way)).kind == "ok"
    assert (await write(Node(**sent, tx={**found, "tx_result": {"code": 1}}), way=way)).kind == "fail"


async def test_a_lost_answer_is_not_sent_again_unless_the_client_is_blind() -> None:
    lost = UnansweredError("reset")
    node = Node(broadcast_tx_commit=[lost, committed()])
    with pytest.raises(UnansweredError):
        await write(node)
    assert node.asked == ["broadcast_tx_commit"]
    node = Node(broadcast_tx_commit=[lost, NeverSentError("down"), committed()])
    assert (await write(node, resends=2)).kind == "ok"


async def test_what_may_have_arrived_once_is_never_said_to_be_unsent() -> None:
    with pytest.raises(UnansweredError):
        await write(Node(broadcast_tx_commit=[UnansweredError("reset"), NeverSentError("down")]), resends=1)
    with pytest.raises(NeverSentError):
        await write(Node(broadcast_tx_commit=[NeverSentError("down"), NeverSentError("down")]), resends=1)


def state(value: bytes | None, height: int) -> dict[str, Any]:
    return {"response": {"value": None if value is None else base64.b64encode(value).decode(), "height": str(height)}}


READ = Operation("read", [1, None], observes=True)


async def test_an_ordered_read_waits_for_its_place_and_a_local_one_does_not() -> None:
    node = Node(broadcast_tx_commit=committed(height=5), abci_query=state(b"7", 5))
    assert (await Client("commit", "ordered", 0).perform(READ, node)).value == [1, 7]
    node = Node(broadcast_tx_commit=committed(height=5), abci_query=state(b"7", 4))
    assert (await Client("commit", "ordered", 0).perform(READ, node)).kind == "fail"
    node = Node(abci_query=state(None, 4))
    assert (await Client("commit", "local", 0).perform(READ, node)).value == [1, None]
    assert node.asked == ["abci_query"]


async def test_the_store_knows_no_compare_and_set() -> None:
    assert (await Client("commit", "local", 0).perform(Operation("cas", [1, [2, 3]]), Node())).kind == "fail"


def test_copies_of_a_write_are_one_transaction() -> None:
    assert transaction(1, 7) == transaction(1, 7) == b"r1=7"


# ---------------------------------------------------------------- blocks
def chain(height: str) -> Callable[..., Any]:
    header = {
        "height": height, "time": "2026-11-26T04:45:01.123456789Z", "last_block_id": {"hash": "AB"},
        "proposer_address": "CD", "validators_hash": "EF", "app_hash": "00",
    }  # fmt: skip
    tx = base64.b64encode(b"r1=7").decode()
    block = {"header": header, "data": {"txs": [tx, tx]}, "evidence": {"evidence": []}, "last_commit": {}}
    key = {"pub_key": {"value": base64.b64encode(b"k" * 32).decode()}, "voting_power": "10"}
    answers: dict[str, Any] = {
        "block": {"block_id": {"hash": "FF"}, "block": block},
        "validators": {"validators": [key]},
        "commit": {"signed_header": {"commit": {"height": height}}},
        "block_results": {"txs_results": [{"code": 0}, {"code": 4}]},
    }  # fmt: skip
    return lambda **more: Node(**answers | more)


async def test_a_block_is_told_whole_and_what_it_applied_apart() -> None:
    events, leader = await Reader({"CD": "n2"}).events(chain("1")(), 0, 1)
    by_name = {event["event"]: event for event in events}
    assert list(by_name) == ["tendermint-validators", "tendermint-block", "finalise", "execute", "tendermint-commit"]
    assert leader == by_name["finalise"]["proposer"] == "n2"
    assert (by_name["finalise"]["block"], by_name["finalise"]["parent"]) == ("ff", "ab")
    assert by_name["execute"]["applied"] == [TX] and by_name["execute"]["aborted"] == [[TX, "code 4"]]


async def test_a_block_that_is_not_executed_yet_is_told_later() -> None:
    reader = Reader({})
    assert await reader.events(chain("1")(block_results="could not find results for height #1"), 0, 1) == ([], "")
    assert (await reader.events(chain("1")(), 0, 1))[0]


async def test_a_slow_node_is_read_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that took as long as it may ends after a block, and does not ask for the commit of a later one."""
    monkeypatch.setattr(blocks, "LOOK_S", -1.0)
    node = chain("1")()
    events, _ = await Reader({}).events(node, 0, 9)
    assert [e["event"] for e in events] == ["tendermint-validators", "tendermint-block", "finalise", "execute"]
    assert "commit" not in node.asked


async def test_a_node_that_is_not_ready_is_no_report() -> None:
    assert await made().status(chain("1")(status="node is not ready"), 0) is None
    assert await made().status(chain("1")(status={}), 0) is None
    report = await made().status(chain("1")(status={"sync_info": {"latest_block_height": "1"}}), 0)
    assert report is not None and report.height == 1


async def test_validators_are_told_again_in_each_life() -> None:
    reader = Reader({})
    for since, told in ((0, 1), (1, 0), (0, 1)):
        events, _ = await reader.events(chain(str(since + 1))(), since, since + 1)
        assert sum(event["event"] == "tendermint-validators" for event in events) == told


def test_times_of_blocks_are_milliseconds() -> None:
    assert milliseconds("2026-11-26T04:45:01.123456789Z") == 1795668301123
    assert milliseconds("2026-01-01T00:00:00Z") == 1767225600000
