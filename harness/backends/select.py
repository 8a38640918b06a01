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
    "ssh": ("harness.backends.ssh.backend", "SshBackend"),
}
HOSTED = {  # with --hosts
    "docker": ("harness.backends.ssh.docker_hosts", "DockerHostsBackend"),
    "ssh": CLASSES["ssh"],
}
NAMES = ("auto", *CLASSES)


def choose(name: str, progress: Callable[[str], None], hosts: str | None = None) -> tuple[Backend, list[str]]:
    """The backend called `name` and notes for run.json. "auto": containers if an engine answers or can be started.
    `hosts`: the file that backend ssh needs, and that backend docker may have.

    Raises UsageError for a name nobody knows, MachineError when the named one cannot work here.
    """
    _known(name, hosts)
    if name != "auto":
        return _prepared(name, progress, hosts), []
    try:
        docker = _prepared("docker", progress)
    except MachineError as error:
        note = f"no containers: {error}; fell back to processes"
        progress(note)
        return _prepared("process", progress), [note]
    return docker, []


def _known(name: str, hosts: str | None) -> None:
    if name not in NAMES:
        raise UsageError(f"--backend {name}: no such backend; {nearest(name, list(NAMES))}")
    if hosts is not None and name not in HOSTED:
        raise UsageError(f"--hosts {hosts}: is for --backend {' or '.join(HOSTED)}, not {name}")


def _prepared(name: str, progress: Callable[[str], None], hosts: str | None = None) -> Backend:
    """The backend with what it needs in place (engine, image, proxy)."""
    backend = make(name) if hosts is None else _hosted(name, hosts)
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


def make(name: str, *settings: object) -> Backend:
    """A backend by name."""
    module, kind = CLASSES[name]
    backend: Backend = getattr(import_module(module), kind)(*settings)
    return backend


def _hosted(name: str, hosts: str) -> Backend:
    module, kind = HOSTED[name]
    backend: Backend = getattr(import_module(module), kind)(hosts)
    return backend


def foresee(name: str, needs: Mapping[Capability, str], hosts: str | None = None) -> None:
    """Raise UnsupportedError, before anything is prepared, if nothing that `name` can mean has what is needed."""
    if hosts is not None:
        _known(name, hosts)
        require(_hosted(name, hosts), needs)
        return
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
    alone = make(backend.name) if backend.name in CLASSES else backend
    for capability in missing:
        others = [name for name in CLASSES if name != backend.name and capability in make(name).capabilities]
        others = [name for name in others if set(needs) <= set(make(name).capabilities)] or others
        cure = f"use --backend {' or '.join(others)}" if others else "no backend has it yet"
        if type(alone) is not type(backend) and backend.name in HOSTED and capability in alone.capabilities:
            cure = "leave --hosts away"  # it has it on one machine
        parts.append(f"{capability.value!r} (needed by {needs[capability]}): {cure}")
    raise UnsupportedError(f"backend {backend.name!r} lacks {'; '.join(parts)}")
