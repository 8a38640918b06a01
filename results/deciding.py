"""From evidence to findings: the decision rules of the claims register, applied to samples.

Every rule can say all three words. REFUTED needs evidence against the claim, HOLDS needs enough evidence for it and,
where there is a bound, that the lab broke the system past it: otherwise the finding is INCONCLUSIVE, with what is
missing. Samples of run directories (`run/...`) count by what was judged in them; others by their experiment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from results import figures, wording
from results.claim import Bound, Claim, Finding, Interval, Printed, Ruling, Sample, Uniform, Witness
from results.sampling import Division, agrees, majority, monte_carlo, readings
from results.stats import binomial_interval, bootstrap_mean

OF_RUNS = "run/"  # samples that were made of run directories
PASS, FAIL = "PASS", "FAIL"


def decide(claim: Claim, samples: Sequence[Sample]) -> Ruling:
    """The finding on a claim, by its rule, from whatever samples there are."""
    rule = claim.rule
    if rule is None:
        why = f"not implemented yet: the lab has no experiment for claims of tier {claim.tier}"
        return Ruling(claim.id, claim.tier, Finding.INCONCLUSIVE, why, reproduce=f"moonquake claims {claim.id}")
    usable = [s for s in samples if not s.error and (not rule.backends or s.backend in rule.backends)]
    match rule:
        case Bound():
            ruling = _bound(claim, rule, usable)
        case Interval():
            ruling = _interval(claim, rule, usable)
        case Uniform():
            ruling = _uniform(claim, rule, usable)
        case Printed():
            ruling = _printed(claim, rule)
    return ruling


def within(rule: Bound | Interval | Uniform, samples: Iterable[Sample]) -> list[Sample]:
    """Samples that count inside the bound: of the rule's experiments, or of run directories that mean to hold."""
    return [
        s
        for s in samples
        if s.regime == "within" and not s.meant and (s.experiment in rule.within or _directory(rule, s))
    ]


def past(rule: Bound, samples: Iterable[Sample]) -> list[Sample]:
    """Samples that count past the bound; a run directory must mean to break one of the properties."""
    return [
        s
        for s in samples
        if s.regime == "beyond"
        and (s.experiment in rule.beyond or (_directory(rule, s) and set(s.meant) & set(rule.broken)))
    ]


def _directory(rule: Bound | Interval | Uniform, sample: Sample) -> bool:
    """Was the sample made of a run directory, and may such count?"""
    return not rule.own and sample.experiment.startswith(OF_RUNS)


def touched(claim: Claim, samples: Iterable[Sample]) -> bool:
    """Is there any evidence on the claim among the samples?"""
    rule = claim.rule
    if rule is None or isinstance(rule, Printed):
        return False
    samples = list(samples)
    if isinstance(rule, Bound):
        return any(set(rule.properties) & set(s.statuses) for s in within(rule, samples)) or bool(past(rule, samples))
    return any(rule.measure in s.measures for s in within(rule, samples))


# ---------------------------------------------------------------- bound
def _bound(claim: Claim, rule: Bound, samples: Sequence[Sample]) -> Ruling:
    inside = [s for s in within(rule, samples) if set(rule.properties) & set(s.statuses)]
    outside = past(rule, samples)
    violating = [s for s in inside if any(s.statuses.get(p) == FAIL for p in rule.properties)]
    judged = [s for s in inside if s.bit and _passes(s, rule.properties)]
    counted = [*violating, *(s for s in judged if s not in violating)]
    broken = [s for s in outside if s.bit and any(s.statuses.get(p) == FAIL for p in rule.broken)]
    spoilt = [
        s
        for s in outside
        if any(s.statuses.get(p) == FAIL for p in rule.kept) or set(s.defects) & {*rule.properties, *rule.broken}
    ]
    low, high = binomial_interval(len(violating), len(counted))
    common = _common(claim, rule, inside, outside)
    common |= {"estimate": len(violating) / len(counted) if counted else None, "low": low, "high": high}
    common |= {"n": len(counted), "unit": "violations a run within the bound"}
    if violating:
        seen = f"{len(violating)} of {len(counted)} judged runs within the bound violate it"
        why = f"{seen}: {_words(violating[0], rule.properties)}"
        return _ruling(claim, Finding.REFUTED, why, [_witness("violation", violating[0], rule.properties)], common)
    if spoilt:
        what = (*rule.kept, *rule.properties, *rule.broken)
        why = f"past the bound broke what must hold even there: {_words(spoilt[0], what)}"
        return _ruling(claim, Finding.REFUTED, why, [_witness("violation", spoilt[0], what)], common)
    lacking = _lacking(rule, inside, judged, outside, broken)
    evidence = [_witness("broken", s, rule.broken) for s in broken[:1]]
    evidence += [_witness("held", s, rule.properties) for s in judged[:1]]
    if lacking:
        seen = f"0 violations in {len(judged)} judged runs within the bound; " if judged else ""
        return _ruling(claim, Finding.INCONCLUSIVE, f"{seen}{'; '.join(lacking)}", evidence, common)
    why = f"0 violations in {len(judged)} runs within the bound (95 %: below {high:.2g} a run)"
    if rule.beyond:
        why += f"; past it {len(broken)} of {len(outside)} runs broke"
    return _ruling(claim, Finding.HOLDS, why, evidence, common)


