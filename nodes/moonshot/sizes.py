"""How full the stores of consensus are (nodes/census.py)."""

from __future__ import annotations

from nodes.moonshot.core import MoonshotCore


def sizes(core: MoonshotCore) -> dict[str, int]:
    """Entries by store; `polls` of the kind of vote that has most."""
    polls = ballots = 0
    for tally in (*core.votes.values(), core.commit_votes):
        more_polls, more_ballots = tally.sizes()
        polls = max(polls, more_polls)
        ballots += more_ballots
    return {
        "polls": polls,
        "ballots": ballots,
        "timeouts": core.timeouts.size(),
        "proposals": core.book.size(),
        "accused": core.evidence.size(),
        "sighted": core.sightings(),
        "bodies": core.chain.open_bodies(),
        "certified": len(core.chain.certified),
        "wanted": core.sync.size(),
        "commit-votes": len(core.state.commit_voted),
        "timed-out": len(core.state.timed_out),
    }
