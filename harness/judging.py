"""Judging what a run left behind, and writing it down: used by `run`, `lab` and `check` alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from checkers import registry
from harness import plugins, rundir
from harness.expectations import as_expected, exit_code
from harness.outcome import Exit, MachineError, UsageError, nearest
from harness.scenario_cluster import OURS
from results.alone import HistoryAlone
from results.history import HistoryError
from results.microops import APPEND, WRITE
from results.store import COLUMNS, METRICS, Run, RunInfo
from results.transactions import UnpairedError
from results.verdict import Status, Verdict

RECORDS = ("run.json", "history.jsonl", "trace.jsonl")


# Checkers of transactions, and what a history alone must hold to be judged by one of the others without being asked.
TRANSACTIONAL = ("elle-list-append", "elle-rw-register")
REGISTER_OPERATIONS = frozenset(("read", "write", "cas"))
EVERY_SIGNATURE = 1 << 62
FORENSICS = "forensics"
DISAGREEMENT = frozenset(("fork", "diverged", "two-certificates"))  # anomalies that have culprits


def open_run(path: Path, chosen: Sequence[str] = ()) -> Run:
    """The run in a directory, or a history file on its own, read whole, as far as the `chosen` checkers read it.

    Raises HistoryError on damage (a truncated history, a missing file), UsageError when `path` is neither.
    """
    if path.is_dir():
        run = readable(path)
        columns = run.columns
        trace = len(run.trace) if columns is None else len(columns)
        for name, held in ((RECORDS[1], len(run.history)), (RECORDS[2], trace)):
            count = run.info.recorded.get(name, held)
            if not held or held != count:
                raise HistoryError(
                    f"{path / name}: truncated: it holds {held} records"
                    + (f" where the run wrote {count}" if count else "")
                    + f"; what is missing would look like loss. {_again(run.info)}"
                )
        return run
    if not path.exists():
        raise UsageError(f"{path}: there is nothing; give a run directory (runs/latest) or a history file")
    alone = HistoryAlone(path)
    if any(name not in TRANSACTIONAL for name in chosen):
        _ = alone.history
    else:
        with contextlib.suppress(UnpairedError):  # its checker says so, others judge such a history all the same
            _ = alone.transactions
    return alone


def signatures_most(text: str) -> int | None:
    """What `--signatures` says: a limit, or None if it says nothing. Raises UsageError."""
    if text in ("", "all"):
        return EVERY_SIGNATURE if text else None
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"--signatures {text}: give `all` or a whole number")
    return int(text)


def write_columns(path: Path) -> tuple[Path, int]:
    """Write the trace.parquet of a run directory; returns its path and how many records it holds.

    Raises UsageError, HistoryError on a damaged trace, MachineError when the disk refuses.
    """
    from results.trace_parquet import convert  # arrow: half a second that other commands do without

    source = path / RECORDS[2]
    if not source.exists():
        raise UsageError(f"export: {source}: there is no such trace; give a run directory (runs/latest)")
    try:
        return path / COLUMNS, convert(source, path / COLUMNS)
    except OSError as error:
        raise MachineError(f"{path / COLUMNS}: cannot be written: {error.strerror}; make room on the disk") from error


def readable(path: Path) -> Run:
    """The run in a directory that has all its records. Raises HistoryError saying what a broken-off run lacks."""
    missing = [name for name in RECORDS if not (path / name).exists()]
    if RECORDS[2] in missing and (path / COLUMNS).exists():
        missing.remove(RECORDS[2])
    if RECORDS[0] in missing:
        raise HistoryError(f"{path}: has no {RECORDS[0]}; is it a run directory? The newest one is runs/latest")
    run = Run(path)
    if run.info.incomplete or missing:
        why = run.info.incomplete or "somebody removed it"
        lacks = f"there is no {' and no '.join(missing)}" if missing else "its records are not whole"
        raise HistoryError(
            f"{path}: cannot be judged: {lacks}: {why}. What each node saw is in nodes/*/data/trace.jsonl, what it said"
            f" in logs/. {_again(run.info)}"
        )
    return run


def _again(info: RunInfo) -> str:
    return f"Run scenario {info.name} again with --backend {info.backend} --seed {info.seed}"


def checker_names(run: Run, chosen: Sequence[str]) -> list[str]:
    """The checkers to run: those chosen, else those the run asks for, else all. Raises UsageError on unknown ones."""
    known = registry.names()
    for name in chosen:
        if name not in known and not plugins.is_file(name):
            raise UsageError(f"--checker {name}: no such checker; {nearest(name, known)}")
    if chosen:
        return list(chosen)
    if isinstance(run, HistoryAlone):
        return _fitting(run) or known
    return list(run.info.checks.get("include") or known)


def _fitting(alone: HistoryAlone) -> list[str]:
    """The checkers for the kinds of operations that a history alone holds; none if no operation is of their kinds."""
    try:
        history = alone.transactions
    except HistoryError:
        return []
    lists, registers = bool((history.kind == APPEND).any() or history.listed.any()), bool((history.kind == WRITE).any())
    names = [name for name, fits in zip(TRANSACTIONAL, (lists, registers), strict=True) if fits]
    if REGISTER_OPERATIONS & history.others.keys():
        names.append("linearizable")
    return names


def judge(run: Run, names: Sequence[str], consistency: str = "") -> list[Verdict]:
    """One verdict per name, in that order; transactional checkers ask for the consistency model, if one is given."""
    settings = {"consistency": consistency} if consistency else {}
    if consistency and not any(name in TRANSACTIONAL or plugins.is_file(name) for name in names):
        raise UsageError(f"--consistency {consistency}: is for the checkers {' and '.join(TRANSACTIONAL)}")
    try:
        return registry.judge(run, names, settings)
    except registry.CheckerError as error:
        raise UsageError(str(error)) from error


def compared(run: Run, against: Path) -> Verdict:
    """Whether the speed of the two runs follows their networks' delays. Raises HistoryError on damage, UsageError."""
    from checkers import responsiveness

    if isinstance(run, HistoryAlone) or not against.is_dir():
        raise UsageError(
            f"check --against {against}: compares two run directories; give one at another message delay, such as"
            " `moonquake run` leaves in runs/"
        )
    return responsiveness.compare(run, open_run(against))