def _passes(sample: Sample, properties: Sequence[str]) -> bool:
    """Was one of the properties judged, and did all that were judged pass?"""
    found = [sample.statuses[p] for p in properties if p in sample.statuses]
    return bool(found) and all(status == PASS for status in found)


def _lacking(
    rule: Bound, inside: Sequence[Sample], judged: Sequence[Sample], outside: Sequence[Sample], broken: Sequence[Sample]
) -> list[str]:
    """What the evidence lacks for a HOLDS, in words."""
    lacking = []
    if len(judged) < rule.least:
        lacking.append(f"{len(judged)} judged runs within the bound where {rule.least} are needed")
    if judged:
        unjudged = [p for p in rule.properties if not any(p in s.statuses for s in judged)]
        lacking += [f"{p} was judged in none of them" for p in unjudged]
    groups: dict[str, int] = {}
    for sample in inside:
        if sample.experiment in rule.grouped:
            name = f"{sample.experiment}: {sample.group}"
            groups[name] = groups.get(name, 0) + (sample.bit and _passes(sample, rule.properties))
    few = [name for name, count in groups.items() if count < rule.per_group]
    if few:
        lacking.append(f"fewer than {rule.per_group} such runs of {', '.join(few)}")
    seen = {sample.experiment for sample in inside}
    absent = [name for name in rule.grouped if name not in seen]
    if absent:
        lacking.append(f"no run of {', '.join(absent)}")
    nothing = [measure for measure in rule.positive if not figures.total(inside, measure)]
    lacking += [f"in no run was there anything to test ({measure} is 0)" for measure in nothing]
    if len(broken) < rule.broken_least:
        short = f"past the bound {len(broken)} of {len(outside)} runs broke where {rule.broken_least} must"
        tame = ": a system that the lab cannot break shows nothing by holding" if len(broken) < len(outside) else ""
        lacking.append(short + tame)
    return lacking


# ---------------------------------------------------------------- interval
def _interval(claim: Claim, rule: Interval, samples: Sequence[Sample]) -> Ruling:
    inside = [s for s in within(rule, samples) if s.bit and isinstance(s.measures.get(rule.measure), int | float)]
    common = _common(claim, rule, inside, [])
    if not inside:
        return _ruling(claim, Finding.INCONCLUSIVE, f"no run measured the {rule.what}", [], common)
    values = [float(s.measures[rule.measure]) for s in inside]
    mean = sum(values) / len(values)
    low, high = bootstrap_mean(values)
    common |= {"estimate": mean, "low": low, "high": high, "n": len(values), "unit": f"runs; {rule.what}"}
    band = wording.band(rule)
    seen = f"{mean:.4g} {rule.unit}".strip() + f" (95 %: {low:.4g} to {high:.4g}) over {len(values)} runs"
    floor = -float("inf") if rule.low is None else rule.low
    roof = float("inf") if rule.high is None else rule.high
    farthest = max(inside, key=lambda s: abs(float(s.measures[rule.measure]) - mean))
    evidence = [_witness("farthest", farthest, (), f"{rule.measure} = {farthest.measures[rule.measure]:g}")]
    if len(values) < rule.least:
        why = f"{seen}; {rule.least} runs are needed"
        return _ruling(claim, Finding.INCONCLUSIVE, why, evidence, common)
    if floor <= low and high <= roof:
        return _ruling(claim, Finding.HOLDS, f"{seen}; allowed: {band}", evidence, common)
    if high < floor or low > roof:
        return _ruling(claim, Finding.REFUTED, f"{seen}; allowed: {band}", evidence, common)
    return _ruling(
        claim, Finding.INCONCLUSIVE, f"{seen}: its interval lies partly outside; allowed: {band}", evidence, common
    )


