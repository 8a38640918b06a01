"""What `moonquake list` lists: names and the first line of what each says about itself."""

from __future__ import annotations

from faults.registry import summary
from harness import plugins, screen, shipped
from harness.console import document, out, standard_output
from harness.outcome import Exit, UsageError, nearest

KINDS = ("faults", "behaviours", "checkers", "workloads", "targets", "backends", "scenarios", "frontiers", "claims")


def rows(what: str) -> dict[str, str]:
    """Name -> summary. Raises UsageError for a kind that is not there."""
    if what not in KINDS:
        raise UsageError(f"list {what}: {nearest(what, list(KINDS))}")
    # What follows knows every backend: imported here, so that commands that start nothing start fast.
    from harness.backends import select
    from harness.scenario_cluster import OURS

    if what == "targets":
        others = {name: summary(kind) for name, kind in plugins.registered(what).items()}
        return {OURS: "The Supra stack: tribe, clans, families, gateways.", **others}
    if what == "backends":
        return {name: summary(type(select.make(name))) for name in select.CLASSES}
    if what == "scenarios":
        return {name: _scenario(name) for name in shipped.shipped()}
    if what == "claims":
        from results.claim import register

        return {claim.id: f"[tier {claim.tier}] {claim.statement}" for claim in register().values()}
    if what == "frontiers":
        from harness.frontier_attacks import ATTACKS

        return {name: attack.summary for name, attack in ATTACKS.items()}
    return {name: summary(kind) for name, kind in plugins.registered(what).items()}


def behaviours(what: str, json: bool, markdown: bool) -> Exit:
    """Print the attack library: a table, one JSON document, or docs/attacks.md. Raises UsageError."""
    from harness import attacks

    if what != "behaviours":
        raise UsageError(f"list {what} --markdown: is for behaviours: moonquake list behaviours --markdown")
    if markdown:
        standard_output.get().write(attacks.markdown())
    elif json:
        document({"behaviours": attacks.behaviours()})
    else:
        screen.table(out, attacks.COLUMNS, [entry.row() for entry in attacks.behaviours()])
    return Exit.AS_EXPECTED


def _scenario(name: str) -> str:
    from harness.scenario import load
    from harness.suite import claimed_text

    path = shipped.shipped()[name]
    scenario = load(path)
    return f"[{path.parent.name}] {scenario.description or claimed_text(scenario.expect)}"
