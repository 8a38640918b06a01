"""`python -m tests.mutants.measure RUN_DIR ...`: plants everything in recorded runs; prints planted and found."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from checkers.registry import judge
from results.verdict import Status
from tests.golden.story import Story
from tests.mutants import forgeries, outcomes
from tests.mutants.records import PLANTS, Plant

__all__ = ["forgeries", "outcomes"]


def recorded(directory: Path) -> Story:
    """A run directory as a story."""
    lines: dict[str, list[Any]] = {}
    for name in ("history", "trace"):
        lines[name] = [msgspec.json.decode(line) for line in (directory / f"{name}.jsonl").read_bytes().splitlines()]
    return Story(msgspec.json.decode((directory / "run.json").read_bytes()), lines["history"], lines["trace"])


def missed(origin: Story, plant: Plant, seed: int) -> list[str] | None:
    """Owners that did not notice, None where the run has nothing to alter."""
    story = origin.copy()
    if not plant.alter(story, Random(seed)):
        return None
    wanted = (Status.FAIL,) if plant.kind == "violation" else (Status.FAIL, Status.UNKNOWN)
    return [v.property for v in judge(story.run(), plant.owners) if v.status not in wanted]


def measure(directories: Iterable[Path], seeds: int) -> int:
    """Prints a table and every miss; returns how many were missed."""
    planted: dict[str, int] = {}
    found: dict[str, int] = {}
    for directory in directories:
        origin = recorded(directory)
        for plant in PLANTS:
            for seed in range(seeds):
                misses = missed(origin, plant, seed)
                if misses is None:
                    continue
                for owner in plant.owners:
                    key = f"{owner} ({plant.kind})"
                    planted[key] = planted.get(key, 0) + 1
                    found[key] = found.get(key, 0) + (owner not in misses)
                if misses:
                    sys.stdout.write(f"MISS {directory.parent.name} seed {seed}: {plant.name}: {', '.join(misses)}\n")
    for key in sorted(planted):
        sys.stdout.write(f"{key:34} planted {planted[key]:5} found {found[key]:5}\n")
    return sum(planted.values()) - sum(found.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    return 1 if measure(arguments.runs, arguments.seeds) else 0


if __name__ == "__main__":
    sys.exit(main())
