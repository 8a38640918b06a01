"""Writes the golden runs: `python -m tests.golden.make` from the repository root; the same bytes each time."""

from __future__ import annotations

from pathlib import Path

from tests.golden.plants import PLANTS, READS, declare_partition
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


def main() -> None:
    for name, story in stories().items():
        story.save(HERE / name)


if __name__ == "__main__":
    main()
