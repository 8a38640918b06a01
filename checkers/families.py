"""Who has to include a transaction: the family ranking of protocol.md 2.5, recomputed from run.json alone."""

from __future__ import annotations

from checkers.arithmetic import clan_faults
from checkers.evidence import EvidenceError, sha256, unhex
from checkers.index import Index


def family(index: Index, tx: str, clan: int) -> tuple[str, ...]:
    """The family of a transaction in a clan; the first is its primary. Raises EvidenceError on what cannot be ranked.

    The clan's nodes by H("FAM" | transaction id | beacon | node name), as many as the parameter family_size says, or,
    where it says 0, one more than the clan has faults: one of them is honest.
    """
    if not 0 <= clan < len(index.info.clans):
        raise EvidenceError(f"clan {clan} is none of the {len(index.info.clans)} of run.json")
    try:
        beacon = bytes.fromhex(index.info.beacon)
    except ValueError as error:
        raise EvidenceError(f"run.json: beacon {index.info.beacon!r:.80} is not hex") from error
    members = index.info.clans[clan]
    salted = b"FAM" + unhex(tx, 32, "transaction") + beacon
    size = int(index.info.parameters.get("family_size", 0)) or clan_faults(len(members)) + 1
    return tuple(sorted(members, key=lambda node: sha256(salted, node.encode()))[:size])
