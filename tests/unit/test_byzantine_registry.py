from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from faults.byzantine.config import BehaviourSpec, ByzantineConfig
from faults.byzantine.mistakes import described
from faults.byzantine.registry import BEHAVIOURS, corrupt, load_behaviour, load_byzantine_config
from faults.byzantine.side_channel import LOAD_START, MAX_NOTE_BYTES, SideChannelError, UnixSideChannel, announce
from faults.registry import FAULTS, AttackFileError, registered, summary
from nodes.committee import Committee
from nodes.messages import BatchRequest
from tests.coalition import Canned, receive
from tests.driver import domain_of, seed_of, small_config

ATTACK = """
from faults.byzantine.port import Behaviour


class Mine(Behaviour):
    def __init__(self, strength=1):
        super().__init__()
        self.strength = strength
        if strength > 9:
            raise ValueError(f"strength = {strength}: at most 9")


class Forgetful(Behaviour):
    def __init__(self):
        self.x = 1


class Stranger:
    pass
"""


@pytest.fixture
def attack(tmp_path: Path) -> Path:
    path = tmp_path / "attack.py"
    path.write_text(ATTACK)
    return path


# ---------------------------------------------------------------- attack files
def test_an_attack_needs_no_install(attack: Path) -> None:
    mine: Any = load_behaviour(f"{attack}:Mine", {"strength": 3})
    assert mine.strength == 3 and not mine.receipt.bit


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("Mine", {"strenght": 3}, ["strenght", "strength"]),
        ("Mine", {"strength": 10}, ["strength = 10", "at most 9"]),
        ("Theirs", {}, ["Theirs", "Mine"]),
        ("Stranger", {}, ["Behaviour"]),
        ("Forgetful", {}, ["super().__init__()"]),
    ],
)
def test_what_is_wrong_with_an_attack_is_said(attack: Path, name: str, parameters: Any, words: list[str]) -> None:
    with pytest.raises(ValueError) as raised:
        load_behaviour(f"{attack}:{name}", parameters)
    assert all(word in str(raised.value) for word in words), raised.value


@pytest.mark.parametrize(
    ("text", "line"), [("x = 1\ny = (\n", 2), ("x = 1\n\nraise KeyError('mine')\n", 3), ("import nothing_like_it\n", 1)]
)
def test_an_error_in_an_attack_file_names_its_own_line(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(AttackFileError, match=rf"broken\.py:{line}: "):
        load_behaviour(f"{path}:X", {})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("import sys\nsys.exit(7)\n", 2),
        ("from faults.byzantine.port import Behaviour\nclass X(Behaviour):\n  def __init__(self):\n    1 / 0\n", 4),
    ],
)
def test_a_mistake_is_shown_with_the_traceback_from_the_file_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: int
) -> None:
    (tmp_path / "broken.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AttackFileError, match=rf"^broken\.py:{line}: ") as raised:
        load_behaviour("broken.py:X", {})
    frames = [part for part in str(raised.value).splitlines() if part.startswith("  File ")]
    assert len(frames) == 1 and f'broken.py", line {line}, in ' in frames[0]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            "def send(self, node, to): return ()",
            "mine.py:4: TypeError: Mine.send takes (node, to); the lab calls send(n",
        ),
        ("async def act(self, node): return ()", "mine.py:4: TypeError: Mine.act must not be async"),
        (
            "def recieve(self, node, sender, message): return None",
            "mine.py:4: TypeError: Mine.recieve is never called; di",
        ),
        ("act = staticmethod(lambda: ())", "mine.py:4: TypeError: Mine.act takes (); the lab calls act(node)"),
        ("receive = 3", "Mine.receive is 3; it must be a method receive(node, sender, message)"),
    ],
)
def test_a_hook_that_would_never_work_is_refused_at_its_line(tmp_path: Path, body: str, says: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"from faults.byzantine.port import Behaviour\n\nclass Mine(Behaviour):\n    {body}\n")
    with pytest.raises(AttackFileError) as raised:
        load_behaviour(f"{path}:Mine", {})
    assert says in str(raised.value)
    if "line" in says:
        assert f'File "{path}", line 4' in str(raised.value)


TYPED = """
from faults.byzantine.port import Behaviour

class Typed(Behaviour):
    def __init__(self, every: int, to: tuple[str, ...] = (), rate: float = 1.0, mode: str | None = None) -> None:
        super().__init__()
        self.given = every, to, rate, mode

    def _receive(self):
        \"\"\"A helper, no hook.\"\"\"
"""


def test_parameters_have_the_types_that_are_declared(tmp_path: Path) -> None:
    path = tmp_path / "typed.py"
    path.write_text(TYPED)
    made: Any = load_behaviour(f"{path}:Typed", {"every": 2, "to": ["n1"], "rate": 3})
    assert made.given == (2, ("n1",), 3.0, None) and isinstance(made.given[2], float)
    for wrong, says in (({"every": "2"}, "every = '2': Expected `int`, got `str`"), ({"to": [1]}, "to = [1]")):
        with pytest.raises(ValueError, match=re.escape(says)):
            load_behaviour(f"{path}:Typed", {"every": 1, **wrong})
    assert described(type(made)) == {
        "every": "int", "to": "tuple[str, ...] = []", "rate": "float = 1.0", "mode": "str | None = none"
    }  # fmt: skip


