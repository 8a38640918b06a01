"""How full the stores of the buckets are (nodes/census.py)."""

from __future__ import annotations

from nodes.buckets.core import BucketsCore


def sizes(core: BucketsCore) -> dict[str, int]:
    """Entries by store; `parked` of the account with the most."""
    return {"held": core.held(), "parked": core.most_parked(), **core._history.sizes()}
