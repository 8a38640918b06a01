"""Rounds of the protocol, as schedules name them: a view and a step in it, read off a message.

A message belongs to the view that it speaks of, whenever it travels, so that a schedule keyed by rounds never starves
a node that catches up later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from nodes.messages import Message

S = TypeVar("S")

STEPS: dict[str, tuple[str, ...]] = {  # step -> wire tags
    "proposal": ("OPT", "NRM", "FBK"),
    "vote": ("VOTE", "QC"),
    "commit": ("CMT", "CQC"),
    "timeout": ("TMO", "TC"),
}
_STEP_OF = {tag: step for step, tags in STEPS.items() for tag in tags}
MOST_ROUNDS = 256


def round_of(message: Message) -> tuple[int, str]:
    """(view, step) that a message of consensus belongs to; (-1, "") for any other message."""
    step = _STEP_OF.get(str(type(message).__struct_config__.tag))
    if step is None:
        return -1, ""
    view = getattr(message, "view", None)
    return (message.block.view if view is None else view), step  # type: ignore[union-attr]  # proposals hold a block


def tables(value: Any, kind: type[S], key: str = "rounds") -> list[S]:
    """A list of tables of one kind, as a scenario holds it. Raises ValueError naming the one that is wrong."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not 1 <= len(value) <= MOST_ROUNDS:
        raise ValueError(f"{key}: 1 to {MOST_ROUNDS} tables such as {{ view = 20, ... }}")
    found = []
    for index, entry in enumerate(value):
        try:
            found.append(msgspec.convert(entry, kind))
        except msgspec.ValidationError as error:
            raise ValueError(f"{key}[{index}]: {error}") from error
    return found
