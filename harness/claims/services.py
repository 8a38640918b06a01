"""Experiments on what wallets see: delays, equivocating proposers, censorship, blame, copies, lists."""

from __future__ import annotations

from typing import Any

from harness import measures
from harness.claims.experiment import Experiment, Made
from harness.scenario import load
from harness.shipped import find
from nodes.committee import clan_faults, clan_majority, tribe_faults

PROPERTIES = ("fork", "prefix", "dedup", "conservation", "state-root", "acknowledged")
CLANS = (3, 5, 7)  # sizes in which equivocation is tried
RULES = ("first", "both")  # EQ-FIRST, EQ-BOTH
GRID = tuple((size, bad, rule) for size in CLANS for bad in range(clan_faults(size) + 1) for rule in RULES)


def _values(name: str, words: str, **sections: Any) -> dict[str, Any]:
    """A scenario on a uniform network; `checks` are added to those that all of them have."""
    checks = [*PROPERTIES, *sections.pop("checks", ()), "receipts"]
    bounds = sections.pop("bounds", None)
    return {
        "name": name,
        "description": words,
        "expect": "hold",
        "network": {"latency": "uniform:50"},
        "checks": {"include": list(dict.fromkeys(checks))} | ({"bounds": bounds} if bounds else {}),
        "run": {"quiet": "2s"},
        **sections,
    }


def _load(rate: float, duration: str = "3s", kind: str = "transfers", **options: Any) -> dict[str, Any]:
    load = {"kind": kind, "rate": rate, "clients": max(16, round(rate)), "duration": duration}
    return load | ({"options": options} if options else {})


def _protocol(**parameters: Any) -> dict[str, Any]:
    return {"delta_ms": 150, "inclusion_timeout_ms": 1000, **parameters}


# ---------------------------------------------------------------- delays
def _delays(index: int) -> Made:
    """The shipped scenario with a shorter load; batches of other lengths each time, so that no phase is special."""
    values = {**load(find("message-delays")).raw, "name": "message-delays-short"}
    # From five on: in a clan of four the proposer and the receiver are a majority, and a certificate takes one delay.
    size = (7, 5)[index % 2]
    values["cluster"] = {"nodes": size, "clans": 1, "gateways": 1, "parameters": {"max_batch_delay_ms": 31 + 2 * index}}
    values["workload"] = {"kind": "transfers", "rate": 41 + index, "clients": 60, "duration": "16s"}
    return Made(values, index + 1, f"n = {size}")


# ---------------------------------------------------------------- equivocation
def _clan_of(size: int) -> dict[str, Any]:
    """A clan of this size, and others enough to bear its corrupted members."""
    total = max(size + 3, 3 * clan_faults(size) + 1)
    return {
        "nodes": total,
        "clans": [[f"n{i}" for i in range(size)], [f"n{i}" for i in range(size, total)]],
        "gateways": 1,
    }


