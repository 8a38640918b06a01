"""A shipped scenario, run whole through the command line, as a live test needs it on a machine that may be slow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness.outcome import Exit
from harness.provision.state import state_directory
from tests.live.command import Command

TRIES = 3


def run(place: Path, scenario: str, backend: str, *words: str) -> dict[str, str]:
    """Property -> verdict of `moonquake run SCENARIO --backend BACKEND`, which must end as the scenario expects.

    What a slow machine leaves open (a fault came too late to be told: nothing failed, the exit code says unknown) is
    run again, at most twice; anything else that is not expected fails the test at once.
    """
    told: list[Any] = []
    for attempt in range(TRIES):
        code, document = once(place / f"{scenario}-{backend}-{attempt}", scenario, backend, *words)
        found = {verdict["property"]: verdict["status"] for verdict in document["verdicts"]}
        told.append(said(document))
        violated = document["regime"] == "within" and "FAIL" in found.values()
        if code != Exit.INCONCLUSIVE or violated:
            break
    assert code == Exit.AS_EXPECTED and document["as_expected"] is True, told
    return found


def side_by_side(place: Path, *asked: tuple[str, str]) -> list[dict[str, str]]:
    """The same of several (scenario, backend) at the same time: their clusters idle most of it."""
    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(lambda one: run(place, *one), asked))


def once(place: Path, scenario: str, backend: str, *words: str) -> tuple[int, Any]:
    """Exit code and JSON document of one run; the run directories are in place/runs."""
    place.mkdir(parents=True)
    runs = str(place / "runs")
    command = Command(
        place, "run", scenario, "--backend", backend, "--json", "--runs", runs, *words, environment=shared_state()
    )
    code = command.ended()
    assert code in (Exit.AS_EXPECTED, Exit.SURPRISE, Exit.INCONCLUSIVE), command.said
    return code, command.document()


def shared_state() -> dict[str, str]:
    """The programs that were fetched or built once are not fetched again for every test."""
    return {"MOONQUAKE_STATE": str(state_directory())}


def said(document: Any) -> dict[str, Any]:
    """What a failed test should show of a run."""
    verdicts = [
        (v["property"], v["status"], v.get("reason", ""), [a["summary"] for a in v["anomalies"]][:3])
        for v in document["verdicts"]
    ]
    return {"run": document["run"], "notes": document["notes"], "verdicts": verdicts}
