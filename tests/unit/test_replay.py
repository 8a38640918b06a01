"""Replay: identical byte for byte, or the first record that differs; and what a planted nondeterminism looks like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import cli, versions
from harness.backends.sim.backend import SimBackend
from harness.commands import plan_of, read_scenario, run_plan
from harness.fingerprint import Request, chunk_digests, compare, fingerprint, first_difference
from harness.outcome import Exit, UsageError
from harness.progress import Observer
from harness.provision import clean
from harness.replay import differing, first_divergence, replay
from results.history import HistoryError
from results.store import Run
from tests.runs import small_info, write_run
from tests.unit.scenarios import MINIMAL

# A behaviour that lets the order of a set of strings decide to whom it does not propose.
DICE = """
from faults.byzantine.port import Behaviour


class Dice(Behaviour):
    def __init__(self):
        super().__init__()
        self.sent = 0
        self.order = list({f"n{node}/{number}" for node in range(4) for number in range(20)})

    def send(self, node, to, message):
        self.sent += 1
        if self.order[self.sent % len(self.order)].startswith(to + "/"):
            self.receipt.dropped += 1
            return
        yield to, message
"""
TINY = (
    MINIMAL.replace('expect = "hold"', 'expect = "hold"\ndescription = "small"')
    .replace("500ms", "1s")
    .replace('"lan"', '"uniform:20"')
)


def attacked(directory: Path) -> str:
    """The tiny scenario with one corrupted node that throws the dice."""
    attack = directory / "dice.py"
    attack.write_text(DICE)
    return TINY + f'[adversary]\nnodes = ["n1"]\n[[adversary.behaviour]]\nuse = "{attack}:Dice"\n'


def recorded(directory: Path, text: str = TINY, seed: int = 3) -> Path:
    """A run directory of the scenario on the simulator."""
    path = directory / "tiny.toml"
    path.write_text(text)
    plan = plan_of(read_scenario(str(path)), seed, SimBackend.scheme)
    return run_plan(plan, SimBackend(), directory / "runs", (), Observer()).directory


def values(text: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(text)


def test_a_replay_is_identical(tmp_path: Path) -> None:
    directory = recorded(tmp_path)
    done = replay(directory)
    assert done.identical
    assert done.trial.digest == done.recorded_digest
    assert done.changed == {}
    assert done.document()["divergence"] is None


def test_one_changed_byte_is_found_and_named(tmp_path: Path) -> None:
    directory = recorded(tmp_path)
    trace = directory / "trace.jsonl"
    lines = trace.read_bytes().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if b'"finalise"' in line)
    old = msgspec.json.decode(lines[at])
    lines[at] = lines[at].replace(b'"view":', b'"view":1')
    trace.write_bytes(b"".join(lines))
    found = replay(directory).divergence
    assert found is not None
    assert (found.file, found.record, found.time, found.node) == ("trace.jsonl", at + 1, old["time"], old["node"])
    assert found.event == "finalise"
    assert found.recorded == lines[at].decode().rstrip("\n")
    assert found.replayed is not None and json.loads(found.replayed) == old
    assert found.before == [line.decode().rstrip("\n") for line in lines[at - 3 : at]]


def test_records_that_end_too_soon_differ_where_they_end(tmp_path: Path) -> None:
    directory = recorded(tmp_path)
    history = directory / "history.jsonl"
    lines = history.read_bytes().splitlines(keepends=True)
    history.write_bytes(b"".join(lines[:-2]))
    found = replay(directory).divergence
    assert found is not None
    assert (found.file, found.record, found.recorded) == ("history.jsonl", len(lines) - 1, None)
    assert found.replayed is not None


def test_another_version_is_named(tmp_path: Path) -> None:
    directory = recorded(tmp_path)
    path = directory / "run.json"
    info = json.loads(path.read_bytes())
    assert info["versions"]["code"] == versions.code_digest()
    info["versions"]["code"] = "0123456789abcdef"
    path.write_text(json.dumps(info))
    done = replay(directory)
    assert done.identical
    assert done.changed == {"code": ("0123456789abcdef", versions.code_digest())}


def test_the_earliest_difference_of_both_files_counts() -> None:
    old = {"trace.jsonl": b'{"time":9,"node":"n0","event":"vote"}\n', "history.jsonl": b'{"time":5,"process":1}\n'}
    new = {"trace.jsonl": b'{"time":8,"node":"n0","event":"vote"}\n', "history.jsonl": b'{"time":6,"process":1}\n'}
    found = first_divergence(old, new)
    assert found is not None and (found.file, found.node) == ("history.jsonl", "1")
    assert first_divergence(old, old) is None


def test_a_damaged_record_differs_without_being_understood() -> None:
    found = differing("trace.jsonl", [b"a\n", b"{\xff\n"], [b"a\n", b'{"time":4,"node":"n1","event":"vote"}\n'])
    assert found is not None
    assert (found.record, found.node, found.event, found.time) == (2, "n1", "vote", 4)
    assert found.recorded == "{\\xff"


# ---------------------------------------------------------------- what cannot be replayed
def test_another_backend_is_refused_with_what_can_be_done(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    write_run(directory, small_info(backend="docker"), [], [], [])
    with pytest.raises(UsageError, match=r"--backend docker --seed 7.*--backend sim can be replayed"):
        replay(directory)


@pytest.mark.parametrize(("change", "says"), [({"interrupted": True}, "was interrupted"), ({}, "run.json")])
def test_runs_without_whole_records_are_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    directory = tmp_path / "run"
    write_run(directory, small_info(backend="sim", **change), [], [], [])
    if not change:
        (directory / "run.json").unlink()
    with pytest.raises((UsageError, HistoryError), match=says):
        replay(directory)


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run directory"):
        replay(tmp_path / "absent")


def test_an_attack_file_that_is_gone_is_named(tmp_path: Path) -> None:
    directory = recorded(tmp_path, attacked(tmp_path))
    (tmp_path / "dice.py").unlink()
    with pytest.raises(UsageError, match=r"dice\.py"):
        replay(directory)


# ---------------------------------------------------------------- fresh processes, other hash seeds
def test_two_hash_seeds_give_one_digest() -> None:
    """What CI compares: a scenario with a partition and Byzantine leaders, in two fresh processes."""
    scenario = read_scenario("equivocating-leader-under-partition", time="7s")
    requests = [Request(scenario.raw, seed) for seed in (1, 2)]
    found = list(compare(requests))
    assert [divergence for _, _, divergence in found] == [None, None]
    here = [fingerprint(request).digest for request in requests]  # this process has a third hash seed, mostly
    assert [digest for _, digest, _ in found] == here
    assert here[0] != here[1]


def test_a_planted_set_order_is_caught_and_named(tmp_path: Path) -> None:
    [(_, digest, found)] = compare([Request(values(attacked(tmp_path)), 5)], ("1", "3"))
    assert digest
    assert found is not None
    assert found.file == "trace.jsonl"
    assert found.recorded != found.replayed
    assert found.record > 1 and found.node and found.event


def test_replay_catches_it_through_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(attacked(tmp_path))

    def command(hash_seed: str, *words: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-m", "harness.cli", *words, "--json"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )
        return done.returncode, json.loads(done.stdout)

    _, ran = command("1", "run", str(tmp_path / "s.toml"), "--backend", "sim", "--runs", str(tmp_path / "runs"))
    code, same = command("1", "replay", ran["run"])
    assert (code, same["identical"], same["digest"]) == (Exit.AS_EXPECTED, True, ran["digest"])
    code, other = command("3", "replay", ran["run"])
    assert (code, other["identical"]) == (Exit.SURPRISE, False)
    assert other["digest"] != ran["digest"] == other["recorded_digest"]
    assert other["divergence"]["record"] >= 1


def test_chunks_name_the_place() -> None:
    data = b"".join(b'{"n":%d}\n' % i for i in range(10))
    changed = data.replace(b'{"n":7}', b'{"n":8}')
    assert len(chunk_digests(data, 3)) == 4
    assert [a == b for a, b in zip(chunk_digests(data, 3), chunk_digests(changed, 3), strict=True)] == [
        True, True, False, True,
    ]  # fmt: skip
    one = fingerprint(Request(values(TINY), 1))
    assert first_difference(one, one) is None
    longer = msgspec.structs.replace(one, chunks={**one.chunks, "trace.jsonl": [*one.chunks["trace.jsonl"], "0"]})
    assert first_difference(one, longer) == ("trace.jsonl", len(one.chunks["trace.jsonl"]))


# ---------------------------------------------------------------- the command
@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setattr(clean, "sweep", lambda progress: [])

    def call(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().out

    return call


def test_the_command_says_identical_with_the_digest(tmp_path: Path, command: Any) -> None:
    directory = recorded(tmp_path)
    code, out = command("replay", str(directory), "--json")
    assert code == Exit.AS_EXPECTED
    document = json.loads(out)
    assert document["digest"] == document["recorded_digest"]
    assert [v["property"] for v in document["verdicts"]] == [v.property for v in Run(directory).verdicts]
    code, out = command("replay", str(directory))
    assert code == Exit.AS_EXPECTED
    assert f"identical, byte for byte\ndigest: {document['digest']}" in out


def test_the_command_shows_both_versions(tmp_path: Path, command: Any) -> None:
    directory = recorded(tmp_path)
    trace = directory / "trace.jsonl"
    trace.write_bytes(trace.read_bytes().replace(b'"event":"vote"', b'"event":"vota"', 1))
    code, out = command("replay", str(directory))
    assert code == Exit.SURPRISE
    assert "NOT identical: first difference in trace.jsonl, record" in out
    assert '"vota"' in out and '"vote"' in out


@pytest.mark.parametrize("words", [("replay", "nothing-here"), ("replay",)])
def test_the_command_refuses_nonsense(words: tuple[str, ...], command: Any) -> None:
    code, _ = command(*words)
    assert code == Exit.USAGE
