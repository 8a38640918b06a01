"""Writes the golden runs: `python -m tests.golden.make` from the repository root; the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.golden import delays, plants_cometbft, plants_hotstuff, registers, transactions
from tests.golden.plants import PLANTS, READS, answered
from tests.golden.plants_judges import accused, calm, cut_off, fallen_back
from tests.golden.plants_receipts import declare_partition
from tests.golden.plants_services import rescued, split
from tests.golden.story import Story
from tests.golden.world import World

HERE = Path(__file__).parent


def world() -> World:
    """The world behind the golden files: four nodes, one gateway, three blocks; one transfer and one list operation."""
    return World(plan=(1, 1, 0), seed=0)


def good(checker: str, base: Story) -> Story:
    story = base.copy()
    if checker == "receipts":
        declare_partition(story)
    if checker == "acknowledged":
        story = answered(world(), story)
    if checker == "forensics":
        story = split(world(), story)
    if checker == "accountability":
        story = rescued(world(), story)
    if checker == "accusations":
        story = accused(world(), story)
    if checker in ("commit-bound", "reorg"):
        story = calm(story)
    if checker == "fallbacks":
        story = fallen_back(world(), story)
    if checker == "catch-up":
        story = cut_off(story)
    if checker == "linearizable":
        story.history = registers.history("ok-keys-are-independent")
    if checker in ("cadence", "message-delays"):
        story = delays.rhythm(story)
    if checker.startswith("tendermint-"):
        story = plants_cometbft.recorded()
    if checker == "hotstuff-certificates":
        story = plants_hotstuff.recorded()
    if checker in transactions.TEXTS:
        story.history = transactions.history(checker, "ok-one-after-the-other")
    return story


def slug(kind: str) -> str:
    return kind.replace(" ", "-").replace(".", "-")


def stories() -> dict[str, Story]:
    """Path below this directory -> story."""
    origin = world()
    base = origin.story()
    made: dict[str, Story] = {}
    for checker, plants in PLANTS.items():
        made[f"{checker}/ok-small.jsonl"] = good(checker, base).only(*READS[checker])
        for kind, alter in plants.items():
            story = base.copy()
            alter(origin, story)
            made[f"{checker}/bad-{slug(kind)}.jsonl"] = story.only(*READS[checker])
    return made


def histories() -> dict[str, bytes]:
    """Path below this directory -> a history.jsonl of registers, as `moonquake check` reads it."""
    return {
        f"linearizable/histories/{name}.jsonl": b"".join(
            msgspec.json.encode(record) + b"\n" for record in registers.history(name)
        )
        for name in registers.TEXTS
    }


def main() -> None:
    for name, story in stories().items():
        story.save(HERE / name)
    for name, lines in (histories() | transactions.histories()).items():
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lines)


if __name__ == "__main__":
    main()
