"""`moonquake report`: a run's report as a page, as Markdown or as JUnit XML; a campaign's page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness import judging
from harness.console import JsonOption, document, plain, tidy
from harness.outcome import Exit, UsageError

FORMATS = ("html", "md", "junit")


def report(
    run_dir: Annotated[Path, typer.Argument(help="a run directory, or one of a campaign (runs/search/...)")],
    format: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "html",
    json: JsonOption = False,
) -> int:
    """Write a run's report.html again, or print the report in another format."""
    if format not in FORMATS:
        raise UsageError(f"--format {format}: must be one of {', '.join(FORMATS)}")
    tidy()
    if not run_dir.is_dir():
        raise UsageError(f"{run_dir}: is not a run directory; the newest one is runs/latest")
    if format == "html":
        path = _page(run_dir)
        if json:
            document({"report": str(path)})
        else:
            plain(str(path))
        return Exit.AS_EXPECTED
    text = _text(run_dir, format)
    if json:
        document({format: text})
    else:
        sys.stdout.write(text)
    return Exit.AS_EXPECTED


def _page(directory: Path) -> Path:
    from results.report import campaign

    if (directory / campaign.RESULT).is_file() and not (directory / "run.json").exists():
        return campaign.write_campaign(directory, campaign.read_campaign(directory))
    judging.count(judging.readable(directory))
    return judging.write_report(directory)


def _text(directory: Path, format: str) -> str:
    from results.report.junit import render_junit
    from results.report.markdown import render_markdown

    run = judging.readable(directory)
    if format == "junit":
        return render_junit(run)
    judging.count(run)
    return render_markdown(run)