def keep(run: Run, verdicts: Sequence[Verdict], say: Callable[[str], None]) -> None:
    """Write verdicts.json for a run that has none yet (it was interrupted), so that its report can be written."""
    if isinstance(run, HistoryAlone) or (run.directory / "verdicts.json").exists():
        return
    try:
        rundir.write_verdicts(run.directory, list(verdicts))
    except MachineError as error:  # records on a disk that cannot be written can be judged all the same
        say(f"the verdicts are not kept: {error}")


def draw(directory: Path, verdicts: Sequence[Verdict]) -> list[Path]:
    """Write the pictures of what these verdicts found or could not decide into `directory`, made if it is not there.

    Nothing is written, and no directory made, where there is nothing to draw. Raises UsageError if that cannot be done.
    """
    from results.report.linear import pictures, write_pictures

    if not pictures(verdicts):
        return []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return write_pictures(directory, verdicts)
    except OSError as error:
        raise UsageError(
            f"--pictures {directory}: cannot be written: {error.strerror}; name a directory that can be made"
        ) from error


def conclude(
    directory: Path, once_more: Callable[[], None] = lambda: None
) -> tuple[Run, list[Verdict], bool | None, Path]:
    """Judge a finished run, write verdicts.json, as_expected into run.json, and the report.

    Returns the run, its verdicts, whether it was as expected, and the path of the report. `once_more` is called when
    all is judged and nothing written: it may raise what was meant to end the judging.
    """
    run = Run(directory)
    verdicts = explained(run, judge(run, checker_names(run, ())))
    expected = as_expected(run.info.expect, verdicts)
    once_more()
    rundir.write_verdicts(directory, verdicts)
    rundir.write_info(directory, msgspec.structs.replace(run.info, as_expected=expected))
    count(run)
    return run, verdicts, expected, write_report(directory)


def explained(run: Run, verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts; after a violation of agreement also that on its culprits, whose evidence is kept with the run.

    Of systems that are not ours the culprits are found by checkers that know their signatures.
    """
    if run.info.target != OURS or not any(
        anomaly.kind in DISAGREEMENT for verdict in verdicts for anomaly in verdict.anomalies
    ):
        return verdicts
    if all(verdict.property != FORENSICS for verdict in verdicts):
        verdicts = [*verdicts, *judge(run, [FORENSICS])]
    if any(verdict.measures.get("culprits") for verdict in verdicts if verdict.property == FORENSICS):
        from harness import evidence  # culprits and all: what most judgements can do without

        evidence.keep(run, run.directory / "evidence.json")
    return verdicts


def count(run: Run) -> None:
    """Write metrics.json for a run that has none. Raises HistoryError on damaged records, MachineError."""
    if (run.directory / METRICS).exists():
        return
    from harness import run_metrics  # the nodes' leader schedule and all: what `check` can do without

    rundir.write_json(run.directory / METRICS, run_metrics.of_run(run))


def write_report(directory: Path) -> Path:
    """Write report.html for a judged run; returns its path."""
    from results import report  # pandas and all: half a second that `check` can do without

    return report.write_report(Run(directory))


def observed(verdicts: Sequence[Verdict]) -> str:
    """The verdicts in one line: what failed, what is unknown, how many passed."""
    parts = [
        f"{status.value} {', '.join(v.property for v in verdicts if v.status is status)}"
        for status in (Status.FAIL, Status.UNKNOWN)
        if any(v.status is status for v in verdicts)
    ]
    passed = sum(v.status is Status.PASS for v in verdicts)
    return "; ".join([*parts, f"{passed} PASS"]) if verdicts else "not judged"


def exit_of(run: Run, verdicts: Sequence[Verdict], chosen: bool) -> Exit:
    """What `check` ends with: as the run expects where it is judged whole, else 1 on a FAIL, 2 on an UNKNOWN."""
    if not chosen and not isinstance(run, HistoryAlone) and not run.info.interrupted:
        return exit_code(as_expected(run.info.expect, verdicts))
    if any(verdict.status is Status.FAIL for verdict in verdicts):
        return Exit.SURPRISE
    return Exit.INCONCLUSIVE if any(v.status is Status.UNKNOWN for v in verdicts) else Exit.AS_EXPECTED
