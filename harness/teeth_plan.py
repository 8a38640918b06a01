"""What `moonquake teeth` plays, in which order, and what it adds up to.

First every mutant's witness and every trap; then, as far as they are asked for or the budget reaches, by turns: the
other seeds of the witnesses, random runs with the mutant and generator of which least is known (the widest interval),
and the same runs with the clean build.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

import msgspec

from harness.mutants import Mutant
from harness.teeth import GENERATORS, Done, Kind, Task
from results.stats import binomial_interval

SEARCHES = 5  # of which the median is told
BY_TURNS: tuple[Kind, ...] = ("random", "clean", "witness")


class Aim(msgspec.Struct, frozen=True):
    """How much to play: seeds of each witness, random runs of each mutant, clean runs; None: as the time allows."""

    seeds: int = 1
    random: int | None = 0
    clean: int | None = 0
    generators: tuple[str, ...] = GENERATORS[:1]


class Ledger:
    """What was played, by kind and id."""

    def __init__(self, mutants: Sequence[Mutant], traps: Sequence[str], aim: Aim, done: Sequence[Done] = ()) -> None:
        self.mutants, self.traps, self.aim = tuple(mutants), tuple(traps), aim
        self.done: dict[Task, Done] = {}
        self._given: set[Task] = set()
        self._count: dict[tuple[Kind, str, str], int] = {}  # kind, id, generator -> handed out
        self._hits: dict[tuple[Kind, str, str], int] = {}
        self._spent: dict[Kind, float] = {}
        for each in done:
            self._hand_out(each.task)
            self.add(each)

    # ------------------------------------------------------------ what next
    def next(self) -> Task | None:
        """The next step; None when all that was asked for is handed out."""
        for task in self._first():
            return self._hand_out(task)
        choices: dict[Kind, Callable[[], Task | None]] = {
            "random": self._random, "clean": self._clean, "witness": self._again
        }  # fmt: skip
        for kind in sorted(BY_TURNS, key=lambda kind: self._spent.get(kind, 0.0)):
            found = choices[kind]()
            if found is not None:
                return self._hand_out(found)
        return None

    def add(self, done: Done) -> None:
        """Count a step that was played."""
        task = done.task
        key = (task.kind, task.id, task.generator)
        self.done[task] = done
        self._hits[key] = self._hits.get(key, 0) + done.hit
        if task.kind != "witness" or task.seed > 1:  # the first seeds are not played by turns
            self._spent[task.kind] = self._spent.get(task.kind, 0.0) + done.seconds

    def _hand_out(self, task: Task) -> Task:
        key = (task.kind, task.id, task.generator)
        self._given.add(task)
        self._count[key] = self._count.get(key, 0) + 1
        return task

    def _first(self) -> Iterator[Task]:
        every = [Task("witness", mutant.id) for mutant in self.mutants] + [Task("trap", trap) for trap in self.traps]
        return (task for task in every if task not in self._given)

    def _again(self) -> Task | None:
        for seed in range(2, self.aim.seeds + 1):
            for mutant in self.mutants:
                task = Task("witness", mutant.id, seed)
                if task not in self._given:
                    return task
        return None

    def _random(self) -> Task | None:
        """Of the mutant and generator with the widest interval, the next seed."""
        most = self.aim.random
        open_pairs = [
            (mutant.id, generator)
            for generator in self.aim.generators
            for mutant in self.mutants
            if most is None or self._count.get(("random", mutant.id, generator), 0) < most
        ]
        if not open_pairs:
            return None
        mutant, generator = max(open_pairs, key=lambda pair: self._width("random", *pair))
        return Task("random", mutant, self._count.get(("random", mutant, generator), 0) + 1, generator)

    def _clean(self) -> Task | None:
        """As many with each generator."""
        played = {g: self._count.get(("clean", "", g), 0) for g in self.aim.generators}
        if self.aim.clean is not None and sum(played.values()) >= self.aim.clean:
            return None
        generator = min(played, key=lambda g: played[g])
        return Task("clean", "", played[generator] + 1, generator)

    def _width(self, kind: Kind, mutant: str, generator: str) -> float:
        count = self._count.get((kind, mutant, generator), 0)
        low, high = binomial_interval(min(count, self._hits.get((kind, mutant, generator), 0)), count)
        return high - low

    # ------------------------------------------------------------ what it adds up to
    def rows(self) -> list[dict[str, Any]]:
        """One row a mutant, as the command prints them."""
        return [self._row(mutant) for mutant in self.mutants]

    def _row(self, mutant: Mutant) -> dict[str, Any]:
        seen = [done for task, done in self.done.items() if task.kind == "witness" and task.id == mutant.id]
        killed = bool(seen) and all(done.hit for done in seen)
        by: dict[str, int] = {}
        for done in seen:
            for name in done.by:
                by[name] = by.get(name, 0) + 1
        reach = {
            generator: share
            for generator in self.aim.generators
            if (share := self.share("random", mutant.id, generator))["runs"]
        }
        return {
            "id": mutant.id,
            "killed": killed,
            "by": sorted(by, key=lambda name: (-by[name], name)),
            "runs": 1 if killed else None,
            "seconds": round(median(done.seconds for done in seen), 2) if seen else None,
            "seeds": len(seen),
            "group": mutant.group,
            "breaks": mutant.breaks,
            "rule": mutant.rule,
            "witness": mutant.witness,
            "random": reach,
            "best": max(reach, key=lambda g: (reach[g]["hits"] / reach[g]["runs"], reach[g]["low"]), default=None),
            "errors": [done.error.strip().splitlines()[-1] for done in seen if done.error],
        }

    def share(self, kind: Kind, ident: str, generator: str) -> dict[str, Any]:
        """Hits of the runs of one kind, with the exact 95 % interval, the first hit's number, and who fired how often;
        `search`: what a search with that generator takes until it kills.

        Runs that came to no verdict, or with a mutant in none of whose patches they ever were, do not count.
        """
        found = [d for t, d in self.done.items() if (t.kind, t.id, t.generator) == (kind, ident, generator)]
        judged = sorted((d for d in found if not d.error and d.called), key=lambda d: d.task.seed)
        hits = [d for d in judged if d.hit]
        low, high = binomial_interval(len(hits), len(judged))
        by: dict[str, int] = {}
        for each in hits:
            for name in each.by:
                by[name] = by.get(name, 0) + 1
        first = next((i for i, each in enumerate(judged, 1) if each.hit), None)
        return {
            "runs": len(judged), "hits": len(hits), "low": low, "high": high, "first": first, "by": by,
            "seconds": round(median(d.seconds for d in judged), 2) if judged else None,
            "unjudged": len(found) - len(judged), "search": _searches(judged),
        }  # fmt: skip

    def unplayed(self) -> list[str]:
        """Mutants and traps of which not even the first seed was played."""
        played = {(task.kind, task.id) for task in self.done}
        wanted = [("witness", mutant.id) for mutant in self.mutants] + [("trap", trap) for trap in self.traps]
        return [ident for kind, ident in wanted if (kind, ident) not in played]

    def lab(self) -> list[dict[str, Any]]:
        """One row a trap."""
        rows = []
        for task, done in self.done.items():
            if task.kind == "trap":
                row = {"id": task.id, "caught": done.hit, "signs": list(done.by), "seconds": done.seconds}
                rows.append({**row, "error": done.error.strip().splitlines()[-1] if done.error else ""})
        return rows

    def clean(self) -> dict[str, Any]:
        """False alarms of the clean build: 0 of N has the exact two-sided bound `high`, and the rule of three 3/N."""
        shares = {g: s for g in self.aim.generators if (s := self.share("clean", "", g))["runs"]}
        runs, hits = sum(s["runs"] for s in shares.values()), sum(s["hits"] for s in shares.values())
        high = binomial_interval(hits, runs)[1]
        unjudged = sum(bool(done.error) for task, done in self.done.items() if task.kind == "clean")
        return {
            "clean_runs": runs, "false_alarms": hits, "false_alarms_high": high,
            "rule_of_three": 3 / runs if runs and not hits else None, "clean": shares, "clean_unjudged": unjudged,
        }  # fmt: skip


def _searches(judged: Sequence[Done]) -> dict[str, Any] | None:
    """Runs and seconds to the first kill, medians over the first five searches; one begins where another has killed.
    None before the first kill."""
    runs, seconds = [0], [0.0]
    for done in judged:
        runs[-1] += 1
        seconds[-1] += done.seconds
        if done.hit and len(runs) <= SEARCHES:
            runs.append(0)
            seconds.append(0.0)
    ended = len(runs) - 1  # the last one goes on
    if not ended:
        return None
    return {"searches": ended, "runs": median(runs[:ended]), "seconds": round(median(seconds[:ended]), 2)}
