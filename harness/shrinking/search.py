"""The search for a smaller scenario with the same violation.

A `Search` holds the smallest failing scenario so far, as TOML values, and tries changes of it (passes.py) until none
is left that still fails in the same way: the same property, the same kind of anomaly, as expected as before, and never
past a bound that the original kept. Every candidate is read as strictly as a file and judged by a trial of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from faults.port import UnsupportedError
from harness.backends.port import MachineError
from harness.backends.sim.backend import SimBackend
from harness.backends.sim.loop import DeadlockError
from harness.backends.sim.tape import Tape
from harness.genesis import random_of
from harness.outcome import RecordingError, UsageError
from harness.regime import draw_byzantine, regime_of
from harness.scenario import Scenario, parse
from harness.shrinking.edits import Values, get
from harness.toml import Source
from harness.trial import Trial, trial
from results.verdict import Anomaly, Status, Verdict

Pass: TypeAlias = Callable[["Search"], None]


MAX_TRIALS = 500
OTHER_SEEDS = (1, 2)  # tried where a change moves what the seed decides
# What a candidate that cannot be run raises: it is refused, the search goes on.
FAILURES = (UsageError, UnsupportedError, MachineError, RecordingError, DeadlockError)


class Judge(Protocol):
    """Runs and judges a scenario (harness.trial.trial, or something that stands in for it)."""

    def __call__(
        self, scenario: Scenario, seed: int, checkers: Sequence[str] | None = None, backend: SimBackend | None = None
    ) -> Trial: ...


class Target(msgspec.Struct, frozen=True):
    """The violation to keep."""

    property: str
    kind: str

    def __str__(self) -> str:
        return f"{self.property}: {self.kind}"


class ExhaustedError(Exception):
    """The budget of trials or of time is spent."""


class Search:
    """The state of one shrinking. `values`, `seed`, `trial`: the smallest failure so far."""

    def __init__(
        self,
        values: Values,
        seed: int,
        target: Target,
        judge: Judge = trial,
        max_trials: int = MAX_TRIALS,
        late: Callable[[], bool] = lambda: False,
        watch: Callable[[Search, str], None] = lambda search, step: None,
    ) -> None:
        """`late` says that time is up; `watch` hears of every trial, with what was gained ("" if nothing).

        Raises UsageError when the scenario does not fail in this way in the simulator.
        """
        self.target = target
        self.trials = 0
        self.steps: list[str] = []  # what was gained, in order
        self.judge, self._max, self._late, self._watch = judge, max_trials, late, watch
        self._tried: set[bytes] = set()
        self.original = copy.deepcopy(values)
        self._hold = _held(values)
        self.trial, self.seed = self._first(values, seed)
        self.original_nodes = len(self.trial.info.tribe)
        self.values: Values = self.trial.scenario.raw
        self._within = self.trial.info.regime == "within"
        self._strict = self._answered(self.trial)  # else something else is amiss, a receipt perhaps

    def _first(self, values: Values, seed: int) -> tuple[Trial, int]:
        """The failing trial to start from: with the given seed, or another one that shows the same violation."""
        seen: Trial | None = None
        for number in dict.fromkeys((seed, *OTHER_SEEDS)):
            self.trials += 1
            found = self.judge(self.settled(values, number), number)
            seen = seen or found
            if self._shows(found):
                return found, number
        found_instead = ", ".join(": ".join(pair) for pair in seen.anomalies()) if seen else ""
        raise UsageError(
            f"the simulator does not show {self.target} for this scenario with seed {seed}, nor with seeds"
            f" {', '.join(map(str, OTHER_SEEDS))}: {f'it shows {found_instead}' if found_instead else 'nothing fails'}."
            " Only what the simulator can show is shrunk: raise the scenario's load or duration, or give a run made"
            " with --backend sim"
        )

    # ------------------------------------------------------------ trying
    def attempt(self, step: str, values: Values, reseed: bool = False) -> bool:
        """Try a change; when the scenario still fails in the same way it becomes the smallest so far.

        `reseed`: the change moves what the seed decides, so a few other seeds are tried as well. A candidate that makes
        no sense costs nothing. Raises ExhaustedError.
        """
        if values == self.values:
            return False
        seeds = dict.fromkeys((self.seed, *OTHER_SEEDS)) if reseed else (self.seed,)
        return any(self._one(step, values, seed) for seed in seeds)

    def _one(self, step: str, values: Values, seed: int) -> bool:
        key = msgspec.json.encode([values, seed], order="deterministic")
        if key in self._tried:
            return False
        self._tried.add(key)
        try:
            scenario = self.settled(values, seed)
        except UsageError:
            return False
        if self.trials >= self._max or self._late():
            raise ExhaustedError
        try:
            found = self.judge(scenario, seed)
        except FAILURES:
            return False
        self.trials += 1
        good = self._alike(found)
        if good:
            self.values, self.trial, self.seed = scenario.raw, found, seed
            self._strict = self._strict or self._answered(found)
            self.steps.append(step)
        self._watch(self, step if good else "")
        return good

    def _alike(self, found: Trial) -> bool:
        """The same violation, for the same reason: see the module's words."""
        if self._within and found.info.regime != "within":
            return False  # past the bound nobody promised anything
        return self._shows(found) and (self._answered(found) or not self._strict)

    def _answered(self, found: Trial) -> bool:
        """Beyond a bound: as expected, so every receipt is there. Within: a surprise."""
        return found.expected is (found.info.regime == "beyond")

    def _shows(self, found: Trial) -> bool:
        return (self.target.property, self.target.kind) in found.anomalies()

    def settled(self, values: Values, seed: int) -> Scenario:
        """The scenario of these values, its expectation set to what its adversary allows: the violation beyond a
        bound, "hold" within. Judged by what the target needs. Raises ScenarioError."""
        values = copy.deepcopy(values)
        values["expect"] = "hold"
        checks = {key: value for key, value in values.get("checks", {}).items() if key != "include"}
        values["checks"] = {"include": [self.target.property, *self._hold], **checks}
        scenario = parse(values, Source(str(values.get("name", ""))))
        if regime_of(scenario, draw_byzantine(scenario, random_of(seed, "byzantine"))).beyond:
            violation: dict[str, Any] = {"violate": self.target.property}
            values["expect"] = violation | ({"hold": self._hold} if self._hold else {})
            scenario = parse(values, Source(str(values.get("name", ""))))
        return scenario

    def confirm(self, scenario: Scenario, tape: Tape | None = None) -> None:
        """Run the smallest scenario once more, as it was written down. Raises RuntimeError if that is another run."""
        done = self.judge(scenario, self.seed, backend=SimBackend(tape=tape))
        if done.digest != self.trial.digest or not self._alike(done):
            raise RuntimeError(
                f"the shrunk scenario, as written, does not run as the search saw it: digest {done.digest}, not"
                f" {self.trial.digest}: {scenario.raw}"
            )
        self.values, self.trial = scenario.raw, done

    # ------------------------------------------------------------ what the failure shows
    @property
    def verdict(self) -> Verdict:
        """The verdict that holds the violation."""
        verdicts: Sequence[Verdict] = self.trial.verdicts
        return next(v for v in verdicts if v.property == self.target.property and v.status is Status.FAIL)

    @property
    def anomaly(self) -> Anomaly:
        """The violation: the first of its kind."""
        return next(a for a in self.verdict.anomalies if a.kind == self.target.kind)

    @property
    def moment(self) -> int:
        """When the witness is complete, ns on the run's clock; 0 where its records bear no time."""
        times = [record.get("time") for record in self.anomaly.witness]
        return max((time for time in times if isinstance(time, int)), default=0)


class Shrunk(msgspec.Struct, frozen=True):
    """The end of a search. `minimal`: no pass finds anything more to take away. `stopped`: why it ended before that."""

    search: Search
    minimal: bool
    stopped: str = ""


def run_passes(search: Search, passes: Iterable[Pass]) -> Shrunk:
    """Repeat the passes until a whole round gains nothing. Ctrl-C, or a spent budget, keeps the best so far."""
    passes = tuple(passes)
    try:
        while True:
            gained = len(search.steps)
            for one in passes:
                one(search)
            if len(search.steps) == gained:
                return Shrunk(search, True)
    except KeyboardInterrupt:
        return Shrunk(search, False, "interrupted")
    except ExhaustedError:
        return Shrunk(search, False, "the budget was spent")


def _held(values: Values) -> list[str]:
    """Properties that must not break, by the scenario's own word."""
    return list(get(values, ("expect", "hold"), []))
