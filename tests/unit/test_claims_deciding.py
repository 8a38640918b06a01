"""Decision rules: a rule that cannot say all three words is worthless, so each is made to say them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from results import claim as model
from results.claim import Bound, Claim, ClaimsError, Finding, Interval, Printed, Sample, Uniform, register
from results.deciding import decide, touched

FIRST = {claim.id: claim for claim in register().values() if claim.tier == 1}
BOUNDS = [claim for claim in FIRST.values() if isinstance(claim.rule, Bound)]
INTERVALS = [claim for claim in FIRST.values() if isinstance(claim.rule, Interval)]
RESERVE = 400


def of(claim: Claim) -> Any:
    return claim.rule


def good(rule: Bound, number: int) -> Sample:
    """A judged run within the bound in which everything bit and every measure that must not be zero is one."""
    statuses = dict.fromkeys(rule.properties, "PASS")
    experiment = rule.within[number % len(rule.within)]
    return Sample(
        experiment, number, "within", f"kind {number % 3}", bit=True, statuses=statuses, index=number,
        measures=dict.fromkeys(rule.positive, 1),
    )  # fmt: skip


def broken(rule: Bound, number: int) -> Sample:
    """A run past the bound that broke as it must."""
    statuses = {rule.broken[0]: "FAIL"} | dict.fromkeys(rule.kept, "PASS")
    return Sample(
        rule.beyond[0], number, "beyond", bit=True, statuses=statuses, anomalies={rule.broken[0]: ["kind: seen"]}
    )


def enough(rule: Bound) -> list[Sample]:
    past = [broken(rule, number) for number in range(rule.broken_least)]
    return [good(rule, number) for number in range(RESERVE)] + past


@pytest.mark.parametrize("claim", BOUNDS, ids=lambda c: c.id)
def test_a_bound_holds_with_enough_evidence_only(claim: Claim) -> None:
    samples = enough(of(claim))
    full = decide(claim, samples)
    assert full.finding is Finding.HOLDS, full.why
    assert (full.estimate, full.n, full.low) == (0.0, RESERVE, 0.0) and 0 < (full.high or 0) < 0.02
    assert decide(claim, []).finding is Finding.INCONCLUSIVE
    few = [*samples[: of(claim).least - 1], *samples[RESERVE:]]
    assert decide(claim, few).finding is Finding.INCONCLUSIVE


@pytest.mark.parametrize("claim", BOUNDS, ids=lambda c: c.id)
def test_one_violation_within_the_bound_refutes(claim: Claim) -> None:
    for property in of(claim).properties:
        bad = msgspec.structs.replace(
            good(of(claim), 7), statuses={property: "FAIL"}, bit=False, anomalies={property: ["kind: n1 did it"]}
        )
        ruling = decide(claim, [*enough(of(claim)), bad])
        assert ruling.finding is Finding.REFUTED
        assert "n1 did it" in ruling.why
        assert ruling.evidence[0].role == "violation" and ruling.evidence[0].seed == 7
        assert decide(claim, [bad]).finding is Finding.REFUTED


@pytest.mark.parametrize("claim", [c for c in BOUNDS if of(c).beyond], ids=lambda c: c.id)
def test_a_system_that_could_not_be_broken_shows_nothing(claim: Claim) -> None:
    rule = of(claim)
    tame = [
        Sample(rule.beyond[0], i, "beyond", bit=True, statuses=dict.fromkeys((*rule.broken, *rule.kept), "PASS"))
        for i in range(rule.broken_least)
    ]
    idle = [msgspec.structs.replace(broken(rule, i), bit=False) for i in range(rule.broken_least)]
    for past in ([], tame, idle):
        ruling = decide(claim, [*enough(rule)[:RESERVE], *past])
        assert ruling.finding is Finding.INCONCLUSIVE
        assert "0 of" in ruling.why and ("cannot break" in ruling.why) == bool(past)


@pytest.mark.parametrize("claim", [c for c in BOUNDS if of(c).kept], ids=lambda c: c.id)
def test_what_must_hold_even_beyond_refutes_when_it_breaks(claim: Claim) -> None:
    rule = of(claim)
    worse = msgspec.structs.replace(broken(rule, 0), statuses={rule.kept[0]: "FAIL"})
    assert decide(claim, [*enough(rule), worse]).finding is Finding.REFUTED


@pytest.mark.parametrize("claim", [c for c in BOUNDS if of(c).beyond], ids=lambda c: c.id)
def test_a_defect_that_no_adversary_can_cause_refutes_beyond_as_well(claim: Claim) -> None:
    rule = of(claim)
    defect = msgspec.structs.replace(broken(rule, 0), defects=(rule.broken[0],))
    assert decide(claim, [*enough(rule), defect]).finding is Finding.REFUTED


@pytest.mark.parametrize("claim", BOUNDS, ids=lambda c: c.id)
def test_unknown_runs_and_attacks_that_did_not_bite_do_not_count(claim: Claim) -> None:
    rule = of(claim)
    samples = enough(rule)
    past = samples[RESERVE:]
    idle = [msgspec.structs.replace(s, bit=False) for s in samples[:RESERVE]]
    open_ = [msgspec.structs.replace(s, statuses=dict.fromkeys(rule.properties, "UNKNOWN")) for s in samples[:RESERVE]]
    failed = [msgspec.structs.replace(s, error="no run") for s in samples[:RESERVE]]
    for hollow in (idle, open_, failed):
        ruling = decide(claim, [*hollow, *past])
        assert (ruling.finding, ruling.n) == (Finding.INCONCLUSIVE, 0)


@pytest.mark.parametrize("claim", [c for c in BOUNDS if of(c).per_group], ids=lambda c: c.id)
def test_every_kind_needs_its_runs(claim: Claim) -> None:
    rule = of(claim)
    new = msgspec.structs.replace(good(rule, 0), experiment=rule.grouped[0], group="new kind", bit=False)
    ruling = decide(claim, [*enough(rule), new])
    assert ruling.finding is Finding.INCONCLUSIVE and "new kind" in ruling.why
    without = [s for s in enough(rule) if s.experiment != rule.grouped[0]]
    assert f"no run of {rule.grouped[0]}" in decide(claim, without).why


@pytest.mark.parametrize("claim", [c for c in BOUNDS if of(c).positive], ids=lambda c: c.id)
def test_runs_with_nothing_to_test_are_no_evidence(claim: Claim) -> None:
    empty = [msgspec.structs.replace(s, measures={}) for s in enough(of(claim))]
    ruling = decide(claim, empty)
    assert ruling.finding is Finding.INCONCLUSIVE and "nothing" not in ruling.why and "anything to test" in ruling.why


def test_samples_of_the_other_regime_and_of_other_experiments_are_no_evidence() -> None:
    claim, rule = FIRST["no-fork"], of(FIRST["no-fork"])
    strangers = [msgspec.structs.replace(good(rule, i), experiment="fault-free") for i in range(RESERVE)]
    assert decide(claim, strangers).n == 0
    fork = msgspec.structs.replace(broken(rule, 1), experiment="swarm")
    assert decide(claim, [*enough(rule), fork]).finding is Finding.HOLDS, "a fork beyond the bound refutes nothing"


# ---------------------------------------------------------------- intervals
def measured(rule: Interval, *values: float) -> list[Sample]:
    return [
        Sample(
            rule.within[0], i, "within", bit=True, statuses={"receipts": "PASS"}, measures={rule.measure: v}, index=i
        )
        for i, v in enumerate(values)
    ]


@pytest.mark.parametrize("claim", INTERVALS, ids=lambda c: c.id)
def test_an_interval_says_all_three_words(claim: Claim) -> None:
    rule: Interval = of(claim)
    low = rule.low if rule.low is not None else (rule.high or 0) - 1
    high = rule.high if rule.high is not None else low + 1
    middle, width = (low + high) / 2, high - low
    near = [middle + width * x for x in (-0.02, 0.01, 0.0, 0.02, -0.01, 0.0)]
    assert decide(claim, measured(rule, *near)).finding is Finding.HOLDS
    beyond = [high + width * (1 + x) for x in (0.0, 0.1, 0.05, 0.2, 0.1, 0.0)]
    refuted = decide(claim, measured(rule, *beyond))
    assert refuted.finding is Finding.REFUTED and refuted.low is not None and refuted.low > high
    astride = [high + width * x for x in (-0.3, 0.3, -0.2, 0.2, 0.1, -0.1)]
    assert decide(claim, measured(rule, *astride)).finding is Finding.INCONCLUSIVE
    assert decide(claim, measured(rule, *near[: rule.least - 1])).finding is Finding.INCONCLUSIVE
    assert decide(claim, []).finding is Finding.INCONCLUSIVE


def test_real_containers_do_not_decide_what_is_claimed_of_the_simulation() -> None:
    claim = FIRST["block-period-1md"]
    slow = [msgspec.structs.replace(s, backend="docker") for s in measured(of(claim), *[3.0] * 9)]
    assert decide(claim, slow).n == 0


# ---------------------------------------------------------------- uniform
def spread(counts: dict[str, int], **measures: int) -> Sample:
    return Sample("fault-free", 1, "within", bit=True, measures={"primaries": counts, **measures})


def test_primaries_are_uniform_or_not() -> None:
    claim = FIRST["single-primary"]
    assert isinstance(of(claim), Uniform)
    even = spread({"n0": 510, "n1": 490, "n2": 500})
    ruling = decide(claim, [even])
    assert ruling.finding is Finding.HOLDS and ruling.n == 1500 and (ruling.estimate or 0) > 0.5
    assert decide(claim, [spread({"n0": 700, "n1": 400, "n2": 400})]).finding is Finding.REFUTED
    assert decide(claim, [spread({"n0": 30, "n1": 31})]).finding is Finding.INCONCLUSIVE
    assert decide(claim, [even, spread({"n0": 1}, disagreements=1)]).finding is Finding.REFUTED
    assert decide(claim, [even, spread({"n0": 1}, calm_duplicates=2)]).finding is Finding.REFUTED


# ---------------------------------------------------------------- printed
def test_the_printed_probabilities() -> None:
    agreed, disputed = decide(FIRST["bad-clan-625"], []), decide(FIRST["bad-clan-300"], [])
    assert agreed.finding is Finding.HOLDS and agreed.estimate == pytest.approx(3.46e-5, rel=1e-3)
    assert disputed.finding is Finding.REFUTED and disputed.estimate == pytest.approx(0.00323, rel=1e-3)
    assert "100 Byzantine of 300, bad from 30 or more of 60 (a tie counts as bad)" in disputed.differs
    assert {round(f.value, 4) for f in disputed.figures if f.name.startswith("99")} == {0.0032, 0.0087}
    assert any(f.unit == "years" and f.value == pytest.approx(79, abs=1) for f in agreed.figures)


def test_a_planted_number_is_refuted_and_a_planted_error_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = FIRST["bad-clan-625"]
    assert isinstance(claim.rule, Printed)
    rule = msgspec.structs.replace(claim.rule, printed=36e-6, draws=10_000)
    assert decide(msgspec.structs.replace(claim, rule=rule), []).finding is Finding.REFUTED
    from results import deciding
    from results.sampling import Simulated

    monkeypatch.setattr(deciding, "monte_carlo", lambda division, draws: Simulated(draws, 9, 0.1, 0.2))
    assert decide(claim, []).finding is Finding.INCONCLUSIVE


# ---------------------------------------------------------------- the register
def test_the_register_is_whole() -> None:
    claims = register()
    assert len(FIRST) == 24 and len(claims) == 39
    for claim in claims.values():
        ruling = decide(claim, [])
        assert ruling.why and ruling.reproduce
        if claim.tier > 1:
            assert ruling.finding is Finding.INCONCLUSIVE and "not implemented yet" in ruling.why
        else:
            assert ruling.rule.startswith("HOLDS if") and "REFUTED" in ruling.rule


def test_a_register_that_contradicts_itself_is_refused() -> None:
    text = 'id = "a"\ntier = 2\nsystem = "s"\nstatement = "t"\nat = "x"\nbeyond = "-"\nchecker = "fork"\n'
    one = "[[claim]]\n" + text
    assert model.parse(one)["a"].rule is None
    for bad, words in (
        (one + one, "twice"),
        (one.replace("tier = 2", "tier = 1"), "no rule"),
        (one + "pass = true\n", "unknown field"),
        (one + '[claim.rule]\nkind = "hope"\n', "hope"),
    ):
        with pytest.raises(ClaimsError, match=words):
            model.parse(bad)


def test_only_touched_claims_have_evidence_in_run_directories() -> None:
    run = Sample("run/fault-free", 1, "within", bit=True, statuses={"fork": "PASS", "receipts": "PASS"}, run="runs/x")
    named = {claim.id for claim in register().values() if touched(claim, [run])}
    assert named == {"no-fork"}, "quorum-maths-50 is about 151 and 101 nodes, whatever else was run"
    ruling = decide(FIRST["no-fork"], [run])
    assert (ruling.finding, ruling.n) == (Finding.INCONCLUSIVE, 1)
    past = Sample("run/past", 1, "beyond", bit=True, statuses={"liveness": "FAIL"}, meant=("liveness",))
    assert touched(FIRST["liveness-after-gst"], [past]) and not touched(FIRST["no-fork"], [past])
