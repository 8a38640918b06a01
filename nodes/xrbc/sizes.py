"""How full the stores of xRBC are (nodes/census.py)."""

from __future__ import annotations

from nodes.xrbc.core import XrbcCore


def sizes(core: XrbcCore) -> dict[str, int]:
    """Entries by store; `open`, `waiting`, `open-votes` and `early` of the proposer or voter with the most."""
    slots, votes = core._tally.sizes()
    return {
        "open": core._voted.most_open(but=core._me),
        "voted": core._voted.size(),
        "waiting": core._pool.most_waiting(),
        "alternates": core._pool.alternates(),
        "slots": slots,
        "open-votes": votes,
        "bodies": core._bodies.perishable(),
        "fetches": core._retrieval.fetches(),
        "served": core._retrieval.served(),
        "early": core._early.most(),
        "accused": core._accusations.size(),
    }
