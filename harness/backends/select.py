"""Which backend: the one that was named, or the best that this machine offers, with a note when it is second best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from faults.port import Capability, UnsupportedError
from harness.backends.port import Backend, MachineError
from harness.outcome import UsageError, nearest

CLASSES = {
    "process": ("harness.backends.process", "ProcessBackend"),
    "docker": ("harness.backends.docker", "DockerBackend"),
    "sim": ("harness.backends.sim.backend", "SimBackend"),
}
NAMES = ("auto", *CLASSES)


def choose(name: str, progress: Callable[[str], None]) -> tuple[Backend, list[str]]:
    """The backend called `name` and notes for run.json. "auto": containers if an engine answers or can be started.

    Raises UsageError for a name nobody knows, MachineError when the named one cannot work here.
    """
    if name not in NAMES:
        raise UsageError(f"--backend {name}: no such backend; {nearest(name, list(NAMES))}")
    if name != "auto":
        return _prepared(name, progress), []
    try:
        docker = _prepared("docker", progress)
    except MachineError as error:
        note = f"no containers: {error}; fell back to processes"
        progress(note)
        return _prepared("process", progress), [note]
    return docker, []


def _prepared(name: str, progress: Callable[[str], None]) -> Backend:
    """The backend with what it needs in place (engine, image, proxy)."""
    backend = make(name)
    backend.prepare(progress)
    return backend


def scheme_of(name: str) -> str:
    """The signature scheme of the backend called `name`: plans are made, and refused, before anything is prepared.

    Raises UsageError for a name nobody knows.
    """
    if name == "auto":
        return "ed25519"
    if name not in CLASSES:
        raise UsageError(f"--backend {name}: no such backend; {nearest(name, list(NAMES))}")
    return make(name).scheme


def make(name: str) -> Backend:
    """A backend by name."""
    module, kind = CLASSES[name]
    backend: Backend = getattr(import_module(module), kind)()
    return backend


def foresee(name: str, needs: Mapping[Capability, str]) -> None:
    """Raise UnsupportedError, before anything is prepared, if nothing that `name` can mean has what is needed."""
    errors = []
    for candidate in ("docker", "process") if name == "auto" else (name,):
        try:
            require(make(candidate), needs)
        except UnsupportedError as error:
            errors.append(error)
        else:
            return
    raise errors[0]


def require(backend: Backend, needs: Mapping[Capability, str]) -> None:
    """`needs`: capability -> what for. Raise UnsupportedError naming what is missing and which backends have it."""
    missing = sorted(set(needs) - set(backend.capabilities))
    if not missing:
        return
    parts = []
    for capability in missing:
        others = [name for name in CLASSES if name != backend.name and capability in make(name).capabilities]
        others = [name for name in others if set(needs) <= set(make(name).capabilities)] or others
        cure = f"use --backend {' or '.join(others)}" if others else "no backend has it yet"
        parts.append(f"{capability.value!r} (needed by {needs[capability]}): {cure}")
    raise UnsupportedError(f"backend {backend.name!r} lacks {'; '.join(parts)}")