def test_a_missing_file_and_an_unknown_name() -> None:
    with pytest.raises(AttackFileError, match="no such file"):
        load_behaviour("nowhere.py:X", {})
    with pytest.raises(ValueError, match=r"no behaviour named 'doubel-voter'.*double-voter"):
        load_behaviour("doubel-voter", {})


def test_everything_registered_has_its_name_and_a_summary() -> None:
    for group, count in ((FAULTS, 7), (BEHAVIOURS, 9)):
        kinds: dict[str, Any] = registered(group)
        assert len(kinds) >= count
        for name, kind in kinds.items():
            assert kind.name == name
            assert 20 < len(summary(kind)) < 140 and summary(kind).endswith(".")


# ---------------------------------------------------------------- configuration
def config(**changes: Any) -> ByzantineConfig:
    base = ByzantineConfig("n6", {"n6": seed_of("n6").hex()}, "", 1, (BehaviourSpec(4, "silent-leader"),))
    return msgspec.structs.replace(base, **changes)


def test_byzantine_json_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "byzantine.json"
    path.write_bytes(msgspec.json.encode(config()))
    assert load_byzantine_config(path) == config()
    path.write_text('{"node": "n6", "spy": 1}')
    with pytest.raises(ValueError, match=r"byzantine\.json"):
        load_byzantine_config(path)
    with pytest.raises(ValueError, match="cannot be read"):
        load_byzantine_config(tmp_path / "absent.json")


def test_twins_with_another_key_are_refused(tmp_path: Path) -> None:  # I1
    cluster = small_config(7)
    with pytest.raises(ValueError, match="does not match its key"):
        corrupt(Canned(), Committee(cluster), domain_of(cluster), config(coalition={"n6": seed_of("n5").hex()}))
    with pytest.raises(ValueError, match="not in its own coalition"):
        corrupt(Canned(), Committee(cluster), domain_of(cluster), config(coalition={"n5": seed_of("n5").hex()}))


def test_the_shell_is_mounted_with_its_channel(tmp_path: Path) -> None:
    cluster = small_config(7)
    shell = corrupt(Canned(), Committee(cluster), domain_of(cluster), config(side_channel=str(tmp_path)))
    assert [(m.id, m.name) for m in shell.stack] == [(4, "silent-leader")]
    assert (tmp_path / "n6.sock").is_socket()
    receive(shell, "n1", BatchRequest(bytes(32)))


# ---------------------------------------------------------------- side channel
@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[UnixSideChannel, UnixSideChannel]]:
    one, two = (UnixSideChannel(tmp_path, me, ("n5", "n6")) for me in ("n5", "n6"))
    yield one, two
    one.close()
    two.close()


def test_notes_arrive(pair: tuple[UnixSideChannel, UnixSideChannel]) -> None:
    one, two = pair
    one.share("plan", {"x": [1, b"y"]})
    assert two.drain() == {"plan": {"x": [1, b"y"]}} and two.drain() == {} and one.drain() == {}


def test_a_member_that_starts_late_or_again_hears_everything(tmp_path: Path) -> None:
    one = UnixSideChannel(tmp_path, "n5", ("n5", "n6"))
    one.share("a", 1)
    two = UnixSideChannel(tmp_path, "n6", ("n5", "n6"))
    assert two.drain() == {} and one.drain() == {}  # greetings cross
    assert two.drain() == {"a": 1}
    two.close()
    one.share("b", 2)
    again = UnixSideChannel(tmp_path, "n6", ("n5", "n6"))  # over the socket that the killed process left
    assert again.drain() == {} and one.drain() == {}
    assert again.drain() == {"a": 1, "b": 2}
    again.close()
    one.close()


def test_the_lab_reaches_every_member_that_is_up(tmp_path: Path) -> None:
    members = ("n5", "n6")
    announce(tmp_path, members, LOAD_START, 1)  # nobody is there yet
    one = UnixSideChannel(tmp_path, "n5", members)
    for _ in range(2000):  # a member that does not listen is no reason to wait
        announce(tmp_path, members, LOAD_START, 2)
    two = UnixSideChannel(tmp_path, "n6", members)
    announce(tmp_path, members, LOAD_START, 2)
    assert one.drain() == two.drain() == {LOAD_START: 2}
    one.close()
    two.close()
    with pytest.raises(SideChannelError, match="cannot be told"):
        announce(tmp_path / ("d" * 120), members, LOAD_START, 2)


def test_a_path_that_is_too_long_for_a_socket_works_too(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    one, two = (UnixSideChannel(directory, me, ("n5", "n6")) for me in ("n5", "n6"))
    one.share("k", 1)
    assert two.drain() == {"k": 1}
    announce(directory, ("n5",), LOAD_START, 7)
    assert one.drain() == {LOAD_START: 7}
    one.close()
    two.close()


def test_notes_are_bounded_and_junk_is_named(pair: tuple[UnixSideChannel, UnixSideChannel], tmp_path: Path) -> None:
    one, two = pair
    with pytest.raises(SideChannelError, match="limit"):
        one.share("big", bytes(MAX_NOTE_BYTES))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"\xc1", str(tmp_path / "n6.sock"))
    with pytest.raises(SideChannelError, match="no member wrote"):
        two.drain()
    with pytest.raises(SideChannelError, match="writable directory"):
        UnixSideChannel(tmp_path / "absent", "n5", ("n5", "n6"))
