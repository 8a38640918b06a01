"""etcd's target: what it starts, what it makes of answers, and how its lists are guarded."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from faults.port import Roster
from harness.http import UnansweredError
from harness.targets.driver import concluded
from harness.targets.etcd import RETRIES, Etcd
from harness.targets.port import Membership, Operation, Outcome
from tests.program_kit import ROSTER, FakeNode, FakeSite

APPEND = Operation("txn", [["r", 1, None], ["append", 1, 9], ["r", 1, None]])


def target(**options: Any) -> Etcd:
    return Etcd(ROSTER, 1, **options)


def b64(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def row(value: Any, revision: int = 5) -> dict[str, Any]:
    return {"response_range": {"kvs": [{"mod_revision": str(revision), "value": b64(value)}]}}


NOTHING: dict[str, Any] = {"response_range": {"header": {}}}


async def ended(operation: Operation, *answers: Any, **options: Any) -> tuple[Outcome, FakeNode]:
    node = FakeNode("n0", *answers)
    return await concluded(target(**options), operation, node), node


def test_every_member_is_told_the_same_addresses_and_listens_on_its_own() -> None:
    programs = target().programs(FakeSite())
    assert [p.node for p in programs] == ["n0", "n1", "n2"]
    lists = {p.arguments[p.arguments.index("--initial-cluster") + 1] for p in programs}
    assert lists == {"n0=http://everybody:3000,n1=http://everybody:3001,n2=http://everybody:3002"}
    assert {p.arguments[p.arguments.index("--listen-peer-urls") + 1] for p in programs} == {
        f"http://n{i}.peer:1000" for i in range(3)
    }
    assert [p.environment for p in programs] == [{"HOSTS": node} for node in ROSTER.tribe]


async def test_its_leader_is_named_once_it_has_been_heard() -> None:
    etcd = target()
    said = {"header": {"member_id": "11"}, "leader": "22", "raftTerm": "3", "raftAppliedIndex": "40"}
    first = await etcd.status(FakeNode("n0", (200, said)), 0)
    assert first is not None and (first.height, first.view, first.leader) == (40, 3, "")
    other = {**said, "header": {"member_id": "22"}}
    assert await etcd.status(FakeNode("n1", (200, other)), 0) is not None
    again = await etcd.status(FakeNode("n0", (200, said)), 0)
    assert again is not None and again.leader == "n1"
    assert await etcd.status(FakeNode("n0", (503, {})), 0) is None


@pytest.mark.parametrize(("answer", "value"), [(row(7), [1, 7]), (NOTHING, [1, None])])
async def test_a_read_says_what_was_there(answer: dict[str, Any], value: Any) -> None:
    outcome, node = await ended(Operation("read", [1, None], True), (200, {"responses": [answer]}))
    assert outcome == Outcome("ok", value)
    assert node.asked[0][1]["success"][0]["requestRange"]["serializable"] is False


@pytest.mark.parametrize(
    ("answer", "kind"),
    [((200, {}), "ok"), ((500, {"error": "etcdserver: request timed out"}), "info"), (UnansweredError("x"), "info")],
)
async def test_a_write_without_a_good_answer_is_open(answer: Any, kind: str) -> None:
    assert (await ended(Operation("write", [1, 2]), answer))[0].kind == kind


@pytest.mark.parametrize(("said", "kind"), [({"succeeded": True}, "ok"), ({}, "fail")])
async def test_a_comparison_that_failed_changed_nothing(said: dict[str, Any], kind: str) -> None:
    assert (await ended(Operation("cas", [1, [2, 3]]), (200, said)))[0].kind == kind


async def test_a_list_is_written_back_guarded_by_the_revision_that_was_read() -> None:
    outcome, node = await ended(APPEND, (200, {"responses": [row([3], 8)]}), (200, {"succeeded": True}))
    assert outcome == Outcome("ok", [["r", 1, [3]], ["append", 1, 9], ["r", 1, [3, 9]]])
    sent = node.asked[1][1]
    assert sent["compare"][0]["mod_revision"] == "8"
    assert sent["success"][0]["requestPut"]["value"] == b64([3, 9])


async def test_a_list_that_changed_meanwhile_is_read_again_and_given_up_in_the_end() -> None:
    lost = [(200, {"responses": [row([3])]}), (200, {})]
    outcome, node = await ended(APPEND, *lost, (200, {"responses": [row([3, 4])]}), (200, {"succeeded": True}))
    assert outcome.value[0] == ["r", 1, [3, 4]] and len(node.asked) == 4
    assert (await ended(APPEND, *lost * RETRIES))[0].kind == "fail"


async def test_before_anything_is_written_trouble_is_a_fail_and_afterwards_it_is_open() -> None:
    assert (await ended(APPEND, UnansweredError("x")))[0].kind == "fail"
    assert (await ended(APPEND, (200, {"responses": [row([3])]}), UnansweredError("x")))[0].kind == "info"


async def test_the_known_bad_settings_do_what_they_say() -> None:
    _, node = await ended(APPEND, (200, {"responses": [row([3])]}), (200, {"succeeded": True}), blind_appends=True)
    assert node.asked[1][1]["compare"] == []
    read = Operation("read", [1, None], True)
    _, node = await ended(read, (200, {"responses": [row(7)]}), serializable_reads=True)
    assert node.asked[0][1]["success"][0]["requestRange"]["serializable"] is True


@pytest.mark.parametrize(
    ("crashes", "options", "words"),
    [
        (1, {}, []),
        (2, {}, ["2 of 3 may be down"]),
        (0, {"serializable_reads": True}, ["stale"]),
        (0, {"blind_appends": True}, ["without a comparison"]),
    ],
)
def test_what_exceeds_its_promises_is_said(crashes: int, options: dict[str, Any], words: list[str]) -> None:
    told = target(**options).beyond(crashes)
    assert len(told) == len(words) and all(word in line for word, line in zip(words, told, strict=True))


async def test_members_change() -> None:
    etcd = target()
    assert isinstance(etcd, Membership)
    listed = (200, {"members": [{"name": "n0", "ID": "1"}, {"name": "n1", "ID": "2"}, {"ID": "3"}]})
    assert await etcd.members(FakeNode("n0", listed)) == ["n0", "n1"]
    node = FakeNode("n0", listed, (200, {}))
    await etcd.remove("n1", node)
    assert node.asked[1] == ("/v3/cluster/member/remove", {"ID": "2"})
    node = FakeNode("n0", (200, {"members": [{"name": "n0", "ID": "1"}]}), (200, {}))
    program = await etcd.admit("n2", node, FakeSite())
    assert node.asked[1] == ("/v3/cluster/member/add", {"peerURLs": ["http://everybody:3002"]})
    assert "n0=http://everybody:3000,n2=http://everybody:3002" in program.arguments
    assert "existing" in program.arguments
    with pytest.raises(ConnectionError, match="did not add"):
        await etcd.admit("n2", FakeNode("n0", listed, (400, {"error": "Peer URLs already exists"})), FakeSite())


def test_one_node_bears_no_crash() -> None:
    assert Etcd(Roster(("n0",), (), ()), 1).beyond(1)
