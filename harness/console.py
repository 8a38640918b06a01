"""What the commands share: how they speak, and the options that several of them take."""

from __future__ import annotations

import json as json_module
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, TextIO

import msgspec
import typer

from harness import screen

out, err = screen.console(), screen.console(stderr=True)

BackendOption = Annotated[str, typer.Option("--backend", help="auto, sim, process, docker or ssh")]
HostsOption = Annotated[
    str | None, typer.Option("--hosts", help="backend ssh or docker: hosts.toml, or ssh://A,ssh://B (docs/hosts.md)")
]
SeedOption = Annotated[int | None, typer.Option("--seed", help="decides keys, workload, victims (default 1)")]
JsonOption = Annotated[bool, typer.Option("--json", help="one JSON document on standard output, nothing else there")]
RunsOption = Annotated[Path, typer.Option("--runs", help="where run directories are made")]
WorkersOption = Annotated[
    str, typer.Option("--workers", help="processes (default: one a core), or dask://HOST:PORT, a cluster's scheduler")
]
RUNS = Path("runs")
standard_output: ContextVar[TextIO] = ContextVar("standard output", default=sys.stdout)


def say(text: str) -> None:
    """Progress, to standard error."""
    err.print(printable(text), markup=False, highlight=False)


def tidy() -> list[str]:
    """Remove what killed runs left behind, and say so; one sentence a removed thing."""
    from harness.provision import clean  # the Docker SDK: half a second that a refusal can do without

    return clean.sweep(lambda text: say(f"left over from a killed run: {text}"))


def plain(text: str) -> None:
    """A line of the answer, to standard output."""
    screen.plain(out, printable(text))


def printable(text: str) -> str:
    """With the bytes of file names that are not UTF-8 written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def document(value: Any) -> None:
    """The one JSON document of a command with --json."""
    try:
        text = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # the name of a file that is not UTF-8; JSON's escapes can say it
        text = json_module.dumps(msgspec.to_builtins(value))
    standard_output.get().write(text + "\n")
