"""What plants are made of: the register of planted violations, and what a golden file of each checker holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.golden.story import Story
from tests.golden.world import MS, World

SECOND = 1000 * MS
OTHER = "ee" * 32

Plant = Callable[[World, Story], None]
PLANTS: dict[str, dict[str, Plant]] = {}

READS = {
    "fork": ("start", "finalise", "certify"),
    "ancestry": ("start", "propose", "vote", "certify", "finalise"),
    "votes": ("start", "vote", "timeout", "certify", "accuse"),
    "locks": ("start", "lock", "vote", "timeout", "certify"),
    "timeouts": ("start", "enter", "vote", "certify", "timeout_certificate"),
    "certificates": (
        "start", "enter", "finalise", "body", "certify", "timeout_certificate", "available", "state_certificate",
    ),
    "commit-rule": ("start", "propose", "certify", "finalise"),
    "fallbacks": ("start", "propose", "vote", "certify", "finalise", "timeout_certificate"),
    "payload": ("start", "propose", "finalise", "body", "available"),
    "proposals": ("start", "propose", "vote", "finalise"),
    "accusations": ("start", "propose", "certify", "accuse"),
    "view-sync": ("start", "enter"),
    "commit-bound": ("start", "enter", "finalise"),
    "reorg": ("start", "enter", "propose", "certify"),
    "catch-up": ("start", "finalise"),
    "memory": ("start", "buffers"),
    "prefix": ("start", "restart", "finalise"),
    "hotstuff-certificates": ("start", "finalise"),
    "dedup": ("start", "finalise", "execute", "batch", "received", "include", "available", "forward"),
    "availability": ("start", "finalise", "batch", "body", "availability_vote", "available", "retrieve"),
    "censorship": (
        "start", "propose", "finalise", "batch", "body", "available", "forward", "received", "include",
    ),
    "state-root": ("start", "finalise", "available", "body", "execute", "state_certificate"),
    "finality-bounds": ("start", "gateway", "propose", "finalise"),
    "liveness": ("start", "restart", "halt", "propose", "finalise", "execute", "state_certificate"),
    "conservation": ("start", "finalise", "available", "body", "execute"),
    "acknowledged": ("start", "finalise", "available", "body", "gateway", "state_certificate"),
    "receipts": ("start", "propose", "vote", "retrieve", "finalise"),
    "linearizable": ("start",),
    "cadence": ("start", "propose", "finalise"),
    "message-delays": ("start", "propose", "finalise", "batch", "available"),
    "elle-list-append": ("start",),
    "elle-rw-register": ("start",),
    "accountability": ("start", "finalise", "available", "batch", "received", "receipt", "include"),
    "order": ("start", "finalise", "batch", "available", "execute", "gateway"),
    "preconfirmation": ("start", "finalise", "batch", "available"),
    "xrbc-agreement": ("start", "finalise", "batch", "availability_vote", "available", "execute"),
    "tendermint-commits": ("start", "finalise", "tendermint-block", "tendermint-commit", "tendermint-validators"),
    "tendermint-evidence": ("start", "finalise", "tendermint-block", "tendermint-commit", "tendermint-validators"),
    "forensics": ("start", "propose", "finalise", "certify", "timeout_certificate"),
}  # fmt: skip  # what a golden file of each checker holds


def plant(checker: str, kind: str) -> Callable[[Plant], Plant]:
    def keep(function: Plant) -> Plant:
        PLANTS.setdefault(checker, {})[kind] = function
        return function

    return keep


def bounds(story: Story, **limits: Any) -> None:
    story.info["checks"] = {"bounds": limits}


def outlast(story: Story, seconds: int = 60) -> None:
    """Let the run go on long enough for every bound to pass."""
    story.info["end"] += seconds * SECOND
