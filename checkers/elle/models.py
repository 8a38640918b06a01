"""Consistency models: which is stronger than which, and which anomalies each one rules out."""

from __future__ import annotations

from collections.abc import Iterable

DEFAULT = "strict-serializable"

# No total order of a key's versions, or a value out of nowhere: no model of transactions allows these.
STRUCTURAL = ("duplicate-elements", "incompatible-order", "garbage-read")
CYCLES = ("G0", "G1c", "G-single", "G-nonadjacent", "G2-item")  # the weakest model that rules them out comes first
SESSION_SUFFIX, REALTIME_SUFFIX = "-process", "-realtime"

_RULES_OUT: dict[str, tuple[str, ...]] = {
    "read-uncommitted": (*STRUCTURAL, "G0"),
    "read-committed": ("G1a", "G1b", "G1c", "dirty-update"),
    "read-atomic": ("internal",),
    "cursor-stability": ("lost-update",),
    "consistent-view": ("G-single",),
    "snapshot-isolation": ("G-nonadjacent", "cyclic-versions"),
    "repeatable-read": ("G-single", "G-nonadjacent", "G2-item", "cyclic-versions"),
    "serializable": (),
    "strong-session-read-uncommitted": ("G0-process",),
    "strong-session-read-committed": ("G1c-process",),
    "strong-session-snapshot-isolation": ("G-single-process", "G-nonadjacent-process", "cyclic-versions-process"),
    "strong-session-serializable": ("G2-item-process",),
    "strong-read-uncommitted": ("G0-realtime",),
    "strong-read-committed": ("G1c-realtime",),
    "strong-snapshot-isolation": ("G-single-realtime", "G-nonadjacent-realtime", "cyclic-versions-realtime"),
    "strict-serializable": ("G2-item-realtime",),
}
_WEAKER: dict[str, tuple[str, ...]] = {
    "read-uncommitted": (),
    "read-committed": ("read-uncommitted",),
    "read-atomic": ("read-committed",),
    "cursor-stability": ("read-committed",),
    "consistent-view": ("cursor-stability", "read-atomic"),
    "snapshot-isolation": ("consistent-view",),
    "repeatable-read": ("cursor-stability", "read-atomic"),
    "serializable": ("repeatable-read", "snapshot-isolation"),
    "strong-session-read-uncommitted": ("read-uncommitted",),
    "strong-session-read-committed": ("read-committed", "strong-session-read-uncommitted"),
    "strong-session-snapshot-isolation": ("snapshot-isolation", "strong-session-read-committed"),
    "strong-session-serializable": ("serializable", "strong-session-snapshot-isolation"),
    "strong-read-uncommitted": ("strong-session-read-uncommitted",),
    "strong-read-committed": ("strong-session-read-committed", "strong-read-uncommitted"),
    "strong-snapshot-isolation": ("strong-session-snapshot-isolation", "strong-read-committed"),
    "strict-serializable": ("strong-session-serializable", "strong-snapshot-isolation"),
}
ALIASES = {
    "PL-1": "read-uncommitted",
    "PL-2": "read-committed",
    "PL-CS": "cursor-stability",
    "PL-2+": "consistent-view",
    "PL-2.99": "repeatable-read",
    "PL-SI": "snapshot-isolation",
    "PL-3": "serializable",
    "PL-SS": "strict-serializable",
    "conflict-serializable": "serializable",
    "strong-serializable": "strict-serializable",
    "strong-session-PL-1": "strong-session-read-uncommitted",
    "strong-session-PL-2": "strong-session-read-committed",
    "strong-PL-1": "strong-read-uncommitted",
    "strong-PL-2": "strong-read-committed",
}
MODELS = tuple(_RULES_OUT)


def canonical(model: str) -> str:
    """The model's name here. Raises ValueError listing the models."""
    name = ALIASES.get(model, model)
    if name not in _RULES_OUT:
        raise ValueError(f"no consistency model {model!r}; there are {', '.join(MODELS)}")
    return name


def implied(model: str) -> list[str]:
    """The model and all weaker ones, each once."""
    found = [model]
    for name in found:
        found += [weaker for weaker in _WEAKER[name] if weaker not in found]
    return found


def ruled_out(model: str) -> frozenset[str]:
    """Kinds of anomalies that a history under the model cannot have."""
    return frozenset(kind for name in implied(model) for kind in _RULES_OUT[name])


def is_at_least(model: str, weaker: str) -> bool:
    """Does the model promise everything that `weaker` does?"""
    return weaker in implied(model)


def violated(kinds: Iterable[str]) -> list[str]:
    """The weakest models that anomalies of these kinds violate: none of them, and nothing stronger, can hold."""
    found = frozenset(kinds)
    broken = [model for model in MODELS if ruled_out(model) & found]
    return [model for model in broken if not any(other in broken for other in implied(model)[1:])]
