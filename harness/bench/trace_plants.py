"""One violation per safety checker, planted into a long valid trace: by checker, the kind of anomaly and how."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.bench.traces import Made
from results.trace_parquet import Ints

Plant = Callable[[Made], None]


def _at(made: Made, event: str, **fields: int) -> Ints:
    """The rows of an event whose columns have these values."""
    table = made.tables[event]
    chosen = np.ones(len(table["time"]), np.bool_)
    for name, value in fields.items():
        chosen &= table[name.replace("at_", "@")] == value
    return np.flatnonzero(chosen)


def _middle(made: Made) -> int:
    """The height at which things go wrong."""
    return made.shape.blocks // 2 + 1


def _alien(made: Made) -> int:
    """The number of a hash that is no block's."""
    return int(made.tables["execute"]["@root"][0])


def _fork(made: Made) -> None:
    row = _at(made, "finalise", height=made.shape.blocks, at_node=3)[0]
    made.tables["finalise"]["@block"][row] = _alien(made)


def _broken_link(made: Made) -> None:
    row = _at(made, "finalise", height=_middle(made), at_node=2)[0]
    made.tables["finalise"]["@parent"][row] = _alien(made)


def _other_execution(made: Made) -> None:
    table = made.tables["execute"]
    row, other = _at(made, "execute", height=_middle(made))[0], _at(made, "execute", height=1)[0]
    table["@applied"][row] = table["@applied"][other]


def _lost_parent(made: Made) -> None:
    for event in ("propose", "vote", "finalise"):
        rows = _at(made, event, view=_middle(made))
        parents = made.tables[event]["@parent"]
        parents[rows] = np.where(parents[rows] >= 0, _alien(made), parents[rows])


def _double_vote(made: Made) -> None:
    table = made.tables["vote"]
    first, second = _at(made, "vote", view=_middle(made), at_node=1)
    for name in ("@kind", "@parent"):
        table[name][second] = table[name][first]
    table["@block"][second] = _alien(made)


def _lower_lock(made: Made) -> None:
    made.tables["lock"]["view"][_at(made, "lock", view=_middle(made), at_node=1)] = 1


def _second_effect(made: Made) -> None:
    table = made.tables["execute"]
    rows = _at(made, "execute", height=_middle(made) + 1)  # beside the height at which one node executes differently
    table["@applied"][rows] = table["@applied"][_at(made, "execute", height=1)[0]]


def _leap(made: Made) -> None:
    made.tables["enter"]["view"][_at(made, "enter", view=made.shape.blocks + 1, at_node=1)] += 5


PLANTS: dict[str, tuple[str, Plant]] = {
    "fork": ("fork", _fork),
    "prefix": ("broken-link", _broken_link),
    "order": ("execution-differs", _other_execution),
    "ancestry": ("uncertified-parent", _lost_parent),
    "votes": ("double-vote", _double_vote),
    "locks": ("lock-fell", _lower_lock),
    "dedup": ("double-effect", _second_effect),
    "timeouts": ("unjustified-view", _leap),
}
