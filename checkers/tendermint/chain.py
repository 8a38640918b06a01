"""A CometBFT chain as honest nodes read it back: its blocks, validator sets and commits, each checked once.

Trace events (harness/targets/cometbft): `tendermint-block` {height, block, header, txs, evidence, last_commit},
`tendermint-commit` {height, commit} for a block that has no successor yet, `tendermint-validators` {height,
validators: [[key, power]]} for each set that a node was seen to use. run.json has the genesis: parameters.chain_id, and
parameters.validators, node -> {key, power}; nodes with one key are one validator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from checkers.evidence import EvidenceError, signature_holds
from checkers.index import Index
from checkers.tendermint.records import (
    ABSENT,
    COMMIT,
    Block,
    Commit,
    CommitSig,
    Validator,
    read,
    unbase64,
    unhex,
    validators_hash,
)
from results.store import RunInfo
from results.trace import TraceEvent

Set = tuple[Validator, ...]


@dataclass(frozen=True)
class Told:
    """A block, or a commit of one, and the record in which an honest node told it."""

    node: str
    block: Block
    event: TraceEvent


@dataclass(frozen=True)
class Sealed:
    """A commit and the honest nodes that told it. `fault`: why it makes nothing final ("": it does)."""

    commit: Commit
    event: TraceEvent
    nodes: tuple[str, ...]
    fault: str = ""
    kind: str = ""
    signers: tuple[str, ...] = ()  # addresses whose signatures for the block hold


@dataclass
class Chain:
    """What is known of a run's chain. `sets` by hash; `blocks` by id, as first told."""

    id: str
    genesis: Set
    sets: dict[str, Set]
    told: list[Told]
    blocks: dict[str, Told] = field(default_factory=dict)
    commits: list[tuple[Commit, TraceEvent, tuple[str, ...]]] = field(default_factory=list)
    signatures: int = 0  # verified so far
    _known: dict[tuple[bytes, bytes, bytes], bool] = field(default_factory=dict)

    def validators(self, block: Block) -> Set | None:
        """The set that votes on this block, if any node told it."""
        return self.sets.get(block.header.validators_hash)

    def holds(self, key: str, statement: bytes, signature: bytes) -> bool:
        """Did the key sign the statement? Each signature is checked once."""
        at = (unhex(key), statement, signature)
        if at not in self._known:
            self._known[at] = signature_holds(*at)
            self.signatures += 1
        return self._known[at]


def chain_of(index: Index) -> Chain:
    """Everything that honest nodes told of the chain. Raises EvidenceError for records that are none of CometBFT's."""
    genesis = genesis_of(index.info)
    sets = {validators_hash(genesis): genesis}
    for event in index.events("tendermint-validators"):
        told = tuple(Validator(str(key), int(power)) for key, power in event["validators"])
        sets.setdefault(validators_hash(told), told)
    chain = Chain(str(index.info.parameters.get("chain_id", "")), genesis, sets, [])
    for event in index.events("tendermint-block"):
        block = read(event, Block)
        chain.told.append(Told(event["node"], block, event))
        chain.blocks.setdefault(block.block.lower(), chain.told[-1])
    chain.commits = _commits(index, chain.told)
    return chain


def genesis_of(info: RunInfo) -> Set:
    """The validators that run.json says the chain began with, each once. Raises EvidenceError if it names none."""
    return tuple(dict.fromkeys(_voters(info).values()))


def names_of(info: RunInfo) -> dict[str, str]:
    """Validator address -> the nodes that vote with its key, as people read it."""
    found: dict[str, list[str]] = {}
    for node, voter in _voters(info).items():
        found.setdefault(voter.address, []).append(node)
    return {address: "/".join(nodes) for address, nodes in found.items()}


def corrupt_of(info: RunInfo) -> set[str]:
    """Addresses of the validators that run.json says are corrupted."""
    voters = _voters(info)
    return {voters[node].address for node in info.byzantine if node in voters}


def _voters(info: RunInfo) -> dict[str, Validator]:
    said = info.parameters.get("validators")
    if not isinstance(said, Mapping) or not said:
        raise EvidenceError("run.json names no validators (parameters.validators): nobody to check commits against")
    return {str(node): read(one, Validator) for node, one in said.items()}


def _commits(index: Index, told: Iterable[Told]) -> list[tuple[Commit, TraceEvent, tuple[str, ...]]]:
    """Different commits of blocks, with the nodes that told each."""
    found: dict[bytes, tuple[Commit, TraceEvent, list[str]]] = {}
    every = [(t.block.last_commit, t.event) for t in told if t.block.height > 1]
    every += [(read(event["commit"], Commit), event) for event in index.events("tendermint-commit")]
    for commit, event in every:
        nodes = found.setdefault(msgspec.json.encode(commit), (commit, event, []))[2]
        if event["node"] not in nodes:
            nodes.append(event["node"])
    return [(commit, event, tuple(nodes)) for commit, event, nodes in found.values()]


def sealed(chain: Chain) -> tuple[list[Sealed], list[str]]:
    """Every commit, judged; and why some could not be."""
    found, doubts = [], []
    for commit, event, nodes in chain.commits:
        at = chain.blocks.get(commit.block_id.block)
        if at is None:
            doubts.append(f"{nodes[0]} told a commit of height {commit.height} whose block no honest node told")
            continue
        validators = chain.validators(at.block)
        if validators is None:
            doubts.append(f"no honest node told the validators that vote on height {commit.height}")
            continue
        kind, fault, signers = _judge(chain, commit, at.block, validators)
        found.append(Sealed(commit, event, nodes, fault, kind, signers))
    return found, doubts


def _judge(chain: Chain, commit: Commit, block: Block, validators: Set) -> tuple[str, str, tuple[str, ...]]:
    """(kind of the fault, the fault in words, addresses that signed for the block)."""
    ordered = sorted(validators, key=lambda one: (-one.power, one.address))
    if commit.height != block.height:
        return "thin-commit", f"it says height {commit.height}, its block is of height {block.height}", ()
    if len(commit.signatures) != len(ordered):
        return "thin-commit", f"it has {len(commit.signatures)} places for {len(ordered)} validators", ()
    signers = []
    for one, validator in zip(commit.signatures, ordered, strict=True):
        if one.block_id_flag == ABSENT:
            continue
        if not _signed(chain, commit, one, validator):
            return "invalid-signature", f"the signature of {one.validator_address} does not cover its vote", ()
        if one.block_id_flag == COMMIT:
            signers.append(validator)
    power, total = sum(one.power for one in signers), sum(one.power for one in ordered)
    names = tuple(one.address for one in signers)
    if 3 * power <= 2 * total:
        return "thin-commit", f"{power} of {total} voting power signed it, which is no more than two thirds", names
    return "", "", names


def _signed(chain: Chain, commit: Commit, one: CommitSig, validator: Validator) -> bool:
    if one.validator_address.upper() != validator.address:
        return False
    return chain.holds(validator.key, commit.sign_bytes(one, chain.id), unbase64(one.signature or ""))
