"""Planted violations of CometBFT's chain, in a recorded run of four validators of which n3 and n4 share a key.

The recording (cometbft-twins.jsonl: heights 1 to 8 of n0, 1 to 6 of n1) is a real one; so are its keys, which
come from seed 1, and with which plants sign anew what they forge.
"""

from __future__ import annotations

import base64
import copy
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from checkers.tendermint.records import Commit, CommitSig, Header, read
from harness.targets.cometbft.keys import Key
from tests.golden.planting import bounds, plant
from tests.golden.story import Record, Story, load
from tests.golden.world import World

RECORDED = Path(__file__).with_name("cometbft-twins.jsonl")
CHAIN = "moonquake-1"


def recorded() -> Story:
    """The recording as it is: one double vote at height 4, its evidence in block 5, the set changed at 7."""
    return load(RECORDED)


def become(story: Story) -> None:
    """Turn a story into the recording."""
    held = recorded()
    story.info, story.history, story.trace = held.info, held.history, held.trace


def block(story: Story, node: str, height: int) -> Record:
    return story.events("tendermint-block", node=node, height=height)[0]


def signed(commit: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The commit with the signatures of these validators made anew, and the others absent."""
    keys = {key.address.upper(): key for key in (Key.of(1, "validator", name) for name in names)}
    made = copy.deepcopy(commit)
    for one in made["signatures"]:
        key = keys.get(one["validator_address"])
        if key is None:
            one.update(block_id_flag=1, validator_address="", signature=None, timestamp="0001-01-01T00:00:00Z")
            continue
        told: Commit = read(made, Commit)
        own: CommitSig = read(one, CommitSig)
        signature = SigningKey(key.secret).sign(told.sign_bytes(own, CHAIN)).signature
        one["signature"] = base64.b64encode(signature).decode()
    return made


# ---------------------------------------------------------------- tendermint-commits
@plant("tendermint-commits", "wrong-hash")
def another_content_under_one_header(world: World, story: Story) -> None:
    become(story)
    block(story, "n1", 3)["txs"] = [base64.b64encode(b"r0=9").decode()]


@plant("tendermint-commits", "wrong-chain")
def a_block_of_another_chain(world: World, story: Story) -> None:
    become(story)
    block(story, "n1", 3)["header"]["chain_id"] = "moonquake-2"


@plant("tendermint-commits", "unproven-validators")
def a_set_that_nobody_announced(world: World, story: Story) -> None:
    become(story)
    held = block(story, "n0", 7)
    held["header"]["validators_hash"] = block(story, "n0", 6)["header"]["validators_hash"]


@plant("tendermint-commits", "invalid-signature")
def one_signature_for_another(world: World, story: Story) -> None:
    become(story)
    signatures = story.events("tendermint-commit", node="n0")[0]["commit"]["signatures"]
    signatures[0]["signature"] = signatures[1]["signature"]


@plant("tendermint-commits", "thin-commit")
def two_of_four(world: World, story: Story) -> None:
    become(story)
    held = story.events("tendermint-commit", node="n0")[0]
    held["commit"] = signed(held["commit"], ("n0", "n2"))


@plant("tendermint-commits", "commit-for-another")
def the_commit_of_another_block(world: World, story: Story) -> None:
    become(story)
    block(story, "n0", 6)["last_commit"] = copy.deepcopy(block(story, "n0", 5)["last_commit"])


@plant("tendermint-commits", "unjustified")
def final_without_a_commit(world: World, story: Story) -> None:
    become(story)
    story.drop("tendermint-block", node="n1", height=4)


@plant("tendermint-commits", "two-commits")
def a_branch_that_three_signed(world: World, story: Story) -> None:
    """n1's newest block is another one than n0 has, and n1, n2 and n3 signed it, in due form."""
    become(story)
    held = block(story, "n1", 6)
    held["header"]["consensus_hash"] = "AB" * 32
    made: Header = read(held["header"], Header)
    held["block"] = made.hash().lower()
    for event in story.events("finalise", node="n1", height=6):
        event["block"] = held["block"]
    tip = story.events("tendermint-commit", node="n1")[0]
    tip["commit"]["block_id"]["hash"] = made.hash()
    tip["commit"] = signed(tip["commit"], ("n1", "n2", "n3"))


# ---------------------------------------------------------------- tendermint-evidence
def accusation(story: Story, height: int = 5) -> list[Record]:
    """The evidence in that block, as each node told it."""
    return [event["evidence"][0]["value"] for event in story.events("tendermint-block", height=height)]


@plant("tendermint-evidence", "false-evidence")
def a_vote_that_was_not_signed(world: World, story: Story) -> None:
    become(story)
    for proof in accusation(story):
        proof["vote_a"]["round"] = proof["vote_b"]["round"] = 3


@plant("tendermint-evidence", "honest-culprit")
def a_validator_said_to_be_honest(world: World, story: Story) -> None:
    become(story)
    story.info |= {"byzantine": ["n4"], "honest": ["n0", "n1", "n2", "n3"]}
    story.info["parameters"]["validators"]["n4"]["key"] = "ab" * 32


@plant("tendermint-evidence", "late-evidence")
def too_late(world: World, story: Story) -> None:
    become(story)
    bounds(story, evidence_blocks=0)


@plant("tendermint-evidence", "repeated-evidence")
def punished_twice(world: World, story: Story) -> None:
    become(story)
    block(story, "n0", 8)["evidence"] = copy.deepcopy(block(story, "n0", 5)["evidence"])


@plant("tendermint-evidence", "unpunished")
def two_precommits_and_no_evidence(world: World, story: Story) -> None:
    """n1 holds a precommit of n3 for nothing where n0 holds one for the block; nobody put it on the chain."""
    become(story)
    bounds(story, evidence_blocks=1)
    for event in story.events("tendermint-block", height=5):
        event["evidence"] = []
    other = copy.deepcopy(block(story, "n1", 4)["last_commit"])
    address = Key.of(1, "validator", "n3").address.upper()
    for one in other["signatures"]:
        if one["validator_address"] == address:
            one["block_id_flag"] = 3
    other = signed(other, ("n0", "n1", "n2", "n3"))
    block(story, "n1", 4)["last_commit"] = other
