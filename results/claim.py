"""Claims: what the stack promises, the rule that decides each promise, the evidence, and what came out of it.

The register is data (`claims.toml`): every tier-1 claim carries its decision rule, written down before anything is
measured. `results.deciding` applies it. A finding is one of three words, and INCONCLUSIVE is never a HOLDS.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias

import msgspec


class Finding(StrEnum):
    """What the evidence says about a claim."""

    HOLDS = "HOLDS"
    REFUTED = "REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    """One judged run as evidence. `statuses`: property -> PASS, FAIL or UNKNOWN; `anomalies` and `reasons` say why.

    `bit`: all that was declared took effect. `meant`: properties that the scenario expects to break. `defects`:
    properties with an anomaly that no adversary can cause. `measures`: numbers, or lists of them, by name.
    """

    experiment: str
    seed: int
    regime: str  # within | beyond
    group: str = ""  # what differs inside an experiment: a kind of fault, a size
    backend: str = "sim"
    bit: bool = False
    statuses: dict[str, str] = {}
    anomalies: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    meant: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()
    measures: dict[str, Any] = {}
    index: int = 0  # the run's number in its experiment
    run: str = ""  # directory, if it has one
    digest: str = ""
    cpu_s: float = 0.0
    error: str = ""  # why there was no judged run


class Share(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure of the claim: the sum of measure `hits` over the sum of measure `of`; `only`: over groups whose name
    ends so."""

    name: str
    hits: str
    of: str
    only: str = ""


class Spread(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure of the claim: the values of a measure over all runs, or, `by_group`, over those of each group. `only`:
    of groups whose name ends so; `experiment`: of this one; `past`: of the runs beyond the bound."""

    name: str
    measure: str
    unit: str = ""
    by_group: bool = False
    only: str = ""
    experiment: str = ""
    past: bool = False


class Compare(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure of the claim: the sensitivity of each group of an experiment, against its group `baseline`, from the
    latencies in `measure` and the counts in `unfinished`, up to `horizon`."""

    name: str
    experiment: str
    baseline: str
    measure: str
    unfinished: str
    horizon: float
    unit: str = ""


class _Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", kw_only=True):
    """`within`: experiments that count; `own`: and nothing else, no run directory. `backends`: those whose runs decide
    (empty: all)."""

    within: tuple[str, ...] = ()
    own: bool = False
    backends: tuple[str, ...] = ()
    least: int = 1
    shares: tuple[Share, ...] = ()
    spreads: tuple[Spread, ...] = ()
    compares: tuple[Compare, ...] = ()


class Bound(_Rule, frozen=True, tag="bound"):
    """0 violations inside the bound, over runs in which what was declared bit; and past it the lab can break it.

    `per_group`: so many such runs of every group of the experiments in `grouped`. `positive`: measures that must not be
    zero over all runs, or nothing was tested. `broken`: one of these must fail in `broken_least` runs beyond;
    `kept` must hold even there.
    """

    properties: tuple[str, ...]
    grouped: tuple[str, ...] = ()
    per_group: int = 0
    positive: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    broken_least: int = 0
    kept: tuple[str, ...] = ()


class Interval(_Rule, frozen=True, tag="interval"):
    """The mean of `measure` over runs lies in [low, high], with its bootstrap interval."""

    measure: str
    what: str
    unit: str = ""
    low: float | None = None
    high: float | None = None


class Uniform(_Rule, frozen=True, tag="uniform"):
    """Counts by member are uniform (chi-square p > `p`); each measure in `zero` sums to nothing."""

    measure: str
    what: str
    p: float = 0.001
    zero: tuple[str, ...] = ()


class Printed(_Rule, frozen=True, tag="printed"):
    """A printed probability against its exact value: `nodes` in `clans` equal clans, `byzantine` of them corrupted.

    Equal in `digits` significant digits, by the exact value or the union bound: it holds.
    """

    printed: float
    digits: int
    nodes: int
    byzantine: int
    clans: int
    draws: int = 1_000_000
    per_day: float = 0.0  # draws a day, for a figure in years


Rule: TypeAlias = Bound | Interval | Uniform | Printed


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One promise. `at`: what must be observed inside the bound; `beyond`: what must be demonstrable past it ("-":
    there is no bound to cross). `rule` None: the lab has no experiment for it yet."""

    id: str
    tier: int
    system: str
    statement: str
    at: str
    beyond: str
    checker: str
    note: str = ""
    rule: Rule | None = None


class Figure(msgspec.Struct, frozen=True):
    """A number with its N and its interval (None: not given). `method` says how the interval was made."""

    name: str
    value: float
    low: float | None
    high: float | None
    n: int
    unit: str = ""
    method: str = ""


class Witness(msgspec.Struct, frozen=True):
    """A run that the finding rests on, and the command that makes it again."""

    role: str  # violation | broken | held | farthest
    experiment: str
    index: int
    seed: int
    what: str
    digest: str = ""
    run: str = ""
    reproduce: str = ""


class Ruling(msgspec.Struct, frozen=True):
    """A claim decided. `low`..`high` is the 95 % interval of the estimate, `n` what it is over (`unit`: of what)."""

    id: str
    tier: int
    finding: Finding
    why: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    unit: str = ""
    runs: dict[str, int] = {}  # by regime
    backends: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    differs: str = ""  # where observation and paper part, in words
    evidence: tuple[Witness, ...] = ()
    reproduce: str = ""
    rule: str = ""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    claim: list[Claim]


class ClaimsError(ValueError):
    """A register that contradicts itself."""


def parse(text: str) -> dict[str, Claim]:
    """The claims in a register, by id. Raises ClaimsError: an unknown key, an id twice, a tier-1 claim without rule."""
    try:
        found = msgspec.toml.decode(text, type=_File).claim
    except msgspec.MsgspecError as error:
        raise ClaimsError(f"claims.toml: {error}") from error
    claims: dict[str, Claim] = {}
    for claim in found:
        if claim.id in claims:
            raise ClaimsError(f"claims.toml: {claim.id} is there twice")
        if claim.tier == 1 and claim.rule is None:
            raise ClaimsError(f"claims.toml: {claim.id} is of tier 1 and has no rule to decide it")
        claims[claim.id] = claim
    return claims


@cache
def register() -> dict[str, Claim]:
    """The shipped register, by id, in its order."""
    return parse(files("results").joinpath("claims.toml").read_text(encoding="utf-8"))


Side: TypeAlias = Literal["within", "beyond"]


def experiments_of(claims: Sequence[Claim]) -> list[str]:
    """The experiments that these claims are decided by, each once, in order."""
    names: list[str] = []
    for claim in claims:
        if claim.rule is not None:
            names += claim.rule.within
            if isinstance(claim.rule, Bound):
                names += claim.rule.beyond
    return list(dict.fromkeys(names))
