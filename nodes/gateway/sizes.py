"""How full the stores of a gateway are (nodes/census.py)."""

from __future__ import annotations

from nodes.gateway.core import GatewayCore


def sizes(core: GatewayCore) -> dict[str, int]:
    """Entries by store; `roots` of the clan with the most."""
    return {
        "transactions": len(core._store),
        "pending": core._store.pending,
        "batches": len(core._batches),
        "blocks": len(core._blocks),
        "waiters": len(core._waiters),
        "roots": max((coverage.size() for coverage in core._coverage), default=0),
    }
