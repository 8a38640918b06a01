"""docs/tutorial-attack.md as its reader meets it: the code and the scenario are taken from the page and run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from faults.byzantine.registry import load_behaviour
from harness.commands import read_scenario
from harness.scenario import Scenario, parse
from harness.toml import Source
from harness.trial import Trial, trial
from nodes.messages import Block, OptimisticProposal, Vote, block_hash
from nodes.port import EVERYONE, Multicast, Receive
from tests.coalition import Canned, sends, shell_of
from tests.driver import domain_of, signer_of, small_config

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "tutorial-attack.md").read_text()
USE = "first_attack.py:TwoStories"


def block_of(language: str) -> str:
    """The page's only code block in this language."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(text)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which somebody saved what the page says."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "first_attack.py").write_text(block_of("python"))
    (tmp_path / "two-stories.toml").write_text(block_of("toml"))
    return tmp_path


def bites(found: Trial) -> int:
    """Messages that the attack changed."""
    receipts = next(v for v in found.verdicts if v.property == "receipts")
    return int(receipts.measures[f"behaviour 1 ({USE})"]["changed"])


def test_it_is_under_thirty_lines_and_the_page_shows_the_file() -> None:
    code = block_of("python")
    assert len(code.splitlines()) < 30
    assert code == (DOCS / "first_attack.py").read_text()


@pytest.mark.parametrize("seed", [1, 2])
def test_two_liars_of_seven_bite_and_everything_holds(reader: Path, seed: int) -> None:
    found = trial(read_scenario("fault-free", time="5s", attack=USE), seed)
    assert len(found.info.byzantine) == 2
    assert found.expected is True
    assert bites(found) > 5


@pytest.mark.parametrize("seed", [1, 2])
def test_three_with_accomplices_fork_the_tribe(reader: Path, seed: int) -> None:
    found = trial(read_scenario("two-stories.toml"), seed)
    assert found.expected is True
    assert {("fork", "fork"), ("fork", "two-certificates"), ("prefix", "diverged")} <= set(found.anomalies())
    assert bites(found) > 5


def test_without_the_attack_no_view_has_two_certificates(reader: Path) -> None:
    """The control: double votes over a partition fork too, but never within one view."""
    values = tomllib.loads(block_of("toml"))
    del values["adversary"]["behaviour"][0]
    found = trial(scenario(values), 1)
    assert ("fork", "two-certificates") not in found.anomalies()


def scenario(values: dict[str, object]) -> Scenario:
    return parse(values, Source("two-stories.toml"))


def test_who_votes_for_a_story_is_told_how_it_goes_on(reader: Path) -> None:
    config = small_config(7)
    domain = domain_of(config)
    core = Canned()
    shell = shell_of(core, load_behaviour(USE, {}), me="n6", coalition=("n5", "n6"), config=config)

    def told(block: Block) -> dict[str, Block]:
        """Recipient -> the block that he is told of."""
        signature = signer_of("n6").sign(domain.proposal("optimistic", block.view, block_hash(block)))
        core.effects = (Multicast(EVERYONE, OptimisticProposal(block, signature)),)
        out = shell.step(1, Receive("n0", Vote("normal", 1, bytes(32), "n0", bytes(64))))
        return {to: message.block for to, message in sends(out) if isinstance(message, OptimisticProposal)}

    first = Block("test", 0, 5, 3, bytes(32), "n6", 50, ())
    stories = {to: block_hash(block) for to, block in told(first).items()}
    assert {to for to, story in stories.items() if story != block_hash(first)} == {"n1", "n3", "n5"}
    core.effects = ()
    for voter, story in (("n1", stories["n0"]), ("n2", stories["n1"])):  # not as they were told
        shell.step(2, Receive(voter, Vote("optimistic", 5, story, voter, bytes(64))))
    second = Block("test", 0, 6, 4, block_hash(first), "n6", 60, ())
    parents = {to: block.parent for to, block in told(second).items()}
    assert parents["n1"] == stories["n0"]
    assert parents["n2"] == stories["n1"]


def test_an_attack_that_fails_in_mid_run_is_unknown_however_much_it_did_before(reader: Path) -> None:
    text = block_of("python").replace("                self.receipt.changed += 1\n", COUNTED)
    (reader / "first_attack.py").write_text(text)
    found = trial(read_scenario("fault-free", time="5s", attack=USE), 1)
    assert bites(found) == 2 * 3
    assert found.expected is None
    assert found.unknown() == ("receipts",)
    reason = next(v.reason for v in found.verdicts if v.property == "receipts")
    assert re.search(r"its own code failed on n\d, n\d: \S*first_attack\.py:28: ZeroDivisionError", reason)
    stops = [op.value["receipt"] for op in found.run.history if op.f == "stop"]
    assert all("1 // (3 - self.receipt.changed)" in receipt["error"] for receipt in stops)


COUNTED = """                self.receipt.changed += 1
                1 // (3 - self.receipt.changed)
"""
