"""What honest nodes must have seen of an attack at its bound, beside that everything held (`obs` in protocol.md 5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from harness.trial import Trial

Event: TypeAlias = dict[str, Any]
Sign: TypeAlias = Callable[[Trial], bool]


def events(found: Trial, kind: str) -> Iterable[Event]:
    """Events of this kind of honest tribe nodes."""
    honest = set(found.info.honest)
    return [e for e in found.run.trace if e["event"] == kind and e["node"] in honest]


def rejected(*reasons: str) -> Sign:
    """Honest nodes refused things of the coalition for each of these reasons."""

    def sign(found: Trial) -> bool:
        said = [e["reason"] for e in events(found, "reject") if e.get("sender") in found.info.byzantine]
        return all(any(reason in text for text in said) for reason in reasons)

    return sign


def no_certificate_of(found: Trial) -> bool:
    """No batch that only a coalition could have invented was certified."""
    held = {e["batch"] for e in found.run.trace if e["event"] in ("batch", "body")}
    return all(e["batch"] in held for e in events(found, "available"))


def two_certificates_of_one_slot(found: Trial) -> bool:
    slots: dict[tuple[int, str, int], set[str]] = {}
    for e in events(found, "available"):
        slots.setdefault((e["clan"], e["proposer"], e["seq"]), set()).add(e["batch"])
    accused = {(e["culprit"], e["kind"]) for e in events(found, "accuse")}
    return any(len(batches) > 1 for batches in slots.values()) and ("n0", "batch-equivocation") in accused


def gateway_first(found: Trial) -> bool:
    """Certificates for the coalition's batches were known to the gateway before any honest node had one."""
    first: dict[str, str] = {}
    for e in found.run.trace:
        if e["event"] == "available" and e["proposer"] in found.info.byzantine:
            first.setdefault(e["batch"], e["node"])
    return bool(first) and set(first.values()) <= {*found.info.gateways, *found.info.byzantine}


def ordered_twice(found: Trial) -> bool:
    """Some transaction was applied, and aborted as a duplicate."""
    applied = {tx for e in events(found, "execute") for tx in e["applied"]}
    again = {tx for e in events(found, "execute") for tx, reason in e["aborted"] if reason == "duplicate"}
    return bool(applied & again)


def far_numbers(found: Trial) -> bool:
    """Numbers inside the window were certified, and those beyond it refused."""
    certified = {e["seq"] for e in events(found, "available") if e["proposer"] in found.info.byzantine}
    return max(certified) > 600 and rejected("beyond the window")(found)


def full_blocks(found: Trial) -> bool:
    """The flood filled a block, and honest batches were in the blocks meanwhile."""
    sizes = Counter(e["height"] for e in events(found, "finalise") for _ in e["batches"] if e["node"] == "n1")
    return max(sizes.values()) >= 45


def reversed_batches(found: Trial) -> bool:
    return any(e["proposer"] in found.info.byzantine for e in events(found, "available"))


def ground_blocks(found: Trial) -> bool:
    return any(e["proposer"] in found.info.byzantine for e in events(found, "finalise"))


def overruled(found: Trial) -> bool:
    """State certificates of the clan carry honest signatures only."""
    signers = {s for e in events(found, "state_certificate") if e["clan"] == 0 for s in e["signers"]}
    return bool(signers) and not signers & set(found.info.byzantine)


def one_primary(found: Trial) -> bool:
    """Everything in a batch was included by the chosen primary of its clan, or after its time-out."""
    roles = Counter((e["primary"], e["role"]) for e in events(found, "include"))
    return {primary for primary, _ in roles} == {"n0", "n3"} and min(roles["n0", "primary"], roles["n3", "primary"]) > 5


def just_in_time(found: Trial) -> bool:
    """The slow leader keeps its views: nobody times out."""
    return bool(events(found, "finalise")) and not events(found, "timeout")


def whole_tribe_lost_its_tail(found: Trial) -> bool:
    """Everybody started again at one moment, and some of what was written last was gone."""
    again = {e["node"]: e["time"] for e in events(found, "restart")}
    said = [o.value["receipt"]["evidence"] for o in found.run.history if o.process == "nemesis" and o.f == "stop"]
    return (
        set(again) == set(found.info.tribe)
        and max(again.values()) - min(again.values()) < 10_000_000
        and not any("; 0 records lost" in evidence for evidence in said)
    )


SIGNS: dict[str, Sign] = {
    "r4-blackout-at": whole_tribe_lost_its_tail,
    "b7-ground-hashes-at": one_primary,
    "b5-early-secondary-at": ordered_twice,
    "b6-racing-secondary-at": ordered_twice,
    "b8-batch-replayer-at": ordered_twice,
    "b10-reordered-batch-at": reversed_batches,
    "b11-repeated-transactions-at": ordered_twice,
    "b11-stuffed-batch-at": rejected("signature"),
    "c12-stale-fallback-at": rejected("is not on its highest block"),
    "c13-timeout-forger-at": rejected("timeout certificate of view"),
    "c16-transplanted-certificate-at": rejected("bad signature of"),
    "c17-unverified-certificate-at": rejected("signers, threshold"),
    "c18-bad-signer-at": rejected("vote with a bad signature of n3"),
    "c18-impersonator-at": rejected(
        "vote with a bad signature",
        "timeout of view",
        "state vote of",
        "state certificate at",
        "who may not propose it",
    ),
    "c22-payload-forger-at": rejected("twice in the block", "is in an ancestor", "is finalised already", "batch 0000"),
    "c23-header-liar-at": rejected("height", "before the parent's", "is in the future", "epoch 1"),
    "d3-swapped-body-at": rejected("transaction root does not match the header"),
    "d1-colluding-clan-majority-at": no_certificate_of,
    "d3-equivocating-batch-at": two_certificates_of_one_slot,
    "d4-hidden-certificate-at": gateway_first,
    "d5-foreign-certificate-at": rejected("signature", "cycle 1"),
    "d6-too-few-signers-at": rejected("1 signers"),
    "d9-sequence-jumper-at": far_numbers,
    "d10-batch-flood-at": full_blocks,
    "d11-stale-payload-at": rejected("is finalised already"),
    "e1-lying-executor-at": overruled,
    "e2-withheld-roots-at": overruled,
    "e3-divergent-executor-at": overruled,
    "e5-order-grinder-at": ground_blocks,
    "e7-gapped-root-at": overruled,
    "l2-slow-leader-at": just_in_time,
}
