"""The checker `linearizable`: golden histories, reading values, limits, explanation and picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from checkers.linear.calls import registers
from checkers.linear.decide import decide
from checkers.linear.search import Limits, Search
from checkers.linearizable import Linearizable
from harness.bench.registers import Load, simulate
from harness.expectations import names_to_judge
from harness.judging import open_run
from results.history import Operation
from results.report.linear import draw, pictures, write_pictures
from results.verdict import Status, Verdict
from tests.golden.make import histories
from tests.golden.registers import records
from tests.linear_oracle import by_permutation, operations

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = sorted((GOLDEN / "linearizable" / "histories").glob("*.jsonl"))
KINDS = {
    "bad-back-in-time": "stale-read",
    "bad-cas-of-another-value": "impossible-cas",
    "bad-cas-twice": "impossible-cas",
    "bad-cas-without-effect": "stale-read",
    "bad-failed-write-seen": "unwritten-read",
    "bad-info-write-undone": "stale-read",
    "bad-initial-value-after-write": "stale-read",
    "bad-lost-write": "stale-read",
    "bad-one-key-of-two": "stale-read",
    "bad-seen-before-it-began": "unwritten-read",
    "bad-stale-read": "stale-read",
    "bad-true-is-not-one": "stale-read",
    "bad-two-readers-disagree": "impossible-read",
    "bad-unwritten-read": "unwritten-read",
}


def judged(text: str, **limits: Any) -> Verdict:
    return Linearizable(**limits).over([msgspec.convert(record, Operation) for record in records(text)])


# ---------------------------------------------------------------- golden histories
def test_golden_histories_are_what_the_script_makes() -> None:
    made = histories()
    assert {str(path.relative_to(GOLDEN)) for path in FILES} == set(made)
    assert all((GOLDEN / name).read_bytes() == lines for name, lines in made.items())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_histories(path: Path) -> None:
    """As `moonquake check FILE --checker linearizable` reads them."""
    found = Linearizable().check(open_run(path))
    if path.stem.startswith("ok-"):
        assert found.status is Status.PASS and found.examined > 0
        return
    assert found.status is Status.FAIL
    assert [anomaly.kind for anomaly in found.anomalies] == [KINDS[path.stem]]


@pytest.mark.parametrize("path", [path for path in FILES if "key" not in path.stem], ids=lambda path: path.stem)
def test_golden_histories_hold_by_permutation(path: Path) -> None:
    assert by_permutation(operations(path.stem)) == path.stem.startswith("ok-")


# ---------------------------------------------------------------- values
def test_without_operations_on_registers_it_is_unknown() -> None:
    history = [Operation(0, 1, 0, "invoke", "txn", [["r", 1, None]]), Operation(1, 2, "nemesis", "info", "write", 3)]
    found = Linearizable().over(history)
    assert found.status is Status.UNKNOWN and "no operation on a register" in found.reason


def test_reads_that_never_ended_are_not_examined() -> None:
    assert judged("0 read null; 1 read null; 1 info").status is Status.UNKNOWN
    assert judged("0 read null; 1 write 1; 1 ok").examined == 1


def test_lists_as_values_of_one_register() -> None:
    assert judged("0 write [1,2]; 0 ok; 1 read null; 1 ok [1,2]").status is Status.PASS
    assert judged("0 write [1,2]; 0 ok; 1 read null; 1 ok [1,3]").status is Status.FAIL


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0 write 1; 0 ok; 1 read [1,null]; 1 ok [1,1]", "record 2 has a key ([key, value]), record 0 has none"),
        ("0 cas 5; 0 ok", "history record 0: the value of a cas must be [old, new], not 5"),
        ("0 read [1,null]; 0 ok 3", "history record 1: the value of a read must be [key, value], not 3"),
    ],
)
def test_values_that_are_none_are_unknown(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records(text)))
    found = Linearizable().check(open_run(path))
    assert found.status is Status.UNKNOWN and why in found.reason


def test_another_initial_value() -> None:
    assert judged("0 read null; 0 ok 0", initial=0).status is Status.PASS
    assert judged("0 read null; 0 ok null", initial=0).status is Status.FAIL


@pytest.mark.parametrize(("name", "status"), [("ok-one-after-the-other", "UNKNOWN"), ("bad-stale-read", "FAIL")])
def test_missing_records_cannot_pass(tmp_path: Path, name: str, status: str) -> None:
    path = tmp_path / "history.jsonl"
    lines = (GOLDEN / "linearizable" / "histories" / f"{name}.jsonl").read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[1:]))  # the first invocation is gone
    found = Linearizable().check(open_run(path))
    assert found.status.value == status
    assert any("has index 1" in flaw for flaw in found.measures["flaws_of_the_records"])


def test_it_is_judged_where_it_is_named() -> None:
    registered = ["fork", "linearizable", "receipts"]
    assert names_to_judge([], {}, registered) == ["fork", "receipts"]
    assert names_to_judge(["linearizable"], {}, registered) == ["linearizable", "receipts"]
    assert "linearizable" in names_to_judge([], {"violate": ["linearizable"]}, registered)


# ---------------------------------------------------------------- limits
def hard(seed: int = 1) -> list[Operation]:
    """Twenty clients, values that repeat, one read of a value long gone: thousands of steps do not decide it."""
    history = simulate(Random(seed), Load(20, 300, values=50))
    reads = [operation for operation in history if operation.f == "read" and operation.type == "ok"]
    reads[-1].value = reads[0].value
    return history


@pytest.mark.parametrize(("limits", "why"), [((5000, 10**6), "steps"), ((10**6, 500), "configurations in memory")])
def test_beyond_the_limits_it_is_unknown(limits: tuple[int, int], why: str) -> None:
    found = Linearizable(None, *limits).over(hard())
    assert found.status is Status.UNKNOWN and "gave up" in found.reason and why in found.reason
    assert "no place was found for: process" in found.reason
    (undecided,) = found.measures["undecided"]
    assert [one["role"] for one in undecided["operations"]].count("stopped") == 1
    assert len(pictures([found])) == 1


def test_limits_are_kept() -> None:
    (register,) = registers(hard())
    for steps, configurations in ((2000, 10**6), (10**7, 300)):
        search = Search(register.calls, Limits(steps, configurations))
        stop = search.run()
        assert stop is not None and stop.reason
        assert search.steps < steps + 2 * len(register.calls) and search.configurations < configurations + 1000


def test_a_hard_key_does_not_starve_the_others() -> None:
    history = [msgspec.structs.replace(one, value=["hard", one.value]) for one in hard()]
    for number, one in enumerate(simulate(Random(2), Load(4, 200, 5, 3, 0.5, 0.2))):
        process = 1000 + int(one.process)
        history.append(msgspec.structs.replace(one, index=len(history), process=process, time=10**12 + number))
    found = Linearizable(steps=20_000).over(history)
    assert found.measures["keys"] == 6 and found.measures["keys_undecided"] == 1
    assert found.reason.startswith('key "hard": gave up')


def test_a_violation_outweighs_what_is_undecided() -> None:
    history = [msgspec.structs.replace(one, value=["hard", one.value]) for one in hard()]
    for record in records('900 write ["x",1]; 900 ok; 900 read ["x",null]; 900 ok ["x",null]'):
        one = msgspec.convert(record, Operation)
        history.append(msgspec.structs.replace(one, index=len(history), time=10**12 + one.time))
    found = Linearizable(steps=20_000).over(history)
    assert found.status is Status.FAIL and found.measures["keys_undecided"] == 1
    assert [anomaly.summary[:8] for anomaly in found.anomalies] == ['key "x":']


def test_many_clients_on_unique_writes_need_no_search() -> None:
    (register,) = registers(simulate(Random(3), Load(200, 5000)))
    assert decide(register.calls, len(register.values), Limits(0, 0)).stop is None


# ---------------------------------------------------------------- explanation
def test_sentence_of_a_contradiction() -> None:
    (anomaly,) = judged("0 write 1; 0 ok; 0 write 2; 1 read null; 1 ok 2; 2 read null; 2 ok 1; 0 ok").anomalies
    assert anomaly.summary == (
        "there is no place for: process 2 read 1 (records 5 to 6). 1 came before 2: process 0 wrote 1 (records 0 to 1) "
        "before process 1 read 2 (records 3 to 4). 2 came before 1: process 1 read 2 (records 3 to 4) before process 2 "
        "read 1 (records 5 to 6). Each was written once. It could have read 2."
    )
    roles = {one["begin"]: one["role"] for one in anomaly.witness}
    assert roles == {0: "cause", 2: "placed", 3: "cause", 5: "stopped"}


def test_sentence_of_the_initial_value() -> None:
    (anomaly,) = judged("0 write 1; 0 ok; 1 read null; 1 ok null").anomalies
    assert "null came before 1: the register held it at first" in anomaly.summary
    assert anomaly.summary.endswith("It could have read 1.")


def test_sentence_of_the_search() -> None:
    (anomaly,) = judged("0 write 1; 0 ok; 0 write 2; 0 ok; 0 write 1; 0 ok; 1 read null; 1 ok 2").anomalies
    assert anomaly.summary == (
        "there is no place for: process 1 read 2 (records 6 to 7). The 3 operations that ended before record 7 can be "
        "put in order, but whatever the order, the register then holds 1"
    )
    assert [one.get("place") for one in anomaly.witness] == [1, 2, 3, None]
    assert anomaly.witness[-1]["could_hold"] == [1]


def test_a_cas_to_itself_is_a_cas() -> None:
    (anomaly,) = judged("0 write 1; 0 ok; 0 write 2; 0 ok; 1 cas [1,1]; 1 ok").anomalies
    assert anomaly.kind == "impossible-cas" and "process 1 replaced 1 by 1" in anomaly.summary
    assert anomaly.witness[-1]["value"] == [1, 1]


def test_long_values_are_cut_and_long_histories_too() -> None:
    writes = "; ".join(f"0 write {n}; 0 ok" for n in range(100))
    (anomaly,) = judged(f'{writes}; 1 read null; 1 ok "{"x" * 999}"').anomalies
    assert len(anomaly.summary) < 200 and len(anomaly.witness) <= 40


# ---------------------------------------------------------------- picture
def test_the_picture_shows_every_operation() -> None:
    (anomaly,) = judged("0 write 1; 0 ok; 7 write 2; 7 info; 1 read null; 1 ok 2; 1 read null; 1 ok 1").anomalies
    picture = draw(anomaly.witness, "a <title> & more")
    root = ET.fromstring(picture)
    words = ["".join(node.itertext()) for node in root.iter() if node.tag.endswith("text")]
    assert words[0] == "a <title> & more"
    assert {"process 0", "process 1", "process 7"} <= set(words)
    assert {"w 2", "r 1"} <= {word.split(": ")[-1] for word in words}
    dashed = [node for node in root.iter() if node.tag.endswith("rect") and node.get("stroke-dasharray")]
    assert len(dashed) == 1  # the write that never ended
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")


def test_pictures_are_written_for_what_failed_or_stopped(tmp_path: Path) -> None:
    failed = Linearizable().over(operations("bad-cas-twice"))
    stopped = Linearizable(steps=3).over(operations("bad-cas-twice"))
    passed = Linearizable().over(operations("ok-one-after-the-other"))
    assert (failed.status, stopped.status, passed.status) == (Status.FAIL, Status.UNKNOWN, Status.PASS)
    paths = write_pictures(tmp_path, [passed, failed, stopped])
    assert [path.name for path in paths] == ["linearizable-1.svg", "linearizable-2.svg"]
    for path in paths:
        assert "1→3" in path.read_text(encoding="utf-8")
    assert not pictures([passed])
