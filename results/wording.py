"""Decision rules and differences from the paper, in words: made from the data, so that text and rule cannot part."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from results.claim import Bound, Interval, Printed, Rule, Sample, Uniform
from results.figures import mean_of, total
from results.sampling import Reading


def rule(found: Rule) -> str:
    """The rule in one sentence."""
    match found:
        case Bound():
            return _bound(found)
        case Interval():
            return (
                f"HOLDS if the {found.what}, averaged over at least {found.least} runs, lies with its 95 % bootstrap"
                f" interval within {band(found)}; REFUTED if the interval lies outside"
            )
        case Uniform():
            none = " and ".join(name.replace("_", " ") for name in found.zero)
            return (
                f"HOLDS if {found.what} are uniform (chi-square p > {found.p:g}) over at least {found.least}, with 0"
                f" {none}; REFUTED otherwise"
            )
        case Printed():
            return (
                f"HOLDS if the exact probability (or the union bound), for {found.byzantine} Byzantine of {found.nodes}"
                f" in {found.clans} clans and a majority as bad, rounds to the printed {found.printed:g}, and"
                f" {found.draws:,} simulated draws agree with it; REFUTED if it does not round to it"
            )


def _bound(found: Bound) -> str:
    words = f"HOLDS if {_or(found.properties)} {_verb(found.properties)} violated in 0 of at least {found.least} runs"
    words += " within the bound in which all that was declared took effect"
    if found.per_group:
        words += f" (at least {found.per_group} of each kind in {', '.join(found.grouped)})"
    for measure in found.positive:
        words += f", with something to test ({measure.replace('_', ' ')} above 0)"
    if found.beyond:
        words += f", and if past the bound {_or(found.broken)} broke in at least {found.broken_least} runs"
    if found.kept:
        words += f" while {', '.join(found.kept)} held"
    return words + "; REFUTED by one violation; INCONCLUSIVE otherwise"


def _or(names: Sequence[str]) -> str:
    return " or ".join(names)


def _verb(names: Sequence[str]) -> str:
    return "is" if names else "are"


def band(found: Interval) -> str:
    """The interval that the claim allows."""
    unit = f" {found.unit}" if found.unit else ""
    if found.low is None:
        return f"at most {found.high:g}{unit}"
    if found.high is None:
        return f"at least {found.low:g}{unit}"
    return f"{found.low:g} to {found.high:g}{unit}"


def disagreement(found: Printed, stated: Sequence[Reading], others: Sequence[Reading]) -> str:
    """What is printed, what comes out, and the readings under which the printed number would hold."""
    values = "; ".join(r.words() for r in stated if r.by == "exact")
    words = f"The paper prints {found.printed:g}. Under its own bound: {values}. "
    if not others:
        return words + "No reading that was tried (one Byzantine member more or less, ties bad or not) gives it."
    return words + f"The printed number holds for: {'; '.join(r.words() for r in others)}."


def differs(claim: str, inside: Sequence[Sample]) -> str:
    """Where observation and the paper's words part although the rule holds, or "". Numbers from the samples."""
    return _DIFFERENCES[claim](inside) if claim in _DIFFERENCES else ""


def _preconfirmation(inside: Sequence[Sample]) -> str:
    first = [sample for sample in inside if sample.group.endswith("EQ-FIRST")]
    void, promised = total(first, "void"), total(first, "promised_by_equivocators")
    rescue = mean_of(first, "rescue_ms")
    if not void or not promised:
        return ""
    words = (
        f"The certificate alone guarantees nothing: where the first certified batch of a slot counts, of {promised:.0f}"
        f" pre-confirmations that equivocating proposers gave, {void:.0f} ({void / promised:.1%}) were dropped, because"
        " another batch took the slot."
    )
    if rescue:
        words += (
            f" A secondary included {rescue[3]} of them, {rescue[0]:.0f} ms later on average"
            f" (95 %: {rescue[1]:.0f} to {rescue[2]:.0f} ms)."
        )
    lost = total(first, "never_rescued")
    return words + (f" {lost:.0f} were never included." if lost else "")


def _accountability(inside: Sequence[Sample]) -> str:
    rescued = total(inside, "rescued")
    false, open_ = total(inside, "false_blame"), total(inside, "unattributed")
    if not false + open_:
        return ""
    return (
        f"A record is no proof of guilt: {false + open_:.0f} of {rescued:.0f} records name an honest primary that was"
        f" slow or cut off; {false:.0f} of them had received the transaction in time, so even the receipt test would"
        " punish them."
    )


def _dedup(inside: Sequence[Sample]) -> str:
    again, whole = total(inside, "duplicate_inclusions"), total(inside, "inclusions")
    if not again:
        return ""
    return (
        f"Copies cost block space under faults: {again:.0f} of {whole:.0f} inclusions ({again / whole:.1%}) were"
        " duplicates, all of which aborted without effect."
    )


_DIFFERENCES: dict[str, Callable[[Sequence[Sample]], str]] = {
    "preconfirmation": _preconfirmation,
    "accountability": _accountability,
    "dedup": _dedup,
}