def _equivocation(index: int) -> Made:
    """A grid of clan sizes, numbers of equivocators (fc = 0 .. floor((nc - 1) / 2)) and rules, round by round."""
    size, bad, rule = GRID[index % len(GRID)]
    words = f"{bad} of a clan of {size} send two batches under each number, the second with one transaction only."
    values = _values(
        f"equivocation-{bad}-of-{size}-{rule}", words,
        cluster=_clan_of(size) | {"parameters": _protocol(max_batch_delay_ms=200, equivocation=rule)},
        workload=_load(60),
        checks=("availability", "xrbc-agreement", "preconfirmation"),
        bounds={"inclusion_ms": 3000},
    )  # fmt: skip
    if bad:
        values["adversary"] = {
            "nodes": [f"n{i}" for i in range(bad)],
            "behaviour": [{"use": "equivocating-batch", "options": {"keep": 1}}],
        }
    return Made(values, index // len(GRID) + 1, f"{bad} of {size}, EQ-{rule.upper()}")


def _no_rescuer(index: int) -> Made:
    """Families of one: the equivocator that drops a transaction is all its family, and nobody includes it again."""
    values = _equivocation(next(i for i, point in enumerate(GRID) if point == (3, 1, "first"))).values
    values["name"] = "preconfirmation-past-bound"
    values["cluster"]["parameters"]["family_size"] = 1
    values["workload"] = _load(60, "2s")
    values["expect"] = {"violate": ["preconfirmation"], "hold": ["fork", "prefix"]}
    values["run"] = {"quiet": "5s"}
    return Made(values, index + 1)


# ---------------------------------------------------------------- censorship and blame
def _censors(index: int) -> Made:
    """All but one of a family ignore every transaction (in the smaller clan), and as block leaders, f < n/3 in all,
    leave out others' batches. Sizes in turn: families of two in a tribe of seven, of three in one of ten."""
    size = (3, 5)[index % 2]
    bad = clan_majority(size) - 1
    cluster = _clan_of(size) | {"parameters": _protocol()}
    total = cluster["nodes"]
    others = [f"n{i}" for i in range(size, size + tribe_faults(total) - bad)]
    values = _values(
        f"censors-{bad}-of-{size}",
        f"{bad} of a clan of {size} censor, one less than a family; {tribe_faults(total)} leaders of {total} censor.",
        cluster=cluster,
        workload=_load(40),
        checks=("censorship", "accountability", "liveness"),
        adversary={
            "nodes": [*(f"n{i}" for i in range(bad)), *others],
            "behaviour": [{"use": "censoring-primary", "options": {"blocks": True}}],
        },
    )
    return Made(values, index // 2 + 1, f"family of {bad + 1}")


def _blame(index: int) -> Made:
    """Who is recorded as having failed: a censor, or an honest primary that was slow, or cut off."""
    kind = ("censoring", "slow", "cut off")[index % 3]
    values = _values(
        f"blame-{kind.replace(' ', '-')}", f"Primaries that fail their duty: {kind}.",
        cluster={"nodes": 7, "clans": 1, "gateways": 1, "parameters": _protocol()},
        workload=_load(40),
        checks=("accountability", "liveness"),
    )  # fmt: skip
    window = {"from": "300ms", "until": "2800ms"}
    if kind == "censoring":
        values["adversary"] = {"nodes": ["n1", "n4"], "behaviour": [{"use": "censoring-primary"}]}
    elif kind == "slow":
        late = {"low_ms": 1200, "high_ms": 1500}
        values["fault"] = [{"use": "message-delay", "kinds": ["B"], "senders": ["n1", "n4"], **late, **window}]
    else:
        values["fault"] = [{"use": "partition", "topology": "isolate", "victims": ["n1"], **window}]
    return Made(values, index // 3 + 1, kind)


# ---------------------------------------------------------------- once, and the truth
def _duplicates(index: int) -> Made:
    values = _values(
        "duplicates", "Every transaction through each of three gateways, twice.",
        cluster={"nodes": 4, "clans": 1, "gateways": 3, "parameters": _protocol()},
        workload=_load(15, kind="duplicates", copies=2),
        checks=("order", "liveness"),
    )  # fmt: skip
    return Made(values, index + 1)


def _fault_free(index: int) -> Made:
    values = _values(
        "many-transactions", "Nothing is wrong, and there is much to include.",
        cluster={"nodes": 7, "clans": 1, "gateways": 2, "parameters": _protocol(inclusion_timeout_ms=2000)},
        workload=_load(120, "4s"),
        checks=("order", "xrbc-agreement", "liveness"),
    )  # fmt: skip
    return Made(values, index + 1)


def _lists(index: int) -> Made:
    """List-append under a fault that hides or delays answers, round by round."""
    window = {"from": "400ms", "until": "2400ms"}
    kind, fault = (
        ("bridge", {"use": "partition", "topology": "bridge", **window}),
        ("crash", {"use": "crash", "victims": "leader", **window}),
        ("loss", {"use": "loss", "probability": 0.1, **window}),
        ("isolated gateway", {"use": "partition", "groups": [["g0"], ["n0", "n1", "n2", "n3", "g1"]], **window}),
    )[index % 4]
    values = _values(
        f"lists-{kind.replace(' ', '-')}", f"Reads and appends of lists, with {kind}.",
        cluster={"nodes": 4, "clans": 1, "gateways": 2, "parameters": _protocol()},
        workload=_load(25, kind="list-append"),
        checks=("elle-list-append", "order", "liveness"),
        fault=[fault],
    )  # fmt: skip
    if kind == "crash":
        values["adversary"] = {"crashes": 1}
    return Made(values, index // 4 + 1, kind)


EXPERIMENTS = (
    Experiment("message-delays", "Honest leaders, uniform delays, steady load.", 8, _delays, weight=8.0),
    Experiment(
        "equivocation", "Batch proposers that equivocate: fc = 0 .. floor((nc - 1) / 2), both rules.", 3 * len(GRID),
        _equivocation, (measures.promises,), weight=2.0,
    ),
    Experiment(
        "preconfirmation-past", "An equivocator that is its transactions' whole family.", 4, _no_rescuer,
        (measures.promises,),
    ),
    Experiment("censors", "All but one of a family censor, and f leaders.", 8, _censors, (measures.inclusion,)),
    Experiment("blame", "Censoring, slow and partitioned primaries.", 9, _blame),
    Experiment("duplicates", "Copies through every gateway.", 6, _duplicates),
    Experiment("fault-free", "Many transactions, no fault.", 5, _fault_free, (measures.primaries,), weight=4.0),
    Experiment("list-append", "Lists under faults that hide answers.", 16, _lists),
)  # fmt: skip
