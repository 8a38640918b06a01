"""Pure rules that more than one core applies: which finalised batches count, and whose a transaction is.

Both are functions of the finalised chain and the genesis alone, so every honest node gets the same answer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from nodes.committee import Committee, list_shard
from nodes.messages import AvailabilityCertificate, Transaction, Transfer


class EffectiveBatches:
    """Which batches of the chain take effect (U6). Feed certificates in chain order, each once.

    EQ-FIRST ("first"): a key (clan, proposer, seq) that was effective before makes every later batch of it void.
    EQ-BOTH ("both"): every finalised batch takes effect; copies of its transactions abort as duplicates.
    Memory: one interval per run of consecutive sequence numbers of a proposer.
    """

    def __init__(self, rule: str) -> None:
        self._first = rule == "first"
        self._runs: dict[tuple[int, str], list[list[int]]] = {}

    def split(
        self, certificates: Iterable[AvailabilityCertificate]
    ) -> tuple[tuple[AvailabilityCertificate, ...], tuple[AvailabilityCertificate, ...]]:
        """(effective, void), each in the order given; remembers the keys of the effective ones."""
        effective: list[AvailabilityCertificate] = []
        void: list[AvailabilityCertificate] = []
        for certificate in certificates:
            fresh = not self._first or self._take(certificate)
            (effective if fresh else void).append(certificate)
        return tuple(effective), tuple(void)

    def _take(self, certificate: AvailabilityCertificate) -> bool:
        seq = certificate.seq
        runs = self._runs.setdefault((certificate.clan, certificate.proposer), [])
        at = bisect_right(runs, seq, key=lambda run: run[0])  # runs[at - 1] is the last one that starts at or below
        if at and seq <= runs[at - 1][1]:
            return False
        left = at > 0 and runs[at - 1][1] == seq - 1
        right = at < len(runs) and runs[at][0] == seq + 1
        if left and right:
            runs[at - 1][1] = runs[at][1]
            del runs[at]
        elif left:
            runs[at - 1][1] = seq
        elif right:
            runs[at][0] = seq
        else:
            runs.insert(at, [seq, seq])
        return True


def foreign_part(committee: Committee, transaction: Transaction, clan: int) -> str | None:
    """What `transaction` touches outside `clan` (for a person to read), or None: it is wholly the clan's own."""
    if len(committee.clans) == 1:
        return None if clan == 0 else f"clan {clan}"
    owner = committee.clan_of_key(transaction.sender)
    if owner != clan:
        return f"sender {transaction.sender.hex()} of clan {owner}"
    for operation in transaction.operations:
        if isinstance(operation, Transfer):
            owner, what = committee.clan_of_key(operation.to), f"account {operation.to.hex()}"
        else:
            owner, what = committee.clan_of_key(list_shard(operation.key)), f"list {operation.key}"
        if owner != clan:
            return f"{what} of clan {owner}"
    return None
