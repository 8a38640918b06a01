"""How full the stores of execution are (nodes/census.py)."""

from __future__ import annotations

from nodes.execution.core import ExecutionCore


def sizes(core: ExecutionCore) -> dict[str, int]:
    """Entries by store, and the bytes of bodies that no final block waits for."""
    heights, ballots = core._votes.sizes()
    return {
        "tallies": heights,
        "ballots": ballots,
        "spare-bytes": core._bodies.spare_bytes,
        "claims": len(core._claims),
        "own-votes": len(core._own_votes),
        "certificates": len(core._certificates),
        "undo": len(core._before),
    }
