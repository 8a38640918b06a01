"""`moonquake check --evidence` and `--evidence-out`: culprits by their own signatures, proven from one file."""

from __future__ import annotations

from pathlib import Path

from checkers import culprits
from checkers.evidence import EvidenceError
from checkers.index import index_of
from harness.console import document, plain, say
from harness.outcome import Exit
from results.evidence import read_evidence, write_evidence
from results.history import HistoryError
from results.store import Run


def prove(path: Path, json: bool) -> Exit:
    """Verify an evidence file from what it holds alone: 0 if all proofs hold and name at least 2Q-n nodes, else 1.

    Raises HistoryError for a file that is malformed.
    """
    evidence = read_evidence(path)
    try:
        guilty, faults = culprits.verify(evidence)
    except EvidenceError as error:
        raise HistoryError(f"{path}: {error}") from error
    least = culprits.needed(len(evidence.tribe))
    proven = not faults and len(guilty) >= least
    ideal = evidence.scheme == "ideal"
    if json:
        answer = {"proven": proven, "culprits": guilty, "needed": least, "faults": faults, "scheme": evidence.scheme}
        document({"evidence": answer})
        return Exit.AS_EXPECTED if proven else Exit.SURPRISE
    plain(f"chain {evidence.chain}, epoch {evidence.epoch}, cycle {evidence.cycle}; {len(evidence.tribe)} nodes")
    for proof in evidence.proofs:
        plain(f"{proof.culprit} signed {proof.first.told()} and {proof.second.told()}: {proof.rule}")
    for fault in faults:
        plain(f"does not hold: {fault}")
    plain(f"{'proves' if proven else 'does NOT prove'} at least {least} culprits: {', '.join(guilty) or 'nobody'}")
    if ideal:
        plain("note: a simulated run's ideal signatures, checked with its seeds: they prove nothing outside it")
    else:
        plain("note: compare the public keys in the file with those that you know")
    return Exit.AS_EXPECTED if proven else Exit.SURPRISE


def keep(run: Run, path: Path) -> None:
    """Write the evidence of a run, or say that there is none. Raises HistoryError where it cannot be extracted."""
    try:
        evidence = culprits.evidence(index_of(run))
    except (EvidenceError, LookupError, TypeError) as error:
        raise HistoryError(f"{run.directory}: no evidence can be drawn from its records: {error!r}") from error
    if not evidence.proofs:
        say(f"no signatures contradict each other: {path} is not written")
        return
    write_evidence(path, evidence)
    names = list(dict.fromkeys(proof.culprit for proof in evidence.proofs))
    say(f"evidence against {', '.join(names)}: {path} (verify it with: moonquake check --evidence {path})")
