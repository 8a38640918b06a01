"""Planted violations of HotStuff's chain, in a recorded run of five replicas.

The recording (hotstuff.jsonl: heights 1 to 5 of n0 and n1) is a real one; so are its keys, which come from
seed 1, and with which plants sign anew what they forge.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from checkers.evidence import sha256
from checkers.hotstuff_certificates import encoded, signed
from faults.port import Roster
from harness.targets.hotstuff import HotStuff
from tests.golden.planting import plant
from tests.golden.story import Record, Story, load
from tests.golden.world import World

RECORDED = Path(__file__).with_name("hotstuff.jsonl")
NODES = ("n0", "n1", "n2", "n3", "n4")
QUORUM = ("n0", "n1", "n2", "n3")


def recorded() -> Story:
    """The recording as it is."""
    return load(RECORDED)


def become(story: Story) -> None:
    """Turn a story into the recording."""
    held = recorded()
    story.info, story.history, story.trace = held.info, held.history, held.trace


def block(story: Story, node: str, height: int) -> Record:
    return story.events("finalise", node=node, height=height)[0]


def votes(certificate: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The certificate with the votes of these replicas made anew, and no others."""
    keys: dict[str, SigningKey] = HotStuff(Roster(NODES, (), ()), 1).keys
    statement = signed(certificate)
    made = [keys[node].sign(statement).signature.hex() if node in names else None for node in NODES]
    return {**certificate, "signatures": made}


@plant("hotstuff-certificates", "wrong-hash")
def another_header_under_one_hash(world: World, story: Story) -> None:
    become(story)
    held = block(story, "n1", 3)
    held["data"] += " "
    held["data_hash"] = sha256(held["data"].encode()).hex()


@plant("hotstuff-certificates", "wrong-data")
def another_content_under_one_hash(world: World, story: Story) -> None:
    become(story)
    block(story, "n1", 3)["data"] += " "


@plant("hotstuff-certificates", "invalid-certificate")
def a_vote_for_another_view(world: World, story: Story) -> None:
    """Four signatures, one of which its replica made for another certificate."""
    become(story)
    held = block(story, "n0", 5)["certificate"]
    other = votes({**held, "view": held["view"] + 1}, QUORUM)["signatures"]
    held["signatures"] = [*votes(held, QUORUM)["signatures"][:-2], *other[-2:]]


@plant("hotstuff-certificates", "undersigned-certificate")
def three_of_five(world: World, story: Story) -> None:
    become(story)
    held = block(story, "n0", 5)
    held["certificate"] = votes(held["certificate"], QUORUM[:3])


@plant("hotstuff-certificates", "certificate-of-another")
def the_certificate_of_another_block(world: World, story: Story) -> None:
    become(story)
    block(story, "n0", 4)["certificate"] = copy.deepcopy(block(story, "n0", 3)["certificate"])


@plant("hotstuff-certificates", "two-certificates")
def a_branch_that_four_signed(world: World, story: Story) -> None:
    """n1's newest block is another one than n0 has in the same view, and four replicas signed it, in due form."""
    become(story)
    held = block(story, "n1", 5)
    held["data"] = "[] "
    data_hash = sha256(held["data"].encode())
    held["data_hash"] = data_hash.hex()
    held["block"] = sha256((held["height"] - 1).to_bytes(8, "little"), encoded(held["justify"]), data_hash).hex()
    held["certificate"] = votes({**held["certificate"], "block": held["block"]}, QUORUM)
