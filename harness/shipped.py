"""The scenarios that come with the project, by name; a path to a TOML file works everywhere a name does."""

from __future__ import annotations

from pathlib import Path

from harness.outcome import UsageError, nearest

ROOT = Path(__file__).parent / "scenarios"
DEFAULT_SUITE = ("default", "negative")
FOREIGN = ("smoke", "foreign-negative")  # of systems that are not ours: one that holds a target, and known-bad ones


def shipped() -> dict[str, Path]:
    """Name -> file of every shipped scenario; the name is the file's, without .toml."""
    return {path.stem: path for path in sorted(ROOT.glob("*/*.toml"))}


def suite() -> list[Path]:
    """The default suite in the order in which `lab` runs it: fault-free first, those that must break last."""
    paths = [path for group in DEFAULT_SUITE for path in sorted((ROOT / group).glob("*.toml"))]
    return sorted(paths, key=lambda path: (DEFAULT_SUITE.index(path.parent.name), path.stem != "fault-free", path.stem))


def find(scenario: str) -> Path:
    """The file of a shipped name or a path. Raises UsageError naming the nearest shipped one."""
    path = Path(scenario)
    if path.suffix == ".toml" or path.is_file():
        return path
    names = shipped()
    if scenario not in names:
        raise UsageError(
            f"no scenario {scenario!r}; {nearest(scenario, list(names))} (`moonquake list scenarios`, or a .toml file)"
        )
    return names[scenario]
