"""The steps of a scripted attack, as a scenario writes them (see scripted.py), read strictly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from nodes.messages import NodeId

Kind: TypeAlias = Literal["optimistic", "normal", "fallback", "commit"]
Action: TypeAlias = Literal["propose", "vote", "timeout", "certificate", "timeout-certificate", "forge"]

TAGS = ("OPT", "NRM", "FBK", "VOTE", "CMT", "TMO", "QC", "CQC", "TC")
_NEEDS: dict[str, tuple[str, ...]] = {
    "propose": ("kind",),
    "vote": ("kind", "block"),
    "timeout": ("view", "lock"),
    "certificate": ("block",),
    "timeout-certificate": ("view", "signers"),
    "forge": ("kind", "block", "signers"),
}


class Heard(msgspec.Struct, frozen=True):
    """Each node in `by` has signed a message of this kind and view."""

    kind: str
    view: int
    by: tuple[NodeId, ...]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step. A block is named by the step that proposes it, or "@38": the first one proposed in view 38.

    `heard` = "VOTE 38 n0 n1": wait until n0 and n1 have signed a message of that kind (VOTE, CMT, TMO, OPT, NRM, FBK)
    and view. `at_view`: wait until the own core is in that view. `after_ms` counts from then, and from the step before.
    """

    do: Action
    to: tuple[NodeId, ...]
    kind: Kind | None = None
    view: int = 0
    name: str = ""  # of the new block that is proposed
    on: str = ""  # its parent
    block: str = ""  # voted for, certified, or proposed once more
    lock: str = ""  # block whose certificate the timeout carries
    justify: str = ""  # block whose certificate a normal proposal carries; by default its parent
    tc: int = 0  # view of the timeout certificate that a fallback proposal carries; by default the view before
    high: str = ""  # block whose certificate is put into that one instead of the highest
    signers: tuple[NodeId, ...] = ()
    times: int = 1
    heard: str = ""
    at_view: int = 0
    after_ms: float = 0.0


class Mute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Messages of the honest core that are held back: of these views (first and last) and wire tags (empty: all)."""

    views: tuple[int, int]
    kinds: tuple[str, ...] = ()


def parse_steps(value: Any) -> tuple[Step, ...]:
    """The `steps` parameter. Raises ValueError naming the step and what is wrong with it."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"steps = {value!r}: a list of steps, each a table with `do` and `to`")
    steps = tuple(_step(number, raw) for number, raw in enumerate(value, 1))
    names: set[str] = set()
    for number, step in enumerate(steps, 1):
        for name in filter(None, (step.on, step.block, step.lock, step.justify, step.high)):
            if name not in names and not (name.startswith("@") and name[1:].isdigit()):
                raise ValueError(
                    f'step {number}: no earlier step names a block {name!r}; write "@38" for that of view 38'
                )
        names.add(step.name)
    return steps


def parse_mute(value: Any) -> tuple[Mute, ...]:
    """The `mute` parameter. Raises ValueError."""
    try:
        rules = msgspec.convert(value, tuple[Mute, ...])
    except msgspec.ValidationError as error:
        raise ValueError(f'mute: {error}; write mute = [{{ views = [38, 39], kinds = ["VOTE"] }}]') from error
    for rule in rules:
        for kind in rule.kinds:
            _tag("mute", kind)
    return rules


def parse_at_least(value: Any, steps: int) -> int:
    """The `at_least` parameter: a step's number, by default the last one's. Raises ValueError."""
    if value is None:
        return steps
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= steps:
        raise ValueError(f"at_least = {value!r}: the number of a step, from 1 to {steps}")
    return value


def _step(number: int, raw: Any) -> Step:
    try:
        step = msgspec.convert(raw, Step)
    except msgspec.ValidationError as error:
        raise ValueError(f"step {number}: {error}") from error
    given: Mapping[str, Any] = raw
    missing = [key for key in _NEEDS[step.do] if key not in given]
    if missing:
        raise ValueError(f"step {number}: {step.do!r} needs {', '.join(_NEEDS[step.do])}; {missing[0]!r} is missing")
    if step.do == "propose" and not step.block and not (step.view and step.on and step.name):
        raise ValueError(f"step {number}: 'propose' needs `view`, `on` and `name`, or the `block` of an earlier step")
    if not step.to:
        raise ValueError(f"step {number}: `to` names nobody")
    if step.kind == "commit" and step.do != "vote":
        raise ValueError(f"step {number}: only a vote can be of kind commit, not {step.do!r}")
    if step.times < 1:
        raise ValueError(f"step {number}: times = {step.times}: at least 1")
    if step.heard:
        parse_heard(number, step.heard)
    return step


def parse_heard(number: int, text: str) -> Heard:
    """The condition `heard` of a step. Raises ValueError."""
    kind, *rest = text.split() or [""]
    _tag(f"step {number}: heard", kind)
    if len(rest) < 2 or not rest[0].isdigit():
        raise ValueError(f'step {number}: heard = {text!r}: a kind, a view and nodes, like "VOTE 38 n0 n1"')
    return Heard(kind, int(rest[0]), tuple(rest[1:]))


def _tag(where: str, kind: str) -> None:
    if kind not in TAGS:
        raise ValueError(f"{where}: no message kind {kind!r}; there are {', '.join(TAGS)}")
