"""Was it as expected? hold: every included property passes. violate: each named one fails with a witness, the faults
did bite, and each property listed under `hold` passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.outcome import Exit
from results.verdict import Status, Verdict

RECEIPTS = "receipts"
# Judged where they are named, or where the workload makes what they judge: elsewhere they would say UNKNOWN.
ON_REQUEST = frozenset((
    "linearizable", "elle-list-append", "elle-rw-register", "cadence", "message-delays", "forensics", "accountability",
    "preconfirmation", "accusations", "catch-up", "fallbacks", "view-sync", "commit-bound", "reorg",
    "tendermint-commits", "tendermint-evidence", "hotstuff-certificates",  # named by their targets
))  # fmt: skip
OWED = {
    "list-append": ("elle-list-append",), "lists": ("elle-list-append",), "registers": ("linearizable",),
    "register-transactions": ("elle-rw-register",),
}  # fmt: skip  # workload -> checkers that judge each of its runs
_WORST = (Status.FAIL, Status.UNKNOWN, Status.PASS)
# No adversary, however strong, makes honest nodes do this: a defect of theirs, never the violation that was meant.
NEVER = frozenset((
    "invalid-certificate", "undersigned-certificate", "invalid-state-certificate", "payload-differs", "unjustified",
    "uncertified-batch", "corrupt-body", "crash-loop", "invalid-block-certificate", "invalid-timeout-certificate",
    "invalid-availability-certificate", "unjustified-two-chain", "unjustified-commit-votes", "unjustified-ancestor",
    "unknown-rule", "worthless-evidence", "vote-without-batch", "double-availability-vote",
))  # fmt: skip


def as_expected(expect: dict[str, Any], verdicts: Sequence[Verdict]) -> bool | None:
    """True or False, or None when an UNKNOWN leaves it open. `expect` as in run.json.

    A surprise outweighs an unknown: one property that certainly went the wrong way makes the answer False.
    """
    if not verdicts:
        return None
    found: dict[str, Status] = {}
    for verdict in verdicts:  # two checkers of one property: the worse verdict counts, whatever their order
        found[verdict.property] = min(found.get(verdict.property, Status.PASS), verdict.status, key=_WORST.index)
    if expect.get("violate"):
        wanted = dict.fromkeys(expect["violate"], Status.FAIL)
        wanted |= dict.fromkeys((*expect.get("hold", ()), RECEIPTS), Status.PASS)
    else:
        wanted = dict.fromkeys((*found, RECEIPTS), Status.PASS)
    states = {name: found.get(name, Status.UNKNOWN) for name in wanted}
    if states.get(RECEIPTS) is Status.FAIL and expect.get("violate"):
        states[RECEIPTS] = Status.UNKNOWN  # the attack did not happen as declared: nothing was shown
    if states[RECEIPTS] is Status.UNKNOWN and expect.get("violate"):  # nor by what an attack that was none left whole
        states |= {name: Status.UNKNOWN for name in expect["violate"] if states[name] is Status.PASS}
    if any(anomaly.kind in NEVER for verdict in verdicts for anomaly in verdict.anomalies):
        return False
    if any(states[name] not in (wanted[name], Status.UNKNOWN) for name in wanted):
        return False
    return None if Status.UNKNOWN in states.values() else True


def exit_code(expected: bool | None) -> Exit:
    """0, 1 or 2."""
    return {True: Exit.AS_EXPECTED, False: Exit.SURPRISE, None: Exit.INCONCLUSIVE}[expected]


def names_to_judge(
    include: Sequence[str], expect: dict[str, Any], registered: Sequence[str], workload: str = ""
) -> list[str]:
    """Which checkers judge a run: the included ones (all but ON_REQUEST, if none are named), those that its workload is
    for, those that the expectation needs, and always the one that asks whether what was declared did bite."""
    usual = [name for name in registered if name not in ON_REQUEST]
    owed = OWED.get(workload, ())
    names = [*(include or usual), *owed, RECEIPTS, *expect.get("violate", ()), *expect.get("hold", ())]
    return list(dict.fromkeys(names))
