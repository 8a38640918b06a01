"""The documentation: links lead somewhere, commands exist, and what is made from the code is what the code says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from harness import cli, reference
from harness.commands import read_scenario
from harness.trial import trial
from results.verdict import Status

ROOT = Path(cli.__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"^    (moonquake [^\n#|]*)", re.MULTILINE)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The addresses of a page's headings, as web pages make them."""
    found = HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        assert "://" not in target, f"{link}: the documentation refers to nothing outside"
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name}: {link} leads nowhere"
        assert not anchor or anchor in anchors(path), f"{page.name}: {link} names no heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    cli.register_all()
    group: Any = typer.main.get_command(cli.app)
    for line in COMMAND.findall(page.read_text(encoding="utf-8")):
        words = shlex.split(line.replace("'", " ").strip("`. ,;:)"))
        if len(words) < 2 or not words[1].isalpha():
            continue
        for name in words[1].split("|"):
            assert name in group.commands, f"{page.name}: {line}"
        known = {option for p in group.commands[words[1]].params for option in p.opts}
        for word in words[2:]:
            option = word.strip("[]`,.").partition("=")[0].partition("|")[0]
            assert not option.startswith("--") or option in known, f"{page.name}: {line}: {option}"


def test_every_page_can_be_found_from_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index


def test_the_reference_is_what_the_code_says() -> None:
    said = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert said == reference.markdown(), "run: python -m harness.reference > docs/reference.md"


def test_every_scenario_key_is_told_and_no_other() -> None:
    assert set(reference.KEYS) == reference.scenario_keys()


def test_the_checker_of_the_how_to_can_pass_and_fail() -> None:
    text = (ROOT / "docs" / "how-to-checker.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], names)
    checker = names["NoEmptyBlocks"]()
    run = trial(read_scenario("fault-free-4"), 1).run
    assert checker.check(run).examined > 0
    blocks = [
        {"time": i, "node": run.info.honest[0], "incarnation": 0, "event": "finalise", "height": i, "batches": []}
        for i in range(12)
    ]

    class Idle:
        info, trace = run.info, blocks

    verdict = checker.check(Idle)
    assert verdict.status is Status.FAIL and len(verdict.anomalies) == 1
    assert "height 9" in verdict.anomalies[0].summary
