"""Was it as expected? An answer that nothing but the named evidence may give."""

from __future__ import annotations

import pytest

from harness.expectations import NEVER, as_expected, exit_code, names_to_judge
from harness.outcome import Exit
from results.verdict import Anomaly, Status, Verdict

HOLD = {"hold": True}
FORK = {"violate": ["fork"], "hold": ["prefix"]}


def passed(name: str) -> Verdict:
    return Verdict(name, Status.PASS, 1)


def unknown(name: str) -> Verdict:
    return Verdict(name, Status.UNKNOWN, 0, reason="a trace is missing")


def failed(name: str, kind: str = "fork") -> Verdict:
    return Verdict(name, Status.FAIL, 1, [Anomaly(kind, "what happened", [{"node": "n1"}])])


@pytest.mark.parametrize("expect", [HOLD, FORK])
def test_no_verdict_is_no_answer(expect: dict[str, object]) -> None:
    assert as_expected(expect, []) is None
    assert exit_code(None) is Exit.INCONCLUSIVE


def test_unknown_is_never_a_pass() -> None:
    assert as_expected(HOLD, [passed("fork"), passed("receipts")]) is True
    assert as_expected(HOLD, [unknown("fork"), passed("receipts")]) is None
    assert as_expected(HOLD, [passed("fork"), unknown("receipts")]) is None
    assert as_expected(HOLD, [unknown("fork"), failed("prefix"), passed("receipts")]) is False
    assert as_expected(FORK, [unknown("fork"), passed("prefix"), passed("receipts")]) is None


def test_a_run_that_nobody_asked_whether_it_bit_is_open() -> None:
    assert as_expected(HOLD, [passed("fork")]) is None
    assert as_expected(FORK, [failed("fork"), passed("prefix")]) is None


def test_of_two_verdicts_of_one_property_the_worse_counts() -> None:
    for verdicts in ([failed("fork"), passed("fork")], [passed("fork"), failed("fork")]):
        assert as_expected(HOLD, [*verdicts, passed("receipts")]) is False
    assert as_expected(HOLD, [passed("fork"), unknown("fork"), passed("receipts")]) is None


def test_the_named_violation_must_be_found_and_the_attack_must_have_happened() -> None:
    rest = [passed("prefix"), passed("receipts")]
    assert as_expected(FORK, [failed("fork"), *rest]) is True
    assert as_expected(FORK, [passed("fork"), *rest]) is False
    assert as_expected(FORK, [failed("fork"), passed("prefix"), unknown("receipts")]) is None
    assert as_expected(FORK, [passed("fork"), passed("prefix"), unknown("receipts")]) is None
    assert as_expected(FORK, [unknown("fork"), failed("prefix", "gap"), unknown("receipts")]) is False
    assert as_expected(FORK, [failed("fork"), failed("prefix", "gap"), passed("receipts")]) is False
    assert as_expected(FORK, [failed("state-root", "false-root-certified"), *rest]) is None


@pytest.mark.parametrize("kind", sorted(NEVER))
def test_a_defect_of_honest_nodes_is_not_the_violation_that_was_meant(kind: str) -> None:
    assert as_expected(FORK, [failed("fork", kind), passed("prefix"), passed("receipts")]) is False


def test_receipts_are_always_judged_and_no_checker_twice() -> None:
    assert names_to_judge(["fork", "fork"], FORK, ["x"]) == ["fork", "receipts", "prefix"]
    assert names_to_judge([], {}, ["fork", "receipts"]) == ["fork", "receipts"]
