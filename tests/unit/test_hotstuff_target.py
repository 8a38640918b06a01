"""The target HotStuff without its program: files, and what each answer means for the history."""

from __future__ import annotations

import json
from typing import Any

import pytest

from faults.port import Roster
from harness.http import UnansweredError
from harness.targets.hotstuff import HotStuff
from harness.targets.port import Operation

NODES = ("n0", "n1", "n2", "n3", "n4", "n5", "n6")


class Site:
    """Addresses that tell who asks for whom."""

    nodes = NODES[:5]
    seed = 1

    def binary(self, name: str) -> str:
        return f"/bin/{name}"

    def home(self, node: str) -> str:
        return f"/home/{node}"

    def listen(self, node: str, port: str) -> tuple[str, int]:
        return "127.0.0.1", 1000 + 10 * NODES.index(node) + ("peer", "client").index(port)

    def dial(self, source: str, node: str) -> tuple[str, int]:
        return "127.0.0.1", 2000 + 10 * NODES.index(source) + NODES.index(node)


class Node:
    """A node with one answer: status and body, or an exception; remembers what it was asked."""

    id = "n0"

    def __init__(self, code: int, answer: Any) -> None:
        self.code, self.answer, self.asked = code, answer, []  # type: int, Any, list[Any]

    async def ask(self, port: str, path: str, body: Any = None, timeout_s: float = 5.0) -> tuple[int, dict[str, Any]]:
        self.asked.append((port, path, body))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.code, self.answer


def made(nodes: int = 5, seed: int = 1, byzantine: tuple[str, ...] = (), **options: Any) -> HotStuff:
    return HotStuff(Roster(NODES[:nodes], (), (), byzantine), seed, **options)


def configurations(target: HotStuff) -> dict[str, Any]:
    return {program.node: json.loads(program.files["replica.json"]) for program in target.programs(Site())}


# ---------------------------------------------------------------- files
def test_equal_seeds_give_equal_files_and_other_seeds_other_keys() -> None:
    assert made().programs(Site()) == made().programs(Site())
    assert made(seed=2).describe()["validators"] != made().describe()["validators"]


def test_every_node_dials_the_others_through_its_own_proxies_and_knows_its_own_secret_alone() -> None:
    found = configurations(made())
    for node, told in found.items():
        assert {peer["name"]: peer["address"] for peer in told["peers"]} == {
            peer: "{}:{}".format(*Site().dial(node, peer)) for peer in Site.nodes
        }
    assert len({told["secret"] for told in found.values()}) == len(found)