# ---------------------------------------------------------------- uniform
def _uniform(claim: Claim, rule: Uniform, samples: Sequence[Sample]) -> Ruling:
    from scipy.stats import chisquare

    inside = [s for s in within(rule, samples) if isinstance(s.measures.get(rule.measure), dict)]
    common = _common(claim, rule, inside, [])
    counts: dict[str, int] = {}
    for sample in inside:
        for name, count in sample.measures[rule.measure].items():
            counts[name] = counts.get(name, 0) + int(count)
    total = sum(counts.values())
    evidence = [_witness("held", s, (), f"{sum(s.measures[rule.measure].values())} {rule.what}") for s in inside[:1]]
    for measure in rule.zero:
        if figures.total(inside, measure):
            guilty = next(s for s in inside if figures.total([s], measure))
            why = f"{figures.total(inside, measure):g} {measure.replace('_', ' ')} where none may be"
            what = f"{measure} = {figures.total([guilty], measure):g}"
            return _ruling(claim, Finding.REFUTED, why, [_witness("violation", guilty, (), what)], common)
    if total < rule.least or not counts:
        why = f"{total} {rule.what} where {rule.least} are needed"
        return _ruling(claim, Finding.INCONCLUSIVE, why, evidence, common)
    p = float(chisquare(list(counts.values())).pvalue)
    common |= {"estimate": p, "n": total, "unit": f"{rule.what}; the estimate is the p-value of chi-square"}
    spread = f"{min(counts.values())} to {max(counts.values())} for each of {len(counts)}"
    seen = f"chi-square p = {p:.3g} over {total} {rule.what} ({spread}), against p > {rule.p:g}"
    finding = Finding.HOLDS if p > rule.p else Finding.REFUTED
    return _ruling(claim, finding, seen, evidence, common)


# ---------------------------------------------------------------- printed
def _printed(claim: Claim, rule: Printed) -> Ruling:
    size = rule.nodes // rule.clans
    stated = [r for r in readings(rule.nodes, rule.clans, rule.byzantine) if r.division.byzantine == rule.byzantine]
    exact = next(r.value for r in stated if r.by == "exact" and r.division.bad == majority(size))
    simulated = monte_carlo(Division(rule.nodes, rule.byzantine, rule.clans, majority(size)), rule.draws)
    sound = simulated.low <= exact <= simulated.high
    common = {
        "estimate": exact,
        "low": simulated.low,
        "high": simulated.high,
        "n": simulated.draws,
        "unit": f"draws of the simulation ({simulated.hits} with a bad clan); the estimate is exact",
        "rule": wording.rule(rule),
        "figures": figures.of_printed(rule, exact, simulated),
    }
    told = f"{rule.byzantine} Byzantine of {rule.nodes} in {rule.clans} clans: exactly {exact:.3g}"
    if not sound:
        why = f"{told}, but the simulation says {simulated.low:.3g} to {simulated.high:.3g}: one of the two is wrong"
        return _ruling(claim, Finding.INCONCLUSIVE, why, [], common)
    if any(agrees(r.value, rule.printed, rule.digits) for r in stated if r.division.bad == majority(size)):
        return _ruling(claim, Finding.HOLDS, f"{told}, printed {rule.printed:g}", [], common)
    others = [r for r in readings(rule.nodes, rule.clans, rule.byzantine) if agrees(r.value, rule.printed, rule.digits)]
    common["differs"] = wording.disagreement(rule, stated, others)
    return _ruling(claim, Finding.REFUTED, f"{told}, not the printed {rule.printed:g}", [], common)


# ---------------------------------------------------------------- shared
def _common(
    claim: Claim, rule: Bound | Interval | Uniform, inside: Sequence[Sample], outside: Sequence[Sample]
) -> dict[str, object]:
    """What every ruling on runs says, whatever the finding."""
    return {
        "runs": {"within": len(inside), "beyond": len(outside)},
        "backends": tuple(sorted({s.backend for s in (*inside, *outside)})),
        "rule": wording.rule(rule),
        "figures": figures.of_rule(rule, inside, outside),
        "differs": wording.differs(claim.id, inside),
    }


def _ruling(claim: Claim, finding: Finding, why: str, evidence: Sequence[Witness], common: dict[str, object]) -> Ruling:
    fields = {"reproduce": f"moonquake claims {claim.id}", **common}
    return Ruling(claim.id, claim.tier, finding, why, evidence=tuple(evidence), **fields)  # type: ignore[arg-type]


def _words(sample: Sample, properties: Sequence[str]) -> str:
    for property in properties:
        if sample.statuses.get(property) == FAIL and sample.anomalies.get(property):
            return f"{property}: {sample.anomalies[property][0]}"
    return f"{sample.experiment} #{sample.index}"


def _witness(role: str, sample: Sample, properties: Sequence[str], what: str = "") -> Witness:
    judged = ", ".join(f"{p} {sample.statuses[p]}" for p in properties if p in sample.statuses)
    words = what or (_words(sample, properties) if FAIL in judged else judged)
    return Witness(role, sample.experiment, sample.index, sample.seed, words, sample.digest, sample.run)
