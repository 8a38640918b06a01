"""Plausible bugs of the checkers, one changed line each, and the golden runs, good and bad, that find them.

    python -m tests.mutants.checker_mutants [CHECKER ...]

prints which mutants are killed, and by which golden run first; ends with 1 if one survives.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from checkers import (
    accusations,
    acknowledged,
    ancestry,
    availability,
    balances,
    cadence,
    catch_up,
    censorship,
    certificates,
    certified,
    commit_bound,
    commit_rule,
    conservation,
    coverage,
    dedup,
    duties,
    evidence,
    fallbacks,
    finality_bounds,
    hotstuff_certificates,
    inclusion,
    leaders,
    led,
    ledger,
    liveness,
    lives,
    locks,
    memory,
    message_delays,
    payload,
    prefix,
    proposals,
    receipts,
    reorg,
    replay,
    reverified,
    signedwords,
    spans,
    state_root,
    tendermint_commits,
    tendermint_evidence,
    timeouts,
    told,
    view_sync,
    votes,
)
from checkers.registry import judge
from checkers.tendermint import chain, wire
from checkers.tendermint import records as tendermint
from results.verdict import Status
from tests.golden.make import good, world
from tests.golden.plants import PLANTS
from tests.golden.world import World
from tests.mutants.test_checker_mutants_linear import mutate

Mutant = tuple[str, Any, str, str]  # checker, function, what to change, into what
# ruff: noqa: E501  (a mutant is a line, and reads best as one)
NEW: dict[str, Mutant] = {
    # ------------------------------------------------------------ certificates, and what re-verifies them
    "a signer may count twice": ("certificates", evidence.Notary.fault, "len(set(signers)) != len(signers)", "False"),
    "signatures are not looked at": ("certificates", evidence.Notary.fault, "if not self.signed(", "if False and ("),
    "one vote less will do": ("availability", evidence.Notary.fault, "len(signers) < threshold", "len(signers) < threshold - 1"),
    "the lock view is not signed": (
        "certificates", timeouts.fault_of, 'statement("timeout", view, lock)', 'statement("timeout", view, 1)',
    ),
    "the same signatures are the same certificate": (
        "certificates", reverified._examined, "if k not in _WHO_AND_WHEN)", 'if k in ("signers", "signatures"))',
    ),
    "state certificates are believed": ("certificates", certificates.Certificates.judge, '("state", roots.invalid)', '("state", [])'),
    "block certificates are believed": ("certificates", certificates.Certificates.judge, '("block", blocks.invalid)', '("block", [])'),
    # ------------------------------------------------------------ commit-rule
    "a child will do, whenever it came": ("commit-rule", commit_rule._direct, "max(own, child) <= now", "own <= now"),
    "any certified child will do": ("commit-rule", commit_rule._direct, "children.get((view + 1, block))", "own"),
    "commit votes need no certificate": ("commit-rule", commit_rule._direct, "now + 1) <= now", "now) <= now"),
    "block certificates are commit certificates": (
        "commit-rule", commit_rule._direct, "seen.get((True, view, block)", "seen.get((False, view, block)",
    ),
    "ancestors need no descendant": ("commit-rule", commit_rule._judged, 'chain[-1]["block"] != event["parent"]', "False"),
    "any rule is a rule": ("commit-rule", commit_rule._direct, 'event["rule"] == "commit-votes"', 'event["rule"] != "two-chain"'),
    # ------------------------------------------------------------ payload
    "batches may come twice": ("payload", payload._repeated, "if before is not final:", "if before.height == final.height + 1:"),
    "batches never expire": ("payload", payload._content, '+ ttl_ms < timestamp_ms', '+ ttl_ms < 0'),
    "every batch has expired": ("payload", payload._content, '+ ttl_ms < timestamp_ms', '- ttl_ms < timestamp_ms'),
    "blocks have no limit": ("payload", payload._content, "len(held) > MOST_BATCHES", "len(held) > MOST_BATCHES + 1"),
    "invalid certificates are merely missing": ("payload", payload.Payload.judge, "batch not in valid and batch in invalid", "False"),
    "sizes are not compared": ("payload", payload._headers, "if wrong:", "if len(wrong) > 1:"),
    "time may run back": ("payload", payload._clocks, "final.timestamp_ms < parent.timestamp_ms", "final.timestamp_ms < 0"),
    "a leader may stamp anything": ("payload", payload._stamps, "if not -AHEAD_MS <= late <= behind:", "if False:"),
    "a leader must stamp at once": ("payload", payload._stamps, "if not -AHEAD_MS <= late <= behind:", "if late:"),
    "time must advance": ("payload", payload._clocks, "final.timestamp_ms < parent.timestamp_ms", "final.timestamp_ms < parent.timestamp_ms + 900"),
    # ------------------------------------------------------------ proposals
    "two blocks on one parent are fine": ("proposals", proposals._legal, 'if first["block"] != block:', 'if first["block"] == "":'),
    "three guesses are fine": ("proposals", proposals._legal, ">= MOST_OPTIMISTIC", "> MOST_OPTIMISTIC"),
    "normal and fallback are fine": ("proposals", proposals._legal, '(view.main["kind"], view.main["block"]) != (kind, block)', 'view.main["kind"] == kind and view.main["block"] != block'),
    "anybody leads": ("proposals", proposals.Proposals.judge, 'who != leader(event["view"])', 'who not in index.info.tribe'),
    "the next one leads": ("proposals", leaders.Schedule.__call__, "view % len", "(view + 1) % len"),
    # ------------------------------------------------------------ accusations
    "the accused are guilty": ("accusations", accusations.Accusations.judge, 'event["culprit"] in trusted', 'event["culprit"] not in trusted'),
    "evidence need not contradict": ("accusations", accusations._fault, "if guilt(words)", "if words"),
    "nothing is guilt": ("accusations", signedwords.guilt, "return any(contradiction", "return all(contradiction(first, first) and contradiction"),
    "signatures of the accused are not looked at": ("accusations", signedwords._decoded, '("vote", kind, view, block)', '("vote", kind, view + 1, block)'),
    # ------------------------------------------------------------ fallbacks
    "any parent will do": ("fallbacks", fallbacks._unjustified, 'event["parent"] not in due', "False"),
    "no timeout certificate is needed": ("fallbacks", fallbacks._unjustified, "if not due & had:", "if not due:"),
    "of the same view": ("fallbacks", fallbacks.Fallbacks.judge, '(event["node"], event["view"] - 1)', '(event["node"], event["view"])'),
    "a fallback block needs no reason": ("fallbacks", fallbacks.Fallbacks.judge, "parent is not None and", "parent is None and"),
    # ------------------------------------------------------------ view-sync, commit-bound, reorg, catch-up
    "the last stay does not count": ("view-sync", view_sync._stays, "> start), None]", "> start)]"),
    "views are never too long": ("view-sync", view_sync._stays, "until - since > bound", "until - since > 2**60"),
    "every stay is too long": ("view-sync", view_sync._stays, "until - since > bound", "until - since > 0"),
    "two in one view are all": (
        "view-sync", view_sync._apart, "together = len(where) == len(entries) and len(crowd) == 1", "together = len(crowd) <= 2",
    ),
    "the end of loneliness is its end": ("view-sync", view_sync._apart, "end - since > longest", "end < since"),
    "any commit is in time": ("commit-bound", commit_bound.CommitBound.judge, "time > led.last + bound or", "False and"),
    "no commit is in time": ("commit-bound", commit_bound.CommitBound.judge, "time > led.last + bound or", "time > led.last or"),
    "older blocks count": ("commit-bound", commit_bound.CommitBound.judge, "bisect_left(numbers_, led.view)", "bisect_left(numbers_, led.view - 1)"),
    "views from the heal on": ("reorg", led._led_views, "min(times.values()) >= since", "min(times.values()) >= 10**15"),
    "an empty view is fine": ("reorg", reorg.Reorg.judge, "if not own:", "if own is None:"),
    "later blocks need not descend": ("reorg", reorg.Reorg.judge, "elif below not in own:", "elif below is own:"),
    "all later blocks are one": ("reorg", reorg._down_to, "views.get(at, 0) > view", "views.get(at, 0) > view + 1"),
    "late is never": ("catch-up", catch_up.CatchUp.judge, "if waited > bound:", "if done is None:"),
    "never is late": ("catch-up", catch_up.CatchUp.judge, "done is None and waited <= bound", "done is None"),
    "nobody is behind": ("catch-up", catch_up.CatchUp.judge, "if lag <= BEHIND:", "if lag <= 10 * BEHIND:"),
    "any block is the tip": ("catch-up", catch_up._caught_up, "now > start and", ""),
    # ------------------------------------------------------------ memory
    "one more does no harm": ("memory", memory.Memory.judge, "if count > cap and", "if count > cap + 1 and"),
    "full is too full": ("memory", memory.Memory.judge, "if count > cap and", "if count * 20 > cap and"),
    "the window is wider": ("memory", memory._consensus, "views = 2 * window + 4", "views = 2 * window + 5"),
    "the first census decides": ("memory", memory.Memory.judge, "for event in takes:", "for event in takes[:1]:"),
    # ------------------------------------------------------------ censorship
    "the time-out is no time": ("censorship", censorship.Censorship.judge, "chances < FEWEST_OPPORTUNITIES", "chances >= FEWEST_OPPORTUNITIES"),
    "who is honest is guilty": ("censorship", duties.culprits, "node in corrupted and node not in made", "node not in made"),
    "nobody is guilty": ("censorship", duties.culprits, "node in corrupted and node not in made", "node in made"),
    "late is congestion": ("censorship", censorship.Censorship.judge, "not guilty and way.sender not in victims and", "not guilty or"),
    "what is never final is pending": ("censorship", censorship.Censorship.judge, "way.start + bound > index.end", "way.start + bound > 0"),
    "lost is delayed": ("censorship", censorship._violation, '"delayed" if way.final is not None', '"delayed" if not guilty'),
    "opportunities are everybody's": ("censorship", inclusion.Timeline.__init__, "(leader in steady)", "(leader not in steady)"),
    # ------------------------------------------------------------ availability, state-root, acknowledged, conservation
    "who votes need not hold": ("availability", availability._voted_blindly, 'event["node"] in steady', "False"),
    "who held something held this": ("availability", availability._held_by_nobody, "members & held.get(event[\"batch\"], {}).keys()", "members & {node for times in held.values() for node in times}"),
    "a voter that was not killed is excused": ("availability", availability._unwritten, "any(last <= first for node in signers for last, _ in spans.get(node, ()))", "bool(certificate[\"signers\"])"),
    "the last seconds are always grace": ("availability", availability.Availability.judge, "+ grace > index.end", "+ grace > 0"),
    "no grace": ("availability", availability.Availability.judge, "if missing:", "if not missing:"),
    "bodies prove nothing": ("availability", availability.Availability.judge, "for event in index.bodies[1]:", "for event in index.bodies[1][:0]:"),
    "blocks may hold anything": ("availability", availability._uncertified, "if certified and batch not in certified:", "if not certified:"),
    "two roots are one": ("state-root", state_root._two_roots, "!= [event[name] for name in ROOTS] and", "== [] and"),
    "the block alone is compared": ("state-root", state_root._differs, "event[name] != own[name]", 'name == "block" and event[name] != own[name]'),
    "roots are not chained": ("state-root", replay.Replay._run, "previous = root", "previous = ledger.genesis_root"),
    "clans are taken for each other": ("state-root", replay.Replay._transactions, "if key.clan == clan:", "if key.clan != clan:"),
    "senders need no order": ("state-root", ledger.clan_of, "% clans", "% (clans + 1)"),
    "a matching root is not asked for": ("acknowledged", acknowledged._gateway, 'event.get("root_ok") is not True', "False"),
    "an abort is always true": ("acknowledged", acknowledged._gateway, 'if event["phase"] == "aborted":', 'if event["phase"] == "aborted":\n        return [], True\n    if False:'),
    "an abort may be told for any reason": ("acknowledged", acknowledged._unfounded, 'event.get("reason", "") in aborts', "True"),
    "an abort needs no certificate": ("acknowledged", acknowledged._uncovered, "if clan is None or height is None:", 'if clan is None or event["phase"] == "aborted":'),
    "pre may be told at once": ("acknowledged", told.Sights.certified, "<= time or", "<= time + 10**12 or"),
    "ord may be told at any time": ("acknowledged", told._unordered, "if final > time:", "if False:"),
    "ord may name any block": ("acknowledged", told._unordered, "if not any((height, batch) not in void for batch in held & batches):", "if False:"),
    "what a gateway saw before counts for nothing": ("acknowledged", told.Sights.certified, "self.available.get(batch, time + 1) <= time or ", ""),
    "nothing is lost": ("acknowledged", acknowledged._client, "if not replay.complete:", "if True:"),
    "reads are not compared": ("acknowledged", acknowledged._client, "if seen != true:", "if len(seen) != len(true):"),
    "a balance is not compared": ("acknowledged", balances._wrong, "if true == (answer.balance, answer.seq):", "if true:"),
    "a certificate may come later": ("acknowledged", coverage.Coverage.reaches, "since <= time and ", ""),
    "ok is not asked after": ("conservation", conservation._operations, 'operation.type == "ok" and not applied', "False"),
    "fail may have happened": ("conservation", conservation._operations, 'operation.type == "fail" and applied', "False"),
    # ------------------------------------------------------------ finality-bounds, liveness, receipts, cadence
    "unfinished is pending": ("finality-bounds", finality_bounds.FinalityBounds.judge, "start + bound > index.end", "start + bound > 0"),
    "slow is fine": ("finality-bounds", finality_bounds.FinalityBounds.judge, '> start + bound:', '> start + 10 * bound:'),
    "phases come in any order": ("finality-bounds", finality_bounds._misordered, 'int(earlier["time"]) > int(later["time"])', "False"),
    "the last gap does not count": ("liveness", liveness._largest_gap, "for event in later] + [end]", "for event in later] + [int(later[-1]['time'])]"),
    "any recovery is in time": ("liveness", liveness.Liveness.judge, 'if int(first["time"]) > start + recovery:', "if False:"),
    "halting is fine": ("liveness", liveness._halts, 'index.info.regime == "beyond"', "True"),
    "clans may fall silent": ("liveness", liveness._uncertified, "+ bound > index.end", "+ bound > 0"),
    "crash loops are restarts": ("liveness", liveness._crash_loops, "len(seen) > scheduled", "len(seen) > scheduled + 9"),
    "far behind is near": ("liveness", liveness._left_behind, "blocks > index.bounds.catch_up_blocks", "blocks > 9 * index.bounds.catch_up_blocks"),
    "boasting is biting": ("receipts", receipts._reasons, 'receipt.get("bit") is True', 'receipt.get("bit") is not None'),
    "heals need no proof": ("receipts", receipts._reasons, 'receipt.get("heal_verified") is True', '"heal_verified" in receipt'),
    "undeclared is fine": ("receipts", receipts.Receipts.judge, "for number in sorted(starts)]", "for number in sorted(starts)[:0]]"),
    "a moment is a window": ("receipts", receipts._window, "< declared / 2", "< declared / 200"),
    "counting nothing is fine": ("receipts", receipts._window, "if not any(int(receipt", "if False and any(int(receipt"),
    "faults may come too late": ("receipts", receipts._reasons, "begin >= last", "begin >= 2**62"),
    "periods are never wrong": ("cadence", cadence.Cadence.judge, "<= figures[", "<= 9 * figures["),
    "every second period counts": ("cadence", spans.periods, "b.view == a.view + 1", "b.view == a.view + 2"),
    "commits start at the vote": ("message-delays", spans.commits, "proposed[event[\"block\"]], event", "event, event"),
    "queues end at the commit": ("message-delays", spans.queues, "_between(index, known, proposal)", "_between(index, made[batch], proposal)"),
    "any figure is promised": ("message-delays", message_delays.MessageDelays.judge, "<= promise.high", "<= 99"),
    # ------------------------------------------------------------ CometBFT: commits and evidence
    "half is two thirds": ("tendermint-commits", chain._judge, "3 * power <= 2 * total", "2 * power <= total"),
    "two thirds are enough": ("tendermint-commits", chain._judge, "3 * power <= 2 * total", "4 * power <= 2 * total"),
    "commits are believed": ("tendermint-commits", chain._judge, "if not _signed(", "if False and not _signed("),
    "any validator's place will do": ("tendermint-commits", chain._signed, "return chain.holds(", "return True or chain.holds("),
    "content is not hashed": ("tendermint-commits", tendermint.Block.misfit, "wrong = (", "wrong = () and ("),
    "time is not hashed": ("tendermint-commits", tendermint.Header.hash, "timestamp(self.time)", 'b""'),
    "a Merkle tree without its marks": ("tendermint-commits", wire.merkle_root, 'b"\\1" + ', ""),
    "zero is written": ("tendermint-commits", wire.whole, "if number else b", "if True else b"),
    "votes have no length": ("tendermint-commits", wire.delimited, "varint(len(message)) + ", ""),
    "sets come from anywhere": ("tendermint-commits", tendermint_commits._faults, "if announced and", "if False and"),
    "chains are one": ("tendermint-commits", tendermint_commits._faults, "header.chain_id != chain.id", "False"),
    "a commit is one of any block": ("tendermint-commits", tendermint_commits._faults, "block.height > 1 and", "False and"),
    "one commit a height is looked at": ("tendermint-commits", tendermint_commits._two, "len(several) > 1", "len(several) > 2"),
    "what is final needs no commit": ("tendermint-commits", tendermint_commits._unjustified, 'if event["height"] < tips', "if False and tips"),
    "the newest needs its commit": ("tendermint-commits", chain._commits, 'index.events("tendermint-commit")', "()"),
    "evidence is believed": ("tendermint-evidence", tendermint_evidence._false, "if not chain.holds(", "if False and ("),
    "who is accused is guilty": ("tendermint-evidence", tendermint_evidence._judged, "one.address not in corrupt", "False"),
    "evidence may take its time": ("tendermint-evidence", tendermint_evidence._judged, "blocks > within", "blocks > within + 9"),
    "evidence comes in the next block": ("tendermint-evidence", tendermint_evidence._judged, "blocks > within", "blocks > 0"),
    "two punishments are one": ("tendermint-evidence", tendermint_evidence.TendermintEvidence.judge, "before is not one and", "False and"),
    "nil is no vote": ("tendermint-evidence", tendermint_evidence._precommits, "else BlockId()", "else commit.block_id"),
    "nobody is let off": ("tendermint-evidence", tendermint_evidence._unpunished, "other == voted or", "other == voted or True or"),
    # ------------------------------------------------------------ HotStuff: certificates of blocks
    "any power is a quorum of HotStuff": ("hotstuff-certificates", hotstuff_certificates.Book._examine, "power < self.validators.quorum", "power < 0"),
    "HotStuff's votes are believed": ("hotstuff-certificates", hotstuff_certificates.Book._examine, "if not signature_holds(", "if False and not signature_holds("),
    "a bad certificate is passed over": ("hotstuff-certificates", hotstuff_certificates.HotStuffCertificates.judge, 'elif name == "certificate":', "elif False:"),
    "a block's hash is believed": ("hotstuff-certificates", hotstuff_certificates._misfits, '.hex() != event["block"]', ".hex() in ()"),
    "a block's data are believed": ("hotstuff-certificates", hotstuff_certificates._misfits, "sha256(event[\"data\"].encode()) != data_hash", "False"),
    "a certificate may be of another block": ("hotstuff-certificates", hotstuff_certificates._misfits, 'own["block"] != event["block"] or own["view"] != event["view"]', "False"),
    "one view, many certificates": ("hotstuff-certificates", hotstuff_certificates._two, "len(found) > 1", "len(found) > 2"),
    "votes name no view": ("hotstuff-certificates", hotstuff_certificates.signed, '_number(certificate["view"]) + ', ""),
}  # fmt: skip
INVARIANTS: dict[str, Mutant] = {
    "votes of all kinds are tallied together": ("fork", certified.statement, '"vote", kind, view, raw', '"vote", "normal", view, raw'),
    "only commit certificates count": ("fork", certified.Certified.by_view, "for event in self.valid:", "for event in self.valid[:0]:"),
    "a log may be rewritten": ("prefix", prefix._judge_record, 'before["block"] != event["block"]', "False"),
    "a height may come again": ("prefix", prefix._judge_record, "elif log.tip and height <= log.tip:", "elif False:"),
    "a height may be skipped": ("prefix", prefix._judge_record, "elif height > due:", "elif height > due + 1:"),
    "links are not followed": ("prefix", prefix._judge_record, 'below["block"] != event["parent"]', "False"),
    "commits need not be extended": ("ancestry", ancestry.Ancestry.judge, 'event.get("rule") in DIRECT', 'event.get("rule") == "ancestor"'),
    "parents are children": ("ancestry", ancestry._parents, 'setdefault(event["block"], parent)', 'setdefault(parent, event["block"])'),
    "commit votes need no certificate to vote for": ("votes", votes.Votes.judge, 'event["kind"] == COMMIT and', "False and"),
    "time-outs are forgotten": ("votes", votes.Votes.judge, "book.timeout is None or", "book.timeout is not None and"),
    "honest lives end with a time-out": ("votes", lives.lives, 'event["event"] in wanted', 'event["event"] in wanted and event["event"] != "timeout"'),
    "the first transaction may come again": ("dedup", dedup.Dedup.judge, 'for tx in event["applied"]:', 'for tx in event["applied"][1:]:'),
    "copies are not told": ("dedup", dedup._duplicates, "in duplicated.items():", "in ():"),
    "parents have no view": ("locks", locks.Locks.judge, '"vote", "propose", "certify")', '"timeout")'),
    "any lock is certified": ("locks", locks.Locks.judge, 'if event["event"] != "lock":', 'if event["event"] != "lock" or event["view"] > 2:'),
    "time-outs are not verified": ("timeouts", timeouts.fault_of, 'if "signatures" not in event:', 'if "signatures" in event:'),
}  # fmt: skip
MUTANTS = NEW | INVARIANTS


def mistakes(origin: World, checker: str) -> Iterator[str]:
    """What the checker gets wrong about its golden runs: good ones first, then each planted anomaly."""
    base = origin.story()
    (verdict,) = judge(good(checker, base).run(), [checker])
    if verdict.status is not Status.PASS:
        yield f"a good run is {verdict.status.value}"
    for kind, plant in PLANTS[checker].items():
        story = base.copy()
        plant(origin, story)
        (verdict,) = judge(story.run(), [checker])
        found = kind in verdict.reason if checker == "receipts" else kind in {a.kind for a in verdict.anomalies}
        if not found:
            yield f"{kind} is not found"


def killer(name: str, origin: World) -> str | None:
    """What finds this mutant first, or None."""
    checker, function, old, new = MUTANTS[name]
    with pytest.MonkeyPatch.context() as patch:
        mutate(patch, function, old, new)
        return next(mistakes(origin, checker), None)


def main(chosen: list[str]) -> int:
    """Print the table; 1 if a mutant survives."""
    origin, survivors = world(), 0
    for name, (checker, *_) in sorted(MUTANTS.items(), key=lambda item: (item[1][0], item[0])):
        if not chosen or checker in chosen:
            found = killer(name, origin)
            survivors += found is None
            sys.stdout.write(f"{checker:18} {name:44} {'SURVIVES' if found is None else found}\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
