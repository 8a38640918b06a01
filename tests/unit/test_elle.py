"""The transactional checkers: golden histories, models, proofs, and what they cannot judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from checkers.elle import cycles, models
from checkers.elle.judge import ElleJudge
from checkers.elle_list_append import ElleListAppend
from checkers.elle_rw_register import ElleRwRegister
from harness.expectations import names_to_judge
from results.alone import HistoryAlone
from results.history import Operation
from results.records import of_operations
from results.transactions import Transactions, load
from results.verdict import Status, Verdict
from tests.golden import transactions
from tests.golden.transactions import KINDS, TEXTS, records

GOLDEN = Path(__file__).parent.parent / "golden"
CHECKERS: dict[str, type[ElleJudge]] = {"elle-list-append": ElleListAppend, "elle-rw-register": ElleRwRegister}
CASES = [(checker, name) for checker, texts in TEXTS.items() for name in texts]


def loaded(text: str) -> Transactions:
    return load("h", of_operations([msgspec.convert(record, Operation) for record in records(text)]))


def lists(text: str, consistency: str = models.DEFAULT) -> Verdict:
    return ElleListAppend(consistency).over(loaded(text))


def registers(text: str, consistency: str = models.DEFAULT) -> Verdict:
    return ElleRwRegister(consistency).over(loaded(text))


def kinds(verdict: Verdict) -> set[str]:
    return {anomaly.kind for anomaly in verdict.anomalies}


# ---------------------------------------------------------------- golden histories
def test_golden_histories_are_what_the_script_makes() -> None:
    made = transactions.histories()
    files = [path for checker in CHECKERS for path in (GOLDEN / checker / "histories").iterdir()]
    assert {str(path.relative_to(GOLDEN)) for path in files} == set(made)
    assert all((GOLDEN / name).read_bytes() == lines for name, lines in made.items())


@pytest.mark.parametrize(("checker", "name"), CASES)
def test_golden_histories(checker: str, name: str) -> None:
    """Each shows the kinds it is for, and no others; every anomaly has a sentence and the records behind it."""
    found = CHECKERS[checker]().check(HistoryAlone(GOLDEN / checker / "histories" / f"{name}.jsonl"))
    if name.startswith("ok-"):
        assert found.status is Status.PASS and found.examined > 0
        return
    assert found.status is Status.FAIL
    assert kinds(found) == set(found.measures["kinds"]) == KINDS[checker][name]
    for anomaly in found.anomalies:
        assert len(anomaly.summary) > 40
        assert any("value" in record and "line" in record for record in anomaly.witness)


def test_every_kind_has_a_golden_history() -> None:
    """But ww cycles of registers: in what order blind writes came is known by real time alone."""
    every = {kind for model in models.MODELS for kind in models.ruled_out(model)}
    cyclic = {f"cyclic-versions{suffix}" for suffix in ("", "-process", "-realtime")}
    shown = {checker: set().union(*KINDS[checker].values()) for checker in KINDS}
    assert shown["elle-list-append"] == every - cyclic
    of_lists = {"duplicate-elements", "incompatible-order"}
    assert shown["elle-rw-register"] == every - of_lists - {"G0-process", "G0-realtime"}


# ---------------------------------------------------------------- models
@pytest.mark.parametrize(("checker", "name"), [case for case in CASES if case[1].startswith("bad-")])
@pytest.mark.parametrize("model", models.MODELS)
def test_a_weaker_model_allows_what_only_stronger_ones_rule_out(checker: str, name: str, model: str) -> None:
    found = CHECKERS[checker](model).over(loaded(TEXTS[checker][name]))
    expected = KINDS[checker][name] & models.ruled_out(model)
    if checker == "elle-list-append":
        assert kinds(found) == expected
    else:  # what is inferred depends on the model: a weaker one may see less
        assert kinds(found) <= models.ruled_out(model)
    assert found.status is (Status.FAIL if kinds(found) else Status.PASS)


@pytest.mark.parametrize(
    ("kind", "weakest"),
    [
        ("G0", ["read-uncommitted"]),
        ("G1c", ["read-committed"]),
        ("G-single", ["consistent-view", "repeatable-read"]),
        ("G-nonadjacent", ["snapshot-isolation", "repeatable-read"]),
        ("G2-item", ["repeatable-read"]),
        ("lost-update", ["cursor-stability"]),
        ("G-single-realtime", ["strong-snapshot-isolation"]),
        ("G2-item-process", ["strong-session-serializable"]),
        ("G2-item-realtime", ["strict-serializable"]),
    ],
)
def test_the_weakest_models_that_an_anomaly_refutes(kind: str, weakest: list[str]) -> None:
    assert models.violated([kind]) == weakest


def test_models_that_promise_more_rule_out_more() -> None:
    for model in models.MODELS:
        for weaker in models.implied(model):
            assert models.ruled_out(weaker) <= models.ruled_out(model)
    assert all(models.canonical(alias) in models.MODELS for alias in models.ALIASES)
    with pytest.raises(ValueError, match="no consistency model 'serialisable'; there are"):
        ElleListAppend("serialisable")


def test_what_the_model_allows_is_told_all_the_same() -> None:
    found = lists(TEXTS["elle-list-append"]["bad-lost-update"], "read-committed")
    assert found.status is Status.PASS
    assert found.measures["allowed"] == {"lost-update": 1}


# ---------------------------------------------------------------- proofs
def test_a_cycle_is_proven_in_words() -> None:
    (anomaly,) = lists("0 a:x:1 a:y:1; 1 r:x r:y; 1 ok [1] []; 0 ok; 2 r:y; 2 ok [1]").anomalies
    assert anomaly.summary == (
        "T1 read [] of key y and T2 appended 1 to it, so T1 < T2 (rw); "
        "T2 appended 1 to key x and T1 read [1] of it, so T2 < T1 (wr). So T1 < T2 < T1: a cycle (G-single)"
    )
    assert [record.get("transaction") for record in anomaly.witness] == ["T1", "T2", None, None]
    assert anomaly.witness[0]["value"] == [["r", "x", [1]], ["r", "y", []]]
    assert anomaly.witness[2] == {
        "from": "T1", "to": "T2", "edge": "rw",
        "because": "T1 read [] of key y and T2 appended 1 to it, so T1 < T2 (rw)",
    }  # fmt: skip


def test_an_acknowledged_append_that_nobody_read_is_later_than_what_was_read() -> None:
    (anomaly,) = lists("0 a:x:1; 0 ok; 1 r:x; 1 ok []").anomalies
    assert "1 to it, which is in no read, hence later" in anomaly.summary
    assert "T2 had ended before T1 began" in anomaly.summary


def test_registers_say_how_versions_were_ordered() -> None:
    (anomaly,) = registers("0 w:x:1; 0 ok; 1 w:x:2; 1 ok; 2 r:x; 2 ok 1").anomalies
    assert "the versions of key x go in a circle" in anomaly.summary
    assert "had ended before" in anomaly.summary
    assert {record["process"] for record in anomaly.witness} == {0, 1, 2}


def test_the_shortest_cycle_is_told() -> None:
    """Six transactions in a ring, and a chord that makes a ring of three."""
    ring = "; ".join(
        f"{i} r:{(i - 1) % 6} a:{i}:1" + (" r:c" if i == 3 else " a:c:1" if i == 0 else "") for i in range(6)
    )
    ends = "; ".join(f"{i} ok [1]" + (" [1]" if i == 3 else "") for i in range(6))
    (anomaly,) = lists(f"{ring}; {ends}").anomalies
    assert anomaly.kind == "G1c" and anomaly.summary.endswith("T1 < T2 < T3 < T4 < T1: a cycle (G1c)")


def test_what_a_bound_left_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycles, "MOST_STARTS", 1)
    pairs = [f"{i} a:x{i}:1 r:y{i}; {i + 10} a:y{i}:1 r:x{i}; {i} ok [1]; {i + 10} ok [1]" for i in range(3)]
    found = lists("; ".join(pairs))
    assert found.status is Status.FAIL and found.measures["components"] == 3
    assert any("G1c: cycles through 1 of 2 edges" in text for text in found.measures["not_searched"])
    assert all("there may be a shorter one" in anomaly.summary for anomaly in found.anomalies)
    monkeypatch.setattr(cycles, "MOST_COMPONENTS", 1)
    assert "2 further strongly connected components" in lists("; ".join(pairs)).measures["not_searched"]
    monkeypatch.setattr(cycles, "MOST_VISITS", 0)
    assert lists("; ".join(pairs)).status is Status.FAIL  # the bound costs the shortest cycle, never the verdict


# ---------------------------------------------------------------- what cannot be judged
@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (lists("0 a:x:1; 0 info"), "no transaction that ended ok read anything"),
        (lists("0 a:x:1; 0 ok"), "no transaction that ended ok read anything"),
        (lists("0 a:x:1; 0 ok; 0 a:x:1; 0 ok; 1 r:x; 1 ok [1]"), "1 is appended to key x twice (h and h)"),
        (registers("0 w:x:1; 0 ok; 0 w:x:1; 0 info; 1 r:x; 1 ok 1"), "1 is written to key x twice"),
    ],
)
def test_unknown(verdict: Verdict, reason: str) -> None:
    assert verdict.status is Status.UNKNOWN and reason in verdict.reason


def test_a_failed_append_may_be_tried_again_with_the_same_value() -> None:
    assert lists("0 a:x:1; 0 fail; 0 a:x:1; 0 ok; 1 r:x; 1 ok [1]").status is Status.PASS


@pytest.mark.parametrize(
    ("checker", "text", "reason"),
    [
        ("elle-list-append", "0 w:x:1; 0 ok", "value[0]: [w x ..]: not of a list-append history; elle-rw-register"),
        ("elle-list-append", "0 a:x:1 r:x; 0 ok 1", "value[1]: [r x ..]: a read of list-append shows a list"),
        ("elle-rw-register", "0 a:x:1; 0 ok", "value[0]: [append x ..]: not of a register history; elle-list-append"),
        ("elle-rw-register", "0 w:x:1 r:x; 0 ok [1]", "value[1]: [r x ..]: a read of a register shows one value"),
    ],
)
def test_the_other_kind_of_history(tmp_path: Path, checker: str, text: str, reason: str) -> None:
    path = tmp_path / "h.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records(text)))
    found = CHECKERS[checker]().check(HistoryAlone(path))
    assert found.status is Status.UNKNOWN and f"{path}:2: {reason}" in found.reason


def test_a_history_without_transactions_says_what_there_is(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"type": kind, "index": index, "process": 0, "f": "transfer"} for index, kind in enumerate(("invoke", "ok"))
    ]
    path = tmp_path / "h.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    found = ElleListAppend().check(HistoryAlone(path))
    assert found.status is Status.UNKNOWN and "no transaction (an operation txn), only 1 transfer" in found.reason


def test_an_ok_before_execution_is_not_yet_one() -> None:
    history = [msgspec.convert(record, Operation) for record in records("0 a:x:1; 0 ok; 1 r:x; 1 ok []")]
    assert ElleListAppend().over(load("h", of_operations(history))).status is Status.FAIL
    history[1].phase = "pre"
    early = load("h", of_operations(history))
    found = ElleListAppend().over(early)
    assert found.status is Status.PASS and found.measures["ok_before_execution"] == 1
    history[1].phase = "exec"
    assert ElleListAppend().over(load("h", of_operations(history))).status is Status.FAIL


def test_list_append_runs_are_judged_by_it_and_no_others() -> None:
    registered = ["elle-list-append", "elle-rw-register", "fork", "receipts"]
    assert names_to_judge(["fork"], {}, registered, "list-append") == ["fork", "elle-list-append", "receipts"]
    assert names_to_judge([], {}, registered, "transfers") == ["fork", "receipts"]
    assert "elle-rw-register" not in names_to_judge([], {}, registered, "list-append")
