"""`campaign.html`: what a search ran, what it found, what it covered; beside it the store's newest frontiers and kill
matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import plotly.graph_objects as go

from results.history import UNDECODABLE, HistoryError
from results.report.beside import BUILD, Beside, made, newest, store_of
from results.report.frontier import rates
from results.report.theme import PALETTE, Figure, blank, page, plain_text
from results.report.words import when

RESULT, PAGE = "campaign.json", "campaign.html"
Found = Mapping[str, Any]
_KILLED = {True: ["badge", "pass", "killed"], False: ["badge", "fail", "SURVIVED"]}
_MOODS = ("pass", "fail", "unknown")


def render_campaign(found: Found, beside: Beside | None = None) -> str:
    """The page of a campaign (the JSON document of `moonquake search`), with what is `beside` it in the store."""
    beside = beside or Beside()
    build = str(found.get("code", ""))
    goals = found["coverage"]["goals"]
    missed = [goal for goal, runs in goals.items() if not runs]
    surprises = [failure for failure in found["failures"] if failure["surprise"]]
    return page(
        "campaign.html",
        title=f"Search: {found['generator']}",
        kicker="campaign",
        outcome=_outcome(found, surprises),
        figures=_figures(found, beside.frontiers, build),
        found=found,
        facts=_facts(found),
        surprises=len(surprises),
        failures=[_failure_row(failure) for failure in found["failures"]],
        properties=[_property_row(name, counts) for name, counts in found["properties"].items()],
        missed=missed,
        reached=f"{len(goals) - len(missed)} of {len(goals)}",
        unknown=[[reason, f"{runs:,}"] for reason, runs in found["unknown_reasons"].items()],
        errors=[[str(error["seed"]), error["error"]] for error in found["errors"]],
        matrix=_matrix(beside.teeth, build) if beside.teeth else None,
        left_out=beside.left_out,
    )


def write_campaign(directory: Path, found: Found) -> Path:
    """Write campaign.json and campaign.html, with what its run store has to show beside it; returns the page's path.

    Raises OSError where nothing can be written.
    """
    (directory / RESULT).write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    path = directory / PAGE
    path.write_text(render_campaign(found, newest(store_of(directory))), encoding="utf-8")
    return path


def read_campaign(directory: Path) -> dict[str, Any]:
    """The document that `write_campaign` left. Raises HistoryError if it is none."""
    path = directory / RESULT
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read: {error.strerror}") from error
    except UNDECODABLE as error:
        raise HistoryError(f"{path}: not the result of a search: {error}") from error
    missing = [key for key in ("runs", "failures", "coverage", "properties", "generator") if key not in found]
    if missing:
        raise HistoryError(f"{path}: not the result of a search: it has no {', '.join(missing)}; search again")
    return found


def _outcome(found: Found, surprises: Sequence[Found]) -> tuple[str, str]:
    if surprises:
        return "fail", "A SURPRISE"
    doubtful = found["unknown"]["nothing to examine"] + found["unknown"]["other"] + len(found["errors"])
    if doubtful or found["interrupted"] or not found["runs"]:
        return "unknown", "INCONCLUSIVE"
    return "pass", "AS EXPECTED"


def _facts(found: Found) -> dict[str, str]:
    unknown, coverage = found["unknown"], found["coverage"]
    bound = found["upper_bound"]
    day = {"ended": when(str(found["utc"]))} if found.get("utc") else {}
    build = {"build": str(found["code"])[:BUILD]} if found.get("code") else {}
    return {
        **day,
        **build,
        "runs (N)": f"{found['runs']:,}, {found['runs_per_s']:g} a second",
        "regime": f"{found['regime']} the claimed bound",
        "clean runs": f"{found['clean']:,} of {found['runs']:,}",
        "chance of a violation": "seen" if bound is None else f"below {bound:.2g} (95 %: 0 of {found['clean']:,})",
        "attack did not bite": f"{unknown['did not bite']:,} runs",
        "unknown": f"{unknown['nothing to examine'] + unknown['other']:,} runs",
        "errors": f"{len(found['errors'])}",
        "covered": f"{coverage['cells']} combinations, {coverage['states']} states, {coverage['views']:,} views",
    }


def _failure_row(failure: Found) -> list[Any]:
    mood = ["badge", "fail", "surprise"] if failure["surprise"] else ["badge", "plain", "expected"]
    again = f"moonquake replay {failure['run']}" if failure["run"] else f"seed {failure['seed']}"
    causes = ", ".join(failure["causes"]) or "nothing declared"
    return [f"{failure['property']}: {failure['anomaly']}", mood, f"{failure['count']:,}", causes, failure["summary"],
            again]  # fmt: skip


def _property_row(name: str, counts: Mapping[str, int]) -> list[str]:
    return [name, f"{sum(counts.values()):,}", *(f"{counts.get(mood, 0):,}" for mood in _MOODS)]


def _figures(found: Found, frontiers: Sequence[Found], build: str) -> list[Figure]:
    runs = found["runs"]
    figures = []
    if found["failures"]:
        figures.append(Figure("failures", "Failures by anomaly", f"Runs with it, of N = {runs:,}.", _failures(found)))
    note = f"Share of N = {runs:,} runs that reached it. A campaign that reaches nothing proves nothing."
    figures.append(Figure("goals", "What was reached", note, _goals(found)))
    for number, frontier in enumerate(frontiers):
        total = sum(point["runs"] for point in frontier["points"])
        title = f"Frontier: {frontier['attack']}"
        note = f"{frontier['summary']} N = {total:,} runs. {made(frontier, build)}"
        figures.append(Figure(f"frontier{number}", title, note, rates(frontier)))
    return figures


def _failures(found: Found) -> go.Figure:
    counts: dict[str, int] = {}
    for failure in found["failures"]:
        name = f"{failure['property']}: {failure['anomaly']}"
        counts[name] = counts.get(name, 0) + failure["count"]
    return _bars({name: counts[name] for name in sorted(counts, key=lambda key: counts[key])}, "runs", PALETTE[1])


def _goals(found: Found) -> go.Figure:
    goals, runs = found["coverage"]["goals"], max(1, found["runs"])
    figure = _bars({name: goals[name] / runs for name in reversed(goals)}, "share of runs", PALETTE[0])
    figure.update_xaxes(tickformat=".0%", range=[0, 1.02])
    return figure


def _bars(values: Mapping[str, float], what: str, colour: str) -> go.Figure:
    """Horizontal bars, so that long names can be read."""
    figure = blank("", what)
    names = [plain_text(name) for name in values]
    figure.add_trace(
        go.Bar(
            x=list(values.values()),
            y=names,
            orientation="h",
            marker={"color": colour},
            hovertemplate="%{y}: %{x}<extra></extra>",
        )
    )
    figure.update_layout(height=90 + 24 * len(values), bargap=0.35)
    figure.update_yaxes(automargin=True, tickfont={"size": 11}, rangemode="normal")
    return figure


def _matrix(teeth: Found, build: str) -> dict[str, Any]:
    """The kill matrix: mutants by checkers."""
    checkers = sorted({name for row in teeth["mutants"] for name in row["by"]})
    rows = [
        [
            row["id"],
            row.get("breaks", ""),
            _KILLED[bool(row["killed"])],
            *("●" if c in row["by"] else "" for c in checkers),
        ]
        for row in teeth["mutants"]
    ]
    return {
        "columns": ["mutant", "breaks", "verdict", *checkers],
        "rows": rows,
        "killed": sum(bool(row["killed"]) for row in teeth["mutants"]),
        "clean_runs": teeth["clean_runs"],
        "false_alarms": teeth["false_alarms"],
        "made": made(teeth, build),
    }
