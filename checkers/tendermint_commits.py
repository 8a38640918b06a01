"""tendermint-commits: every CometBFT block is what its hash says and was committed by more than two thirds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from checkers.index import Index
from checkers.judge import Judge, conclude, short
from checkers.tendermint.chain import Chain, Sealed, Told, chain_of, names_of, sealed
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

NOTHING = "no honest node told a commit (tendermint-block, tendermint-commit): is this a run of CometBFT?"


class TendermintCommits(Judge):
    """Headers hash to their block's id, sets of validators follow from the genesis, commits hold > 2/3 of the power.

    All hashes and sign bytes are computed again, every signature is verified. Anomalies: wrong-hash (a block's content
    is not what its header says), wrong-chain, unproven-validators (not the set that the parent announced),
    invalid-signature, thin-commit, commit-for-another (a block carries the commit of another block than its parent),
    unjustified (final at a node that tells no commit of it; its newest block excepted), two-commits (for one height).
    Examined: different commits.
    """

    property: ClassVar[str] = "tendermint-commits"

    def judge(self, index: Index) -> Verdict:
        chain = chain_of(index)
        found, doubts = sealed(chain)
        good = [one for one in found if not one.fault]
        names = names_of(index.info)
        anomalies = _blocks(chain) + _invalid(found) + _two(good, names)
        unsealed, tips = _unjustified(index, chain)
        measures: dict[str, Any] = {
            "blocks": len(chain.blocks),
            "commits": len(found),
            "signatures": chain.signatures,
            "validator_sets": len(chain.sets),
            "rounds_beyond_the_first": sum(one.commit.round > 0 for one in good),
            "newest_without_commit": tips,
        }
        return conclude(self.property, len(found), anomalies + unsealed, measures, NOTHING, doubts)


def _blocks(chain: Chain) -> list[Anomaly]:
    anomalies = []
    seen: set[tuple[str, str]] = set()
    for told in chain.told:
        for kind, fault in _faults(chain, told):
            if (told.block.block, kind) not in seen:
                seen.add((told.block.block, kind))
                summary = f"{told.node} told block {short(told.block.block)} of height {told.block.height}: {fault}"
                anomalies.append(Anomaly(kind, summary, [told.event]))
    return anomalies


def _faults(chain: Chain, told: Told) -> list[tuple[str, str]]:
    block, header = told.block, told.block.header
    faults = []
    misfit = block.misfit()
    if misfit:
        faults.append(("wrong-hash", f"its {misfit}"))
    if header.chain_id != chain.id:
        faults.append(("wrong-chain", f"it is of chain {header.chain_id!r}, this one is {chain.id!r}"))
    if block.height > 1 and block.last_commit.block_id != header.last_block_id:
        faults.append(("commit-for-another", "the commit that it carries is not one of its parent"))
    parent = chain.blocks.get(header.last_block_id.block)
    announced = parent.block.header.next_validators_hash if parent is not None else ""
    if block.height == 1:
        announced = next(iter(chain.sets))  # the genesis comes first
    if announced and announced != header.validators_hash:
        faults.append(("unproven-validators", "its validators are not those that its parent, or the genesis, named"))
    return faults


def _invalid(found: Sequence[Sealed]) -> list[Anomaly]:
    return [
        Anomaly(
            one.kind,
            f"{' and '.join(one.nodes)} took {short(one.commit.block_id.block)} at height {one.commit.height} for"
            f" committed in round {one.commit.round}, but {one.fault}",
            [one.event],
        )
        for one in found
        if one.fault
    ]


def _two(good: Sequence[Sealed], names: dict[str, str]) -> list[Anomaly]:
    """Heights with good commits of two blocks, and who signed both."""
    by_height: dict[int, dict[str, Sealed]] = {}
    for one in good:
        by_height.setdefault(one.commit.height, {}).setdefault(one.commit.block_id.block, one)
    anomalies = []
    for height in sorted(by_height):
        several = list(by_height[height].values())
        if len(several) > 1:
            both = [names.get(a, a) for a in several[0].signers if a in several[1].signers]
            told = " and ".join(
                f"{short(one.commit.block_id.block)} (round {one.commit.round}, told by {', '.join(one.nodes)})"
                for one in several
            )
            summary = f"height {height} has commits for {told}; {', '.join(both)} signed both"
            anomalies.append(Anomaly("two-commits", summary, [one.event for one in several]))
    return anomalies


def _unjustified(index: Index, chain: Chain) -> tuple[list[Anomaly], int]:
    """Final blocks without a commit that their own node told, and how many of these are a node's newest. Whether the
    commits are good is judged elsewhere."""
    committed = {(node, commit.block_id.block) for commit, _, nodes in chain.commits for node in nodes}
    tips: dict[str, int] = {}
    finals = index.events("finalise")
    for event in finals:
        tips[event["node"]] = max(tips.get(event["node"], 0), event["height"])
    bare: dict[tuple[str, str], TraceEvent] = {}
    for event in finals:
        if (event["node"], event["block"].lower()) not in committed:
            bare.setdefault((event["node"], event["block"]), event)
    newest = [event for event in bare.values() if event["height"] == tips[event["node"]]]
    anomalies = [
        Anomaly(
            "unjustified",
            f"{event['node']} holds {short(event['block'])} final at height {event['height']}, and tells no commit",
            [dict(event)],
        )
        for event in bare.values()
        if event["height"] < tips[event["node"]]
    ]
    return anomalies, len(newest)
