"""The command line: the one place where everything is put together (architecture section 7).

Exit codes: 0 as expected, 1 a surprise, 2 unknown, inconclusive or interrupted, 3 usage, 4 environment. With --json a
command prints one JSON document on standard output and nothing else there; progress goes to standard error.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from faults.port import UnsupportedError
from harness import judging, listing, screen
from harness.console import (
    RUNS,
    BackendOption,
    HostsOption,
    JsonOption,
    RunsOption,
    SeedOption,
    document,
    err,
    out,
    plain,
    printable,
    say,
    standard_output,
    tidy,
)
from harness.expectations import exit_code
from harness.outcome import SIGNALS, Exit, Interrupted, MachineError, RecordingError, UsageError
from results.history import HistoryError

app = typer.Typer(
    name="moonquake",
    help="An adversarial test harness and chaos lab for the Supra stack and other replicated systems.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
SIGINT_EXIT = 130
COMMANDS = {
    "teeth": "harness.command_teeth",
    "bench": "harness.command_bench",
    "claims": "harness.command_claims",
    "export": "harness.command_export",
    "frontier": "harness.command_frontier",
    "nightly": "harness.command_nightly",
    "replay": "harness.command_replay",
    "report": "harness.command_report",
    "search": "harness.command_search",
    "serve": "harness.command_serve",
    "shrink": "harness.command_shrink",
}


@app.command()
def lab(
    backend: BackendOption = "auto",
    seed: SeedOption = None,
    runs: RunsOption = RUNS,
    hosts: HostsOption = None,
    json: JsonOption = False,
) -> int:
    """Run the default suite on real nodes and compare what was claimed with what was observed."""
    from harness import shipped, suite
    from harness.backends import select

    plans = suite.plans(shipped.suite(), seed, select.scheme_of(backend))
    tidy()
    chosen, notes = select.choose(backend, say, hosts)
    total = len(plans)
    say(f"the default suite: {total} scenarios on backend {chosen.name}, about {total * 28 // 60 + 1} minutes")
    lines: list[suite.Line] = []
    try:
        with screen.live(err) as observer:
            for line in suite.run_suite(plans, chosen, runs, notes, observer):
                lines.append(line)
                answer = screen.ANSWERS[line.expected]
                say(f"[{len(lines)}/{total}] {line.scenario}: {line.observed} - as expected? {answer}")
    except Interrupted:
        screen.suite(err, lines)
        raise
    code = suite.worst(lines)
    claims = suite.claims(lines)
    if json:
        rulings = msgspec.to_builtins(claims)
        document({"lines": [line.document() for line in lines], "claims": rulings, "notes": notes, "exit": int(code)})
    else:
        screen.suite(out, lines)
        screen.lab_claims(out, claims)
        for note in notes:
            plain(f"note: {note}")
    return code


@app.command()
def run(
    scenario: Annotated[str, typer.Argument(help="a shipped scenario's name, or a TOML file")],
    backend: BackendOption = "auto",
    seed: SeedOption = None,
    attack: Annotated[str | None, typer.Option("--attack", help="FILE.py:Class, instead of its behaviours")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", help="KEY=VALUE for the attack (repeatable)")] = None,
    nodes: Annotated[int | None, typer.Option("--nodes", help="tribe size, instead of the scenario's")] = None,
    time: Annotated[str | None, typer.Option("--time", help="length of the load, such as 30s")] = None,
    runs: RunsOption = RUNS,
    hosts: HostsOption = None,
    json: JsonOption = False,
) -> int:
    """Run one scenario once, judge it and write its report."""
    from harness import commands
    from harness.backends import select

    asked = commands.read_scenario(scenario, nodes, time, attack, option or ())
    plan = commands.plan_of(asked, seed, select.scheme_of(backend))
    select.foresee(backend, plan.needs, hosts)
    tidy()
    chosen, notes = select.choose(backend, say, hosts)
    with screen.live(err) as observer:
        judged = commands.run_plan(plan, chosen, runs, notes, observer)
    if json:
        document(judged.document())
    else:
        screen.verdicts(out, judged.verdicts)
        answer = screen.ANSWERS[judged.expected]
        plain(f"{judged.scenario} (seed {plan.seed}, {judged.backend}, {judged.layer}), {judged.regime} the bound")
        for note in judged.notes:
            plain(f"note: {note}")
        if judged.digest:
            plain(f"digest: {judged.digest} (moonquake replay {judged.directory})")
        plain(f"as expected: {answer}\nrun:    {judged.directory}\nreport: {judged.report}")
    return exit_code(judged.expected)


@app.command()
def check(
    run_dir: Annotated[Path | None, typer.Argument(help="a run directory, or a history: .jsonl, .edn, .json")] = None,
    checker: Annotated[list[str] | None, typer.Option("--checker", help="judge by this checker (repeatable)")] = None,
    consistency: Annotated[str, typer.Option("--consistency", help="model of transactions to ask for")] = "",
    elle_cli: Annotated[
        Path | None, typer.Option("--elle-cli", envvar="MOONQUAKE_ELLE_CLI", help="ask the real Elle too: its jar")
    ] = None,
    proof: Annotated[Path | None, typer.Option("--evidence", help="verify this evidence file, without a run")] = None,
    evidence_out: Annotated[Path | None, typer.Option("--evidence-out", help="write the culprits' proofs here")] = None,
    signatures: Annotated[
        str, typer.Option("--signatures", help="of a trace.parquet, verify: all | at most so many")
    ] = "",
    pictures: Annotated[
        Path | None, typer.Option("--pictures", help="draw where no order of register operations was found, into DIR")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="compare with this run, at another delay: does it follow the network?"),
    ] = None,
    json: JsonOption = False,
) -> int:
    """Judge a run again, without running it."""
    if (run_dir is None) == (proof is None):
        raise UsageError("check: give a run (runs/latest) or --evidence FILE, one of the two")
    if proof is not None:
        from harness import evidence

        return evidence.prove(proof, json)
    assert run_dir is not None
    if not run_dir.is_file():  # a history alone has nothing to do with what runs leave behind
        tidy()
    opened = judging.open_run(run_dir, checker or ())
    opened.signatures_most = judging.signatures_most(signatures)
    names = [] if against is not None and not checker else judging.checker_names(opened, checker or ())
    verdicts = judging.judge(opened, names, consistency)
    if against is not None:
        verdicts.append(judging.compared(opened, against))
    elif not checker:
        judging.keep(opened, verdicts, say)
    if evidence_out is not None:
        from harness import evidence

        evidence.keep(opened, evidence_out)
    if elle_cli is not None:
        from harness import elle_cli as elle

        verdicts += elle.second_opinion(opened, verdicts, consistency, elle_cli)
    drawn = judging.draw(pictures, verdicts) if pictures is not None else []
    if json:
        more = {"pictures": [str(path) for path in drawn]} if pictures is not None else {}
        document({"verdicts": msgspec.to_builtins(verdicts), **more})
    else:
        screen.verdicts(out, verdicts)
        for path in drawn:
            plain(f"picture: {path}")
    return judging.exit_of(opened, verdicts, bool(checker) or against is not None)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help=" | ".join(listing.KINDS))],
    json: JsonOption = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="behaviours only: docs/attacks.md")] = False,
) -> int:
    """List what there is: faults, behaviours, checkers, workloads, targets, backends, scenarios, frontiers."""
    rows = listing.rows(what)
    tidy()
    if what == "behaviours" or markdown:
        return listing.behaviours(what, json, markdown)
    if json:
        document({what: [{"name": name, "summary": text} for name, text in rows.items()]})
    else:
        screen.listing(out, rows)
    return Exit.AS_EXPECTED


@app.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="mend what can be mended")] = False,
    browser: Annotated[bool, typer.Option("--browser", help="with --fix: a Chromium too, for browser tests")] = False,
    targets: Annotated[
        bool, typer.Option("--targets/--no-targets", help="the programs of systems that are not ours, too")
    ] = True,
    clean: Annotated[bool, typer.Option("--clean", help="remove everything that runs left on this machine")] = False,
    hosts: HostsOption = None,
    json: JsonOption = False,
) -> int:
    """What this machine can and cannot do, and the command that mends it."""
    from harness import doctor as physician

    removed = tidy()
    if clean:
        removed += physician.clean(say, hosts)
        if json:
            document({"removed": removed})
        else:
            plain(f"removed: {len(removed)} leftovers" if removed else "nothing was left over")
        return Exit.AS_EXPECTED
    found = physician.examine(fix, say, browser, targets, hosts)
    if json:
        document({**msgspec.to_builtins(found), "ok": found.ok})
    else:
        screen.examination(out, found)
    return Exit.AS_EXPECTED if found.ok else Exit.ENVIRONMENT


def _register(words: Sequence[str]) -> None:
    """Have the commands that live in modules of their own: the one that is called, or all if it is none of them.

    They bring the simulator and its libraries along, which `check` and `list` need not wait for.
    """
    called = [name for name in COMMANDS if name in words[:1]]
    plain = {info.name or info.callback.__name__ for info in app.registered_commands if info.callback}
    if not called and not plain & set(words[:1]):
        called = list(COMMANDS)
    for name in called:
        if name not in plain:
            app.command(name)(getattr(import_module(COMMANDS[name]), name))


def register_all() -> None:
    """Have every command, for whoever lists them."""
    _register(("--help",))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs a command and ends the process with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:  # the process is ours
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as good as Ctrl-C, in a run and outside
    code, message = _guarded(words)
    if arguments is None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # ending already: a second Ctrl-C must not tear the last words
    if message:
        err.print(printable(f"moonquake: {message}"), markup=False, highlight=False, soft_wrap=True, style="red")
        if "--json" in words:
            document({"error": message, "exit": int(code)})
    sys.exit(int(code))


def _guarded(words: list[str]) -> tuple[int, str]:
    """(exit code, message for a person); the message is empty when the command has said everything itself."""
    # With --json nothing but the document may reach standard output, whatever a plug-in prints there.
    aside = contextlib.redirect_stdout(sys.stderr) if "--json" in words else contextlib.nullcontext()
    standard_output.set(sys.stdout)
    try:
        with aside:
            _register(words)
            result = typer.main.get_command(app).main(words, prog_name="moonquake", standalone_mode=False)
        if result == SIGINT_EXIT:  # the parser's own answer to Ctrl-C outside a run
            raise KeyboardInterrupt
        return int(result or 0), ""
    except (UsageError, HistoryError, UnsupportedError) as error:
        return Exit.USAGE, str(error)
    except (MachineError, RecordingError) as error:
        return Exit.ENVIRONMENT, str(error)
    except Interrupted as interrupted:
        return Exit.INCONCLUSIVE, f"interrupted: faults healed, nodes stopped; {interrupted}"
    except KeyboardInterrupt:
        return Exit.INCONCLUSIVE, "interrupted"
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.AS_EXPECTED, ""
    except typer.Abort:
        return Exit.INCONCLUSIVE, "aborted"
    except OSError as error:
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return Exit.ENVIRONMENT, f"{where}{error.strerror or error}; is there room on the disk, and may we write there?"
    except Exception as error:
        text = getattr(error, "format_message", None)  # a mistake on the command line, as the parser words it
        if text is not None:
            return Exit.USAGE, f"{text()} (moonquake --help)".removeprefix(" ")
        err.print(traceback.format_exc(), markup=False, highlight=False)
        return Exit.INCONCLUSIVE, f"a bug of the harness, which proves nothing about the target: {error!r}"


if __name__ == "__main__":
    main()
