"""One paragraph that tells the attack: who is there, what is done to them, what happened, what shrinking showed."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from harness import plugins
from harness.outcome import UsageError
from harness.scenario import BehaviourSection, FaultSection, Scenario
from harness.shrinking.search import Shrunk
from harness.trial import Trial
from nodes.committee import tribe_faults, tribe_quorum
from results.verdict import Anomaly, Status

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ASIDE = ("victims", "nodes", "groups", "topology")  # parameters that the sentence says in other words


def tell(shrunk: Shrunk) -> str:
    """The paragraph."""
    search, trial = shrunk.search, shrunk.search.trial
    sentences = [
        _setting(trial),
        *_corruption(trial),
        *_faults(trial),
        *_certificates(trial, search.anomaly),
        _ending(trial, search.anomaly, search.moment),
        _closing(shrunk),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _setting(trial: Trial) -> str:
    scenario, info = trial.scenario, trial.info
    n, bound = len(info.tribe), tribe_faults(len(info.tribe))
    clans = f" in {_number(len(info.clans))} clans" if len(info.clans) > 1 else ""
    latency = f"{info.md_ms:g} ms apart" if info.md_ms else "with nothing between them"
    network = "" if scenario.network.latency.startswith("uniform:") else f" (latency {scenario.network.latency})"
    return (
        f"{_number(n).capitalize()} nodes{clans} stand {latency}{network}; {tribe_quorum(n)} votes make a certificate,"
        f" and the tribe tolerates {_number(bound)} corrupted {'node' if bound == 1 else 'nodes'}."
    )


def _corruption(trial: Trial) -> list[str]:
    info, behaviours = trial.info, trial.scenario.adversary.behaviours
    if not info.byzantine:
        return ["None is corrupted."]
    beyond = next((note.removeprefix("beyond the bound: ") for note in info.notes if note.startswith("beyond")), "")
    regime = f"more than that ({beyond})" if beyond else "which is within every bound"
    are = "is" if len(info.byzantine) == 1 else "are"
    first = f"Here {_names(info.byzantine)} {are} corrupted, {regime}."
    return [first, *(_behaviour(b, info.byzantine) for b in behaviours)]


def _behaviour(section: BehaviourSection, byzantine: Sequence[str]) -> str:
    who = _names(section.nodes or byzantine)
    play = "plays" if len(section.nodes or byzantine) == 1 else "play"
    begin = f"from {section.from_s:g} s" if section.from_s else "from the start"
    end = "" if section.until_s is None else f" until {section.until_s:g} s into the load"
    options = f" ({_options(section.options)})" if section.options else ""
    return f"{who} {play} {_called(section.use)}{options} {begin}{end}: {_summary(section.use)}"


def _faults(trial: Trial) -> list[str]:
    return [_fault(section, trial.scenario) for section in trial.scenario.faults]


def _fault(section: FaultSection, scenario: Scenario) -> str:
    end = scenario.workload.duration_s if section.until_s is None else section.until_s
    groups = section.parameters.get("groups")
    victims = section.parameters.get("victims", section.parameters.get("nodes"))
    if groups:
        whom = " between " + " and ".join(_names(group) for group in groups)
    elif isinstance(victims, list):
        whom = f" of {_names(victims)}"
    else:
        whom = f" of {victims}" if victims else ""
    shape = f" ({section.parameters['topology']})" if "topology" in section.parameters else ""
    rest = _options({k: v for k, v in section.parameters.items() if k not in ASIDE})
    more = f", {rest}" if rest else ""
    when = f"From {section.from_s:g} s to {end:g} s of the load"
    return f"{when} there is a fault {_called(section.use)}{shape}{whom}{more}."


def _certificates(trial: Trial, anomaly: Anomaly) -> list[str]:
    """What made a fork possible: two certificates of one view, if the checker saw them."""
    twins = [
        other.summary
        for verdict in trial.verdicts
        if verdict.status is Status.FAIL
        for other in verdict.anomalies
        if other.kind == "two-certificates" and other.kind != anomaly.kind
    ]
    return [f"So {twins[0]}."] if twins else []


def _ending(trial: Trial, anomaly: Anomaly, moment: int) -> str:
    since = (moment - trial.info.load_start) / 1e9
    when = f"{abs(since):.3f} s {'after' if since >= 0 else 'before'} the load begins" if moment else "in the end"
    return f"The witness is complete {when}: {sentence(anomaly.summary)}"


def _closing(shrunk: Shrunk) -> str:
    trials = shrunk.search.trials
    if not shrunk.minimal:
        return f"The search ended early ({shrunk.stopped}, {trials} trials): more of this may be superfluous."
    return (
        f"In {trials} trials nothing more could be taken away: whatever was tried, the violation went, or a receipt"
        " that says the attack took place."
    )


# ---------------------------------------------------------------- words
def sentence(text: str) -> str:
    """With a full stop at its end (an abridged hash has two)."""
    return text if text.endswith(".") else f"{text}."


def _summary(use: str) -> str:
    """The behaviour's own first sentence: its module's, or its class's."""
    try:
        kind = plugins.load("behaviours", use)
    except UsageError:
        return "no description."
    module = inspect.getmodule(kind)
    text = inspect.getdoc(module) or inspect.getdoc(kind) or "no description"
    line = " ".join(text.partition("\n\n")[0].split()).rstrip(".")
    return f"{line[:1].lower()}{line[1:]}."


def _called(use: str) -> str:
    return use.rpartition("/")[2] if plugins.is_file(use) else use


def _options(options: dict[str, Any]) -> str:
    return ", ".join(_option(key, value) for key, value in options.items())


def _option(key: str, value: Any) -> str:
    """ "delay_ms = 30"; "senders n1 and n2"; of a script only how long it is: the scenario file holds it."""
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return f"{key} of {_number(len(value))}"
    if isinstance(value, list):
        return f"{key} {_names([str(item) for item in value])}" if value else f"no {key}"
    return f"{key} = {value}"


def _names(names: Sequence[str]) -> str:
    *front, last = names
    return f"{', '.join(front)} and {last}" if front else last


def _number(number: int) -> str:
    return NUMBERS[number] if number < len(NUMBERS) else str(number)
