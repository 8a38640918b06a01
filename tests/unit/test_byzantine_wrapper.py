from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.side_channel import LOAD_START, MemoryHub
from faults.byzantine.triggers import Trigger
from faults.byzantine.wrapper import HALT, TICK, TICK_NS, BehaviourError, CorruptedNodeShell, Mounted
from nodes.committee import Committee
from nodes.messages import BatchRequest, CommitVote, Message, NodeId
from nodes.port import EVERYONE, Emit, Expire, Multicast, Persist, Receive, Send, SetTimer, Start
from nodes.records import BatchKeyRecord
from tests.coalition import Canned, emitted, receive, sends, shell_of
from tests.driver import MS, domain_of, signer_of, small_config

ASK = BatchRequest(bytes(32))
VOTE = CommitVote(3, bytes(32), "n6", bytes(64))
RECORD = Persist(BatchKeyRecord(0, "n6", 1, bytes(32)))


class Marks(Behaviour):
    """Sets view of every commit vote that passes to ten times its view plus its own digit."""

    name = "marks"

    def __init__(self, digit: int) -> None:
        super().__init__()
        self.digit = digit

    def _mark(self, message: Message) -> Message:
        if isinstance(message, CommitVote):
            self.receipt.changed += 1
            return CommitVote(message.view * 10 + self.digit, message.block, message.voter, message.signature)
        return message

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        return self._mark(message)

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        yield to, self._mark(message)


class Acts(Behaviour):
    name = "acts"

    def __init__(self, *out: tuple[NodeId, Message]) -> None:
        super().__init__()
        self.out = out
        self.calls: list[int] = []

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        self.calls.append(node.now)
        return self.out


class Drops(Behaviour):
    name = "drops"

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        self.receipt.dropped += 1
        return None

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        self.receipt.dropped += 1
        return ()


def core_view(shell: CorruptedNodeShell) -> list[Any]:
    assert isinstance(shell.core, Canned)
    return [e.message for e in shell.core.seen if isinstance(e, Receive)]


def test_without_a_change_effects_pass_as_they_are_in_order() -> None:
    effects = (Send("n1", ASK), RECORD, Multicast(EVERYONE, VOTE), SetTimer("core:x", 7), Emit("vote", {"view": 1}))
    shell = shell_of(Canned(*effects), Behaviour())
    out = [e for e in receive(shell, "n1", ASK) if not (isinstance(e, Emit) and e.event == "behaviour")]
    assert tuple(out) == effects


def test_a_multicast_is_taken_apart_and_persist_keeps_its_place() -> None:
    shell = shell_of(Canned(RECORD, Multicast("tribe", VOTE)), Marks(1))
    out = receive(shell, "n1", ASK)
    assert out[0] == RECORD
    assert [to for to, _ in sends(out)] == ["n0", "n1", "n2", "n3", "n4", "n5"]  # all but itself
    assert {m.view for _, m in sends(out) if isinstance(m, CommitVote)} == {31}


def test_the_first_declared_is_nearest_to_the_core() -> None:
    shell = shell_of(Canned(Send("n1", VOTE)), Marks(1), Marks(2))
    out = receive(shell, "n1", VOTE)
    assert [m.view for _, m in sends(out) if isinstance(m, CommitVote)] == [312]  # outwards: 1, then 2
    assert [m.view for m in core_view(shell)] == [321]  # inwards: 2, then 1


def test_what_is_dropped_does_not_reach_the_core_or_the_network() -> None:
    shell = shell_of(Canned(Send("n1", VOTE)), Drops())
    assert sends(receive(shell, "n1", ASK)) == [] and core_view(shell) == []
    assert sends(shell.step(0, Expire("core:x"))) == []


def test_spontaneous_messages_pass_outer_behaviours_only() -> None:
    shell = shell_of(Canned(), Marks(1), Acts(("n1", VOTE)), Marks(2))
    assert [m.view for _, m in sends(receive(shell, "n1", ASK)) if isinstance(m, CommitVote)] == [32]


