"""What this machine can and cannot do, and the command that mends it. Rendering is the CLI's business."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import docker
import docker.errors
import msgspec
import requests

from harness.backends import features
from harness.backends.port import MachineError
from harness.plugins import registered
from harness.provision import clean as cleaning
from harness.provision.browser import ensure_browser, find_browser
from harness.provision.engine import Engine, ensure_engine, find_engine
from harness.provision.image import ensure_image, image_tag
from harness.provision.packages import ensure_tools, missing_packages
from harness.provision.state import state_directory
from harness.provision.toxiproxy import ensure_toxiproxy, find_toxiproxy
from harness.targets import packaged

Progress = Callable[[str], None]

FIX = "moonquake doctor --fix"
FREE_BYTES = 2 * 2**30
PACKET_TOOLS = ("nft", "iptables", "tc", "ip")


class Check(msgspec.Struct, frozen=True):
    """One thing. `cure` is a command or a setting, empty when all is well; `optional`: lacking it fails nothing."""

    name: str
    ok: bool
    what: str
    cure: str = ""
    optional: bool = False


class Report(msgspec.Struct, frozen=True):
    """All checks, in the order in which they build on one another. `fixed` says in words what `fix` did."""

    checks: tuple[Check, ...]
    ok: bool  # can runs be made here, on at least one real backend?
    fixed: tuple[str, ...] = ()


def examine(
    fix: bool, progress: Progress, browser: bool = False, targets: bool = False, hosts: str | None = None
) -> Report:
    """Look at everything, the hosts that `hosts` names too; with `fix`, first provide engine, image and Toxiproxy and
    remove leftovers; with `browser` a Chromium too, which only tests need; with `targets` the programs of systems that
    are not ours, which may have to be built. Never raises for what a machine lacks: that is a failed check. Raises
    UsageError for a hosts.toml that makes no sense."""
    fixed: list[str] = []
    reasons: dict[str, str] = {}

    def note(line: str) -> None:
        fixed.append(line)
        progress(line)

    if fix:
        cleaning.sweep(note)
        providers: list[tuple[str, Callable[[Progress], Any]]] = [
            ("tools", _tools),
            ("engine", _engine),
            ("image", _image),
            ("toxiproxy", _toxiproxy),
        ]
        providers += [("browser", _chromium)] if browser else []
        providers += [(name, partial(_target, name)) for name in registered("targets")] if targets else []
        for name, provide in providers:
            try:
                provide(note)
            except (MachineError, docker.errors.DockerException, requests.RequestException) as error:
                reasons[name] = str(error)
        features.probe.cache_clear()
    containers = _container_checks(reasons)
    toxiproxy = _toxiproxy_check(reasons)
    # Containers and processes are two ways to the same end: with one of them, the other is optional.
    if toxiproxy.ok:
        containers = [msgspec.structs.replace(check, optional=True) for check in containers]
    if all(check.ok for check in containers):
        toxiproxy = msgspec.structs.replace(toxiproxy, optional=True)
    checks = [_python(), _dependencies(), *containers, toxiproxy, _browser(reasons), _disk(), _leftovers(fix)]
    checks += [_target_check(name, reasons) for name in registered("targets")] if targets else []
    checks += _hosts(hosts, progress)
    ok = all(check.ok or check.optional for check in checks)
    return Report(checks=tuple(checks), ok=ok, fixed=tuple(fixed))


def clean(progress: Progress, hosts: str | None = None) -> list[str]:
    """Remove leftovers, our images, and our private engine with its data, on hosts of a hosts.toml everything of ours,
    runs in force there included; what was removed, a sentence each."""
    removed = cleaning.remove_all(progress)
    if hosts is None:
        return removed
    from harness.backends.ssh import backend

    return [*removed, *backend.clean(hosts, progress)]


# ---------------------------------------------------------------- providing
def _tools(progress: Progress) -> None:
    if os.geteuid() == 0:
        ensure_tools(PACKET_TOOLS, progress)


def _engine(progress: Progress) -> None:
    ensure_engine(progress)


def _image(progress: Progress) -> None:
    engine = find_engine()
    if engine is not None:
        with closing(engine.client()) as client:
            ensure_image(client, progress)


def _toxiproxy(progress: Progress) -> None:
    ensure_toxiproxy(progress)


def _chromium(progress: Progress) -> None:
    ensure_browser(progress)


def _programs(target: str) -> Sequence[packaged.Packaged]:
    kind: Any = registered("targets")[target]
    programs: Sequence[packaged.Packaged] = kind.binaries
    return programs


def _target(name: str, progress: Progress) -> None:
    packaged.provide(_programs(name), progress)


# ---------------------------------------------------------------- looking
def _python() -> Check:
    version = sys.version_info[:2]
    what = f"Python {sys.version.split()[0]}"
    return Check("python", (3, 11) <= version <= (3, 12), what, "" if version >= (3, 11) else "use Python 3.11 or 3.12")


def _dependencies() -> Check:
    missing, count = [], 0
    try:
        wanted = importlib.metadata.requires("moonquake") or []
    except importlib.metadata.PackageNotFoundError:
        return Check("dependencies", False, "the package moonquake is not installed", "make setup")
    for requirement in wanted:
        if "extra ==" in requirement:
            continue
        count += 1
        name = re.split(r"[\s<>=!~;\[(]", requirement, maxsplit=1)[0]
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    what = f"missing: {', '.join(missing)}" if missing else f"all {count} Python packages are installed"
    return Check("dependencies", not missing, what, "make setup" if missing else "")


def _container_checks(reasons: dict[str, str]) -> list[Check]:
    engine = find_engine()
    if engine is None:
        why = reasons.get("engine", "no Docker engine answers")
        return [
            Check("engine", False, why, FIX if os.geteuid() == 0 else "start Docker, or run as root: " + FIX),
            Check("image", False, "needs an engine", FIX),
            _packets(reasons),
        ]
    whose = "our private one" if engine.private else "not ours; used as it is"
    return [
        Check("engine", True, f"Docker {engine.version} at {engine.url} ({whose})"),
        _image_check(engine, reasons),
        _packets(reasons),
    ]


def _image_check(engine: Engine, reasons: dict[str, str]) -> Check:
    try:
        with closing(engine.client()) as client:
            tag = image_tag(client)
    except (docker.errors.DockerException, requests.RequestException) as error:
        return Check("image", False, f"the engine failed: {error}", f"docker info; then {FIX}")
    if tag is None:
        return Check("image", False, reasons.get("image", "no node image for the present sources"), FIX)
    return Check("image", True, tag)


def _packets(reasons: dict[str, str]) -> Check:
    found = features.probe()
    if found.layer is not None:
        return Check("packets", True, f"layer {found.layer}: cuts, delay, jitter, loss, bandwidth")
    packages = missing_packages(PACKET_TOOLS)
    cure = (
        f"apt-get install {' '.join(packages)}" if packages else "run as root on a Linux with nft and NFQUEUE or netem"
    )
    return Check("packets", False, reasons.get("tools") or "; ".join(found.missing), cure)


def _toxiproxy_check(reasons: dict[str, str]) -> Check:
    path = find_toxiproxy()
    if path is None:
        return Check(
            "toxiproxy", False, reasons.get("toxiproxy", "no Toxiproxy server (backend process needs it)"), FIX
        )
    return Check("toxiproxy", True, str(path))


def _browser(reasons: Mapping[str, str]) -> Check:
    found = find_browser()
    what = found or reasons.get("browser", "none (only browser tests need it)")
    return Check("chromium", found is not None, what, "" if found else f"{FIX} --browser", optional=True)


def _target_check(name: str, reasons: Mapping[str, str]) -> Check:
    programs = _programs(name)
    missing = [program.name for program in programs if program.find() is None]
    what = ", ".join(f"{program.name} {program.version}" for program in programs)
    if missing:
        return Check(f"target {name}", False, reasons.get(name, f"lacks {', '.join(missing)}"), FIX, optional=True)
    return Check(f"target {name}", True, what, optional=True)


def _disk() -> Check:
    directory = state_directory()
    free = shutil.disk_usage(directory).free
    cure = "" if free >= FREE_BYTES else "free some space, or set MOONQUAKE_STATE to a directory on a larger disk"
    return Check("disk", free >= FREE_BYTES, f"{free / 2**30:.1f} GiB free at {directory}", cure)


def _hosts(named: str | None, progress: Progress) -> list[Check]:
    """Two checks a host; only --backend docker needs its engine."""
    if named is None:
        return []
    from harness.backends.ssh import docker_hosts  # paramiko: only where there are hosts

    cure = "docs/hosts.md says what a host needs"
    checks = []
    for found in docker_hosts.look(named, progress):
        checks.append(Check(found.where, not found.lacks, found.lacks or "all faults", cure if found.lacks else ""))
        what, engine_cure = (found.why, cure) if found.why else (found.engine, "")
        checks.append(Check(f"engine of {found.where}", not found.why, what, engine_cure, optional=True))
    return checks


def _leftovers(fixed: bool) -> Check:
    if fixed:
        return Check("leftovers", True, "removed what killed runs had left", optional=True)
    found = cleaning.abandoned(lambda _: None)
    if not found:
        return Check("leftovers", True, "nothing left behind by killed runs", optional=True)
    return Check("leftovers", False, f"{len(found)} things: {', '.join(found[:4])}", FIX, optional=True)