def test_the_crates_order_of_leaders_is_the_order_of_the_nodes() -> None:
    keys = [one["key"] for one in made(7).describe()["validators"].values()]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"reads": "fast"}, "ordered, local"),
        ({"view_s": 0}, "from 1 up"),
        ({"view_s": 0.5}, "whole number"),
        ({"epoch": 0}, "from 1 up"),
        ({"idle_ms": -1}, "from 0 up"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        made(**options)


def test_what_is_beyond_its_promises() -> None:
    assert not made(5).beyond(1) and not made(4).beyond(0)
    assert any("leaders in a row" in reason for reason in made(4).beyond(1))  # 3 of 4 are up, and nothing commits
    assert any("bound 1" in reason for reason in made(5).beyond(2))
    assert any("bound 1" in reason for reason in made(4, byzantine=("n3",)).beyond(1))
    assert made(reads="local").beyond(0) and made(as_published=True).beyond(0)


# ---------------------------------------------------------------- operations
@pytest.mark.parametrize(
    ("operation", "sent", "result", "kind", "value"),
    [
        (Operation("write", [1, 7]), {"f": "write", "key": "1", "value": 7}, None, "ok", None),
        (Operation("read", [1, None]), {"f": "read", "key": "1"}, 7, "ok", [1, 7]),
        (Operation("cas", [1, [7, 8]]), {"f": "cas", "key": "1", "old": 7, "new": 8}, True, "ok", None),
        (Operation("cas", [1, [7, 8]]), {"f": "cas", "key": "1", "old": 7, "new": 8}, False, "fail", None),
        (
            Operation("txn", [["append", 1, 3], ["r", 1, None]]),
            {"f": "txn", "ops": [["append", "1", 3], ["r", "1", None]]},
            [["append", "1", 3], ["r", "1", [2, 3]]],
            "ok",
            [["append", 1, 3], ["r", 1, [2, 3]]],
        ),
    ],
)
async def test_what_is_sent_and_what_a_result_means(
    operation: Operation, sent: dict[str, Any], result: Any, kind: str, value: Any
) -> None:
    node = Node(200, {"result": result})
    outcome = await made().perform(operation, node)
    ((port, path, body),) = node.asked
    assert (port, path) == ("client", "/command") and {**sent, "id": body["id"]} == body
    assert (outcome.kind, outcome.value, outcome.tx) == (kind, value, body["id"])


@pytest.mark.parametrize(("code", "kind"), [(504, "info"), (400, "fail"), (500, "info")])
async def test_what_a_refusal_means(code: int, kind: str) -> None:
    outcome = await made().perform(Operation("write", [1, 7]), Node(code, {"error": "why"}))
    assert outcome.kind == kind and "why" in outcome.error


async def test_without_an_answer_nothing_is_concluded() -> None:
    with pytest.raises(UnansweredError):
        await made().perform(Operation("write", [1, 7]), Node(0, UnansweredError("reset")))


async def test_no_two_commands_have_one_name() -> None:
    node, target = Node(200, {"result": None}), made()
    for _ in range(3):
        await target.perform(Operation("write", [1, 7]), node)
    assert len({body["id"] for _, _, body in node.asked}) == 3


@pytest.mark.parametrize(
    ("operation", "path", "results", "value"),
    [
        (Operation("read", [1, None], observes=True), "/local?keys=1", [None], [1, None]),
        (
            Operation("txn", [["r", 3, None], ["r", 1, None]], observes=True),
            "/local?keys=3,1",
            [[4, 5], None],
            [["r", 3, [4, 5]], ["r", 1, None]],
        ),
    ],
)
async def test_a_local_read_puts_nothing_in_order(operation: Operation, path: str, results: Any, value: Any) -> None:
    node = Node(200, {"results": results})
    outcome = await made(reads="local").perform(operation, node)
    assert (outcome.kind, outcome.value) == ("ok", value) and node.asked == [("client", path, None)]


async def test_what_also_writes_is_put_in_order_although_reads_are_local() -> None:
    result = [["append", "1", 3], ["r", "1", [3]]]
    node = Node(200, {"result": result})
    outcome = await made(reads="local").perform(Operation("txn", [["append", 1, 3], ["r", 1, None]]), node)
    assert outcome.value == [["append", 1, 3], ["r", 1, [3]]] and [path for _, path, _ in node.asked] == ["/command"]


async def test_a_local_read_without_an_answer_is_no_read() -> None:
    outcome = await made(reads="local").perform(Operation("read", [1, None], observes=True), Node(404, {"error": "no"}))
    assert (outcome.kind, outcome.error) == ("fail", "404: no")


# ---------------------------------------------------------------- blocks
async def test_blocks_count_from_one_and_name_who_proposed_them() -> None:
    justify = {"chain": 0, "view": 0, "block": "00" * 32, "phase": "generic", "signatures": []}
    block = {
        "height": 0, "hash": "ab" * 32, "view": 8, "certificate": {"view": 8}, "justify": justify,
        "data_hash": "cd" * 32, "data": '[{"id":"x","f":"read","key":"1"}]',
    }  # fmt: skip
    report = await made().status(Node(200, {"name": "n0", "view": 11, "height": 1, "blocks": [block]}), 0)  # type: ignore[arg-type]
    assert report is not None and (report.height, report.view, report.leader) == (2, 11, "n1")
    (event,) = report.events
    assert (event["height"], event["proposer"], event["parent"]) == (1, "n3", "00" * 32)
    assert event["transactions"] == ["x"] and event["data"] == block["data"]


async def test_before_the_first_block_the_height_is_zero() -> None:
    report = await made().status(Node(200, {"name": "n0", "view": 0, "height": None, "blocks": []}), 0)  # type: ignore[arg-type]
    assert report is not None and report.height == 0


async def test_as_published_a_replica_that_missed_the_first_block_does_not_hold_up_the_start() -> None:
    said = {"name": "n0", "view": 9, "height": None, "blocks": []}
    report = await made(as_published=True).status(Node(200, said), 0)  # type: ignore[arg-type]
    assert report is not None and report.height == 1