def test_it_acts_on_a_tick_and_after_every_event_and_the_core_never_sees_the_tick() -> None:
    acts = Acts()
    shell = shell_of(Canned(), acts)
    assert SetTimer(TICK, TICK_NS) in shell.step(0, Start())
    assert SetTimer(TICK, 2 * TICK_NS) in shell.step(TICK_NS, Expire(TICK))
    receive(shell, "n1", ASK, now=TICK_NS + 1)
    assert acts.calls == [0, TICK_NS, TICK_NS + 1]
    assert isinstance(shell.core, Canned) and Expire(TICK) not in shell.core.seen


@pytest.mark.parametrize(
    ("window", "before", "after"),
    [
        ((10, 20), "1111", "1001"),  # 1: honest
        ((10, None), "1111", "1000"),
        ((None, 20), "0000", "0001"),
        ((None, None), "0000", "0000"),
        ((0, None), "1111", "0000"),
    ],
)
def test_a_behaviour_is_honest_outside_its_window(window: tuple[Any, Any], before: str, after: str) -> None:
    config, hub = small_config(7), MemoryHub()
    shell = CorruptedNodeShell(
        Canned(Send("n1", VOTE)),
        "n6",
        Committee(config),
        domain_of(config),
        {"n6": signer_of("n6")},
        [Mounted(1, Drops(), Trigger(*window))],
        hub.join("n6"),
    )

    def seen(*times: int) -> str:
        return "".join(str(len(sends(receive(shell, "n1", ASK, now=t)))) for t in times)

    assert seen(0, 9, 19, 30) == before  # nobody has said when the load starts
    hub.announce(LOAD_START, 100)
    assert seen(109, 110, 119, 120) == after
    hub.announce(LOAD_START, "nonsense")
    seen(130)
    assert shell.node.load_start is None


def test_receipts_are_traced_when_they_change_but_not_too_often_and_the_last_state_comes_out() -> None:
    shell = shell_of(Canned(Send("n1", VOTE)), Drops())
    first = emitted(shell.step(0, Start()), "behaviour")
    assert first == [{"id": 0, "name": "drops", "matched": 0, "changed": 0, "dropped": 0, "injected": 0}]
    burst = [emitted(receive(shell, "n1", ASK, now=260 * MS + i), "behaviour") for i in range(5)]
    assert [[f["dropped"] for f in fields] for fields in burst] == [[1], [], [], [], []]
    later = [emitted(shell.step(at * MS, Expire(TICK)), "behaviour") for at in (300, 350, 400, 450, 500, 550, 600)]
    assert [[f["dropped"] for f in fields] for fields in later] == [[], [], [], [], [], [5], []]


def test_it_signs_with_the_coalitions_keys_only() -> None:
    node = shell_of(Canned(), coalition=("n5", "n6")).node
    statement = bytes(32)
    assert node.sign(statement) == signer_of("n6").sign(statement)
    assert node.sign(statement, "n5") == signer_of("n5").sign(statement)
    assert tuple(node.coalition) == ("n5", "n6")
    with pytest.raises(KeyError):
        node.sign(statement, "n0")


def test_it_follows_the_view_of_its_core() -> None:
    shell = shell_of(Canned(Emit("enter", {"view": 9, "via": "timeout"})))
    receive(shell, "n1", ASK)
    assert shell.node.view == shell.view == 9


def test_members_share_one_blackboard() -> None:
    config, hub = small_config(7), MemoryHub()

    def member(me: str) -> CorruptedNodeShell:
        signers = {n: signer_of(n) for n in ("n5", "n6")}
        return CorruptedNodeShell(Canned(), me, Committee(config), domain_of(config), signers, [], hub.join(me))

    one, other = member("n5"), member("n6")
    one.node.share("plan", [1, b"x"])
    assert one.node.blackboard == {"plan": [1, b"x"]} and other.node.blackboard == {}
    receive(other, "n1", ASK)
    assert other.node.blackboard == {"plan": [1, b"x"]}


class Raises(Behaviour):
    name = "raises"

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        raise LookupError("my attack has a bug")


@pytest.mark.parametrize("stack", [(Marks(1), Raises()), (Acts(("n99", VOTE)),)])
def test_a_behaviour_that_fails_is_reported_and_stops_the_process(stack: tuple[Behaviour, ...]) -> None:
    shell = shell_of(Canned(Send("n1", VOTE)), *stack)
    out = receive(shell, "n1", ASK, now=5)
    reason = emitted(out, "halt")[0]["reason"]
    assert ("my attack has a bug" in reason and "test_byzantine_wrapper.py" in reason) or "n99" in reason
    assert len(emitted(out, "behaviour")) == len(stack)  # the last receipts are not lost
    assert SetTimer(HALT, 5 + TICK_NS) in out
    assert receive(shell, "n1", ASK, now=6) == []  # silent
    with pytest.raises(BehaviourError):
        shell.step(5 + TICK_NS, Expire(HALT))


