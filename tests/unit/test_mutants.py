"""Mutants in force and out of it again: what the patch touches, what it counts, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.mutants import Mutant, MutantError, Patch, applied, load_mutants
from nodes.committee import Committee, committee_of
from nodes.messages import Vote
from nodes.moonshot import core, rules
from nodes.moonshot.state import Replica
from tests.driver import small_config


def mutant(*patches: Patch) -> Mutant:
    return Mutant("X1", "X", "1.4", "something else", patches, ("fork",))


def always(original: Any) -> Any:
    return lambda *args: True


TWO_CHAIN = Patch("nodes.moonshot.rules:two_chain", always, predicate=True)


def test_a_rule_is_replaced_counted_and_restored() -> None:
    before = rules.two_chain
    with applied(mutant(TWO_CHAIN)) as (use,):
        assert rules.two_chain(1, 2) and rules.two_chain(1, 3)
    assert rules.two_chain is before
    assert (use.calls, use.differed) == (2, 1)


def test_it_is_restored_when_the_run_raises() -> None:
    before = rules.two_chain
    with pytest.raises(ZeroDivisionError), applied(mutant(TWO_CHAIN)):
        raise ZeroDivisionError
    assert rules.two_chain is before and not rules.two_chain(1, 3)


def test_static_methods_stay_static() -> None:
    def nothing(original: Any) -> Any:
        return lambda record: "forgotten"

    with applied(mutant(Patch("nodes.moonshot.state:Replica.recover", nothing))):
        assert Replica.recover(None) == "forgotten"  # type: ignore[arg-type, comparison-overlap]
    assert isinstance(vars(Replica)["recover"], staticmethod)


def test_a_dispatch_table_is_patched_and_restored_too() -> None:
    """Handlers that are looked up by message type are found by no attribute access."""
    handler = vars(core)["_HANDLERS"][Vote]
    with applied(mutant(Patch("nodes.moonshot.core:MoonshotCore._on_vote", always))) as (use,):
        vars(core)["_HANDLERS"][Vote](None, "n0", None)
    assert use.calls == 1 and vars(core)["_HANDLERS"][Vote] is handler is core.MoonshotCore._on_vote


def test_committees_made_before_are_not_used() -> None:
    config = small_config(4)
    honest = committee_of(config)

    def half(original: Any) -> Any:
        def init(self: Committee, *args: Any) -> None:
            original(self, *args)
            self.quorum = 2

        return init

    with applied(mutant(Patch("nodes.committee:Committee.__init__", half))):
        assert committee_of(config).quorum == 2
    assert honest.quorum == committee_of(config).quorum == 3


@pytest.mark.parametrize(
    "target", ["nodes.moonshot.rules:gone", "nodes.moonshot.gone:rule", "nodes.moonshot.core:MoonshotCore.gone"]
)
def test_a_patch_that_misses_is_refused(target: str) -> None:
    with pytest.raises(MutantError, match="does not exist"), applied(mutant(Patch(target, always))):
        pass


def test_a_patch_that_was_never_called_is_refused() -> None:
    with pytest.raises(MutantError, match="never called"), applied(mutant(TWO_CHAIN)):
        pass
    with applied(mutant(TWO_CHAIN), must_run=False):
        pass


def test_a_mutant_without_a_patch_is_refused() -> None:
    with pytest.raises(MutantError, match="changes nothing"), applied(mutant()):
        pass


def test_an_attribute_that_only_a_base_class_has_is_refused() -> None:
    """A patch on the subclass would hide the base's method from one class and not from its siblings."""
    inherited = mutant(Patch("nodes.moonshot.core:MoonshotCore.commit", always))
    with pytest.raises(MutantError, match="does not exist"), applied(inherited):
        pass


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no mutants there"),
        ("MUTANTS = (1,)", "Mutant objects only"),
        ("1 / 0", "fails on import: ZeroDivisionError"),
        ("from tests.unit.test_mutants import mutant, TWO_CHAIN\nMUTANTS = (mutant(TWO_CHAIN),) * 2", "used twice"),
    ],
)
def test_faulty_files_are_named(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "some.py").write_text(text)
    with pytest.raises(MutantError, match=why) as caught:
        load_mutants(tmp_path)
    assert str(tmp_path) in str(caught.value)
