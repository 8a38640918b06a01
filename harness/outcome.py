"""Exit codes (architecture section 7) and the errors that end a command with one of them."""

from __future__ import annotations

import signal
from enum import IntEnum

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Exit(IntEnum):
    """What the process tells whoever called it."""

    AS_EXPECTED = 0
    SURPRISE = 1  # a violation within the bound, or none where one must appear
    INCONCLUSIVE = 2  # UNKNOWN, or interrupted with Ctrl-C
    USAGE = 3
    ENVIRONMENT = 4


class UsageError(ValueError):
    """The request makes no sense (exit 3). The message says what, where, and what to write instead."""


class ScenarioError(UsageError):
    """A scenario that is malformed or says one thing and does another."""


class MachineError(RuntimeError):
    """This machine cannot do what was asked (exit code 4). The message names the command that mends it."""


class Interrupted(Exception):
    """The run was asked to end. What was recorded is in the run directory (exit 2: it proves nothing either way)."""


class RecordingError(RuntimeError):
    """The history can no longer be written (exit 4). What was recorded before stays readable."""


def nearest(word: str, known: list[str]) -> str:
    """ "; did you mean 'x'?" when something similar is known, else the list of what is known."""
    import difflib

    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known here: {', '.join(sorted(known))}" if known else "nothing is known here"