def test_a_note_that_cannot_be_packed_stops_the_process_too() -> None:
    class Shares(Behaviour):
        def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
            node.share("x", object())
            return ()

    assert "cannot be packed" in emitted(receive(shell_of(Canned(), Shares()), "n1", ASK), "halt")[0]["reason"]


def test_messages_to_itself_go_nowhere() -> None:
    assert sends(receive(shell_of(Canned(), Acts(("n6", VOTE), ("n1", VOTE))), "n1", ASK)) == [("n1", VOTE)]


# ---------------------------------------------------------------- triggers and mistakes
class Mute(Behaviour):
    """Says nothing; `when` follows the events that it sees."""

    def __init__(self, stop: str = "") -> None:
        super().__init__()
        self.stop = stop
        self.on = True

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        return ()

    def emit(self, node: CorruptedNode, event: str, fields: dict[str, Any]) -> None:
        self.on = event != self.stop

    def when(self, node: CorruptedNode) -> bool:
        return self.on


@pytest.mark.parametrize(
    ("trigger", "silent"),
    [
        (Trigger(views=(4, 5)), [4, 5]),
        (Trigger(event={"event": "enter", "view": 4}), [4, 5, 6]),
        (Trigger(event={"event": "enter", "view": 4}, views=(5, 9)), [5, 6]),
        (Trigger(event={"event": "certify"}), []),
    ],
)
def test_views_and_events_open_a_behaviour(trigger: Trigger, silent: list[int]) -> None:
    core = Canned()
    shell = shell_of(core, Mute())
    shell.stack[0].trigger = trigger
    found = []
    for view in (3, 4, 5, 6):
        core.effects = (Emit("enter", {"view": view}), Send("n1", VOTE))
        if not sends(receive(shell, "n1", ASK)):
            found.append(view)
    assert found == silent


def test_a_behaviours_own_trigger_hears_events_while_it_is_off() -> None:
    core = Canned(Emit("enter", {"view": 3}), Send("n1", VOTE))
    shell = shell_of(core, Mute(stop="enter"))
    assert sends(receive(shell, "n1", ASK)) == [("n1", VOTE)]
    core.effects = (Emit("certify", {"view": 3}), Send("n1", VOTE))
    assert sends(receive(shell, "n1", ASK)) == []


class Returns(Behaviour):
    """A hook that gives back what no hook may."""

    def __init__(self, hook: str, value: Any) -> None:
        super().__init__()
        setattr(self, hook, lambda *_: value)


@pytest.mark.parametrize(
    ("hook", "value", "says"),
    [
        ("send", None, "send returned None; it must yield (recipient, message) pairs"),
        ("act", [VOTE], "act yielded CommitVote"),
        ("act", [("n1", "hello")], "act yielded ('n1', 'hello')"),
        ("act", [("n99", VOTE)], "act sends to 'n99'; nodes are"),
        ("receive", True, "receive returned True; it must return a message, or None"),
    ],
)
def test_nonsense_from_a_hook_is_named(hook: str, value: Any, says: str) -> None:
    shell = shell_of(Canned(Send("n1", VOTE)), Marks(1), Returns(hook, value))
    out = receive(shell, "n1", ASK)
    assert says in emitted(out, "halt")[0]["reason"]
    errors = {e["name"]: e.get("error", "") for e in emitted(out, "behaviour")}
    assert says in errors["Returns"] and not errors["marks"]  # the one at fault, and no other


def test_the_receipt_holds_the_traceback_from_the_attacks_own_file_on() -> None:
    out = receive(shell_of(Canned(Send("n1", VOTE)), Raises()), "n1", ASK)
    first, *rest = emitted(out, "behaviour")[-1]["error"].splitlines()
    assert "test_byzantine_wrapper.py:" in first and first.endswith("LookupError: my attack has a bug")
    assert "wrapper.py" in rest[1] and "in act" in rest[1] and "faults/byzantine/wrapper.py" not in "".join(rest)
