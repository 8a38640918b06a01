"""The shape of a checker (architecture section 6). A checker shares no code with what it judges."""

from __future__ import annotations

from typing import ClassVar, Protocol

from results.store import Run
from results.verdict import Verdict


class Checker(Protocol):
    """Judges one property of a run. One property, one file, one entry point in pyproject.toml."""

    property: ClassVar[str]

    def check(self, run: Run) -> Verdict:
        """Never raises on bad evidence: what cannot be judged is UNKNOWN with a reason."""
        ...
