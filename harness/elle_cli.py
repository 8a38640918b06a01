"""The real Elle as a second opinion: elle-cli (a jar, or any program with its options) through a subprocess.

It says `true`, `false` or `unknown` of a history in EDN; here that becomes a Verdict like ours. Where both have judged
and one passes what the other fails, that disagreement is itself a violation: one of the two is wrong.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.outcome import MachineError
from results.export import operation_edn
from results.history import HistoryError
from results.store import Run
from results.verdict import Anomaly, Status, Verdict

TIMEOUT_S = 900.0
ENVIRONMENT = "MOONQUAKE_ELLE_CLI"
AGREEMENT = "elle-agreement"
_MODELS = {"elle-list-append": "list-append", "elle-rw-register": "rw-register"}
_STATUS = {"true": Status.PASS, "false": Status.FAIL, "unknown": Status.UNKNOWN}


def second_opinion(
    run: Run, verdicts: Sequence[Verdict], consistency: str, program: Path, timeout_s: float = TIMEOUT_S
) -> list[Verdict]:
    """For each of the verdicts that Elle can give too: its own, and whether the two agree. Raises MachineError."""
    found: list[Verdict] = []
    for ours in verdicts:
        if ours.property in _MODELS:
            theirs = judge(run, ours.property, consistency or "strict-serializable", program, timeout_s)
            found += [theirs, agreement(ours, theirs)]
    return found


def judge(run: Run, name: str, consistency: str, program: Path, timeout_s: float = TIMEOUT_S) -> Verdict:
    """Elle's verdict on the transactions of a run, as property `elle-cli-list-append` or `elle-cli-rw-register`.

    UNKNOWN with its own words when it does not answer. Raises MachineError if it cannot be started.
    """
    model = _MODELS[name]
    property = f"elle-cli-{model}"
    if not program.is_file():
        raise MachineError(f"--elle-cli {program}: no such file; give the standalone jar of elle-cli ({ENVIRONMENT})")
    try:
        operations = [o for o in run.history if o.f in ("txn", "") and o.process != "nemesis"]
    except HistoryError as error:
        return Verdict(property, Status.UNKNOWN, 0, reason=str(error))
    examined = sum(operation.type == "ok" for operation in operations)
    with tempfile.TemporaryDirectory(prefix="moonquake-elle-") as directory:
        path = Path(directory) / "history.edn"
        path.write_text("".join(operation_edn(operation) + "\n" for operation in operations), encoding="utf-8")
        start = ["java", "-jar", str(program)] if program.suffix == ".jar" else [str(program.absolute())]
        words = [*start, "--model", model, "--consistency-models", consistency, "--output", "json", str(path)]
        try:
            ended = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=directory)
        except subprocess.TimeoutExpired:
            return Verdict(property, Status.UNKNOWN, 0, reason=f"elle-cli did not answer within {timeout_s:g} s")
        except OSError as error:
            raise MachineError(f"--elle-cli {program}: {words[0]} cannot be started: {error.strerror}") from error
    return _verdict(property, examined, consistency, ended)


def agreement(ours: Verdict, theirs: Verdict) -> Verdict:
    """FAIL if one passes what the other fails; UNKNOWN if one of them does not know."""
    measures = {ours.property: ours.status.value, theirs.property: theirs.status.value}
    if Status.UNKNOWN in (ours.status, theirs.status):
        reason = f"{ours.property} says {ours.status}, {theirs.property} says {theirs.status}"
        return Verdict(AGREEMENT, Status.UNKNOWN, 0, measures=measures, reason=reason)
    if ours.status is theirs.status:
        return Verdict(AGREEMENT, Status.PASS, 1, measures=measures)
    failed = ours if ours.status is Status.FAIL else theirs
    kinds = ", ".join(dict.fromkeys(anomaly.kind for anomaly in failed.anomalies))
    said = f"{ours.property} says {ours.status}, {theirs.property} says {theirs.status} ({kinds})"
    summary = f"{said}: one of them is wrong"
    return Verdict(AGREEMENT, Status.FAIL, 1, [Anomaly("disagreement", summary, failed.anomalies[0].witness)], measures)


def _verdict(property: str, examined: int, consistency: str, ended: subprocess.CompletedProcess[str]) -> Verdict:
    analysis = _analysis(ended.stdout)
    status = _STATUS.get(str(analysis.get("valid?")).lower(), Status.UNKNOWN)
    measures: dict[str, Any] = {"consistency": consistency, "exit": ended.returncode}
    kinds = [str(kind) for kind in analysis.get("anomaly-types") or []]
    if status is Status.FAIL:
        found = analysis.get("anomalies") or {}
        anomalies = [
            Anomaly(kind, f"Elle found {kind}", [{"elle": found.get(kind, True)}]) for kind in kinds or ["invalid"]
        ]
        return Verdict(property, status, examined, anomalies, measures)
    if status is Status.PASS and ended.returncode == 0 and examined:
        return Verdict(property, status, examined, [], measures)
    words = (ended.stderr.strip() or ended.stdout.strip())[-400:]
    reason = f"elle-cli answers {analysis.get('valid?')!r} (exit {ended.returncode}){f': {words}' if words else ''}"
    return Verdict(property, Status.UNKNOWN, 0, [], measures, reason=reason)


def _analysis(text: str) -> dict[str, Any]:
    """Its answer: a JSON map, or, of older versions, a line "file <tab> true"."""
    try:
        answer = msgspec.json.decode(text.strip())
    except (msgspec.MsgspecError, RecursionError):
        answer = None
    if isinstance(answer, dict):
        return answer
    last = text.strip().rpartition("\t")[2].strip()
    return {"valid?": last} if last in _STATUS else {}
