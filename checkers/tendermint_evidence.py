"""tendermint-evidence: evidence of double votes on a CometBFT chain is true, names the guilty, and comes in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from checkers.evidence import EvidenceError
from checkers.index import Index
from checkers.judge import Judge, conclude
from checkers.tendermint.chain import Chain, Set, Told, chain_of, corrupt_of, names_of
from checkers.tendermint.records import (
    ABSENT,
    COMMIT,
    DUPLICATE_VOTE,
    BlockId,
    DuplicateVote,
    duplicate_vote,
    unbase64,
)
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

KINDS = {1: "prevote", 2: "precommit"}


@dataclass(frozen=True)
class Accusation:
    """Evidence on the chain: the block that carries it, and the address that it names."""

    told: Told
    proof: DuplicateVote

    @property
    def address(self) -> str:
        return self.proof.vote_a.validator_address.upper()

    @property
    def height(self) -> int:
        return self.proof.vote_a.height


class TendermintEvidence(Judge):
    """DuplicateVoteEvidence on the chain proves a double vote of a corrupted validator, within evidence_blocks.

    Both votes must verify, be of one validator, height, round and type, and for different blocks. Anomalies:
    false-evidence, honest-culprit (proven, but run.json says that this validator was honest), late-evidence,
    repeated-evidence, unpunished (honest nodes of one chain hold two precommits of one validator for one height and
    round, and no evidence of it followed within the bound). A corrupted validator that nobody accused leaves the
    verdict UNKNOWN. Examined: blocks whose lists of evidence were read.
    """

    property: ClassVar[str] = "tendermint-evidence"

    def judge(self, index: Index) -> Verdict:
        chain, names, corrupt = chain_of(index), names_of(index.info), corrupt_of(index.info)
        within, accusations = index.bounds.evidence_blocks, list(_accusations(chain))
        anomalies: list[Anomaly] = []
        seen: dict[bytes, Accusation] = {}
        for one in accusations:
            anomalies += _judged(chain, one, corrupt, names, within)
            before = seen.setdefault(one.proof.encoded(), one)
            if before is not one and before.told.block.block != one.told.block.block:
                anomalies += _repeated(before, one, names)
        accused = {one.address for one in accusations}
        anomalies += _unpunished(index, chain, accused, names)
        doubts = []
        missing = sorted(names.get(address, address) for address in corrupt - accused)
        if missing:
            doubts.append(f"{', '.join(missing)} votes with a key that is used twice, and no evidence of it came")
        measures: dict[str, Any] = {
            "evidence": len(seen),
            "culprits": sorted({names.get(address, address) for address in accused}),
            "blocks_until_evidence": sorted({one.told.block.height - one.height for one in seen.values()}),
            "bound_blocks": within,
        }
        nothing = "no honest node told a block (tendermint-block): is this a run of CometBFT?"
        return conclude(self.property, len(chain.blocks), anomalies, measures, nothing, doubts)


def _judged(chain: Chain, one: Accusation, corrupt: set[str], names: dict[str, str], within: int) -> list[Anomaly]:
    told, who = one.told, names.get(one.address, one.address)
    where = f"the evidence against {who} in block {told.block.height} ({told.node})"
    false = _false(chain, one)
    if false:
        return [Anomaly("false-evidence", f"{where} proves nothing: {false}", [told.event])]
    kind = KINDS.get(one.proof.vote_a.type, "vote")
    if one.address not in corrupt:
        summary = f"{where} holds: {who}, said to be honest, signed two {kind}s of height {one.height}"
        return [Anomaly("honest-culprit", summary, [told.event])]
    blocks = told.block.height - one.height
    if blocks > within:
        summary = f"{where} is of height {one.height}: {blocks} blocks later, bound {within}"
        return [Anomaly("late-evidence", summary, [told.event])]
    return []


def _unpunished(index: Index, chain: Chain, accused: set[str], names: dict[str, str]) -> list[Anomaly]:
    within = index.bounds.evidence_blocks
    top = max((told.block.height for told in chain.told), default=0)
    forked = min((h for h, blocks in index.finals.items() if len(blocks) > 1), default=top + 1)
    first: dict[tuple[str, int, int], tuple[BlockId, TraceEvent]] = {}
    anomalies: dict[str, Anomaly] = {}
    for address, height, round_, voted, event in _precommits(chain):
        other, record = first.setdefault((address, height, round_), (voted, event))
        if other == voted or height >= forked or height + within > top or address in accused:
            continue
        who = names.get(address, address)
        summary = (
            f"{who} signed two precommits of height {height} in round {round_}, which {record['node']} and"
            f" {event['node']} hold; in {top - height} blocks no evidence of it came"
        )
        anomalies.setdefault(address, Anomaly("unpunished", summary, [record, event]))
    return list(anomalies.values())


def _accusations(chain: Chain) -> Iterator[Accusation]:
    """Each block's evidence once, whoever told the block."""
    for told in chain.blocks.values():
        for evidence in told.block.evidence:
            if evidence.type == DUPLICATE_VOTE:
                yield Accusation(told, duplicate_vote(evidence))


def _repeated(before: Accusation, one: Accusation, names: dict[str, str]) -> list[Anomaly]:
    if before.told.block.height == one.told.block.height:
        return []  # two branches of a fork
    who = names.get(one.address, one.address)
    summary = f"block {one.told.block.height} punishes {who} for what block {before.told.block.height} had done already"
    return [Anomaly("repeated-evidence", summary, [before.told.event, one.told.event])]


def _false(chain: Chain, one: Accusation) -> str:
    """Why the evidence proves nothing ("": it proves a double vote)."""
    a, b = one.proof.vote_a, one.proof.vote_b
    if (a.height, a.round, a.type) != (b.height, b.round, b.type):
        return "the votes are of different heights, rounds or types"
    if a.validator_address != b.validator_address:
        return "the votes are of different validators"
    if a.block_id == b.block_id:
        return "both votes are for the same block"
    if a.height >= one.told.block.height:
        return f"the votes are of height {a.height}, the block that carries it of {one.told.block.height}"
    validators = _set_at(chain, one.told, a.height)
    voter = next((v for v in validators if v.address == one.address), None)
    if voter is None:
        return "its validator is in no set that voted at that height"
    for vote in (a, b):
        if not chain.holds(voter.key, vote.sign_bytes(chain.id), unbase64(vote.signature or "")):
            return f"the signature of the vote for {vote.block_id.hash[:10] or 'nil'} does not hold"
    if (one.proof.power, one.proof.total) != (voter.power, sum(v.power for v in validators)):
        return f"it gives {one.proof.power} of {one.proof.total} voting power, which is not the set's"
    return ""


def _set_at(chain: Chain, told: Told, height: int) -> Set:
    """The validators of that height on the branch that ends in this block. Raises EvidenceError if nobody told it."""
    block = told.block
    while block.height > height:
        parent = chain.blocks.get(block.header.last_block_id.block)
        if parent is None:
            break
        block = parent.block
    found = chain.validators(block)
    if found is None or block.height != height:
        raise EvidenceError(f"no honest node told block {height} and its validators, of which evidence speaks")
    return found


def _precommits(chain: Chain) -> Iterator[tuple[str, int, int, BlockId, TraceEvent]]:
    """(address, height, round, what for, record) of every signature in commits that holds."""
    keys = {one.address: one.key for members in chain.sets.values() for one in members}
    for commit, event, _ in chain.commits:
        for one in commit.signatures:
            key = keys.get(one.validator_address.upper())
            if one.block_id_flag == ABSENT or key is None:
                continue
            if chain.holds(key, commit.sign_bytes(one, chain.id), unbase64(one.signature or "")):
                voted = commit.block_id if one.block_id_flag == COMMIT else BlockId()
                yield one.validator_address.upper(), commit.height, commit.round, voted, event
