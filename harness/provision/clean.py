"""Removing what a killed harness left behind; nothing of a harness that lives, nothing that is not ours.

Containers and networks are found by label, nft tables and iptables rules by name: all of them name their harness
process (pid and start time), so no state file is needed to tell who is gone. Processes: `backends/leftovers.py`.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, TypeAlias

import docker
import docker.errors
import requests

from harness.backends import leftovers
from harness.backends.docker_network import LABEL_HOST, LABEL_OWNER, LABEL_RUN, remove_network
from harness.backends.nft import Nft, NftError
from harness.backends.packets import TABLE_PREFIX, table_owner
from harness.backends.port import MachineError
from harness.backends.processes import process_start
from harness.provision.engine import answering, layout, remove_tree, stop_engine
from harness.provision.image import LABELS as IMAGE_LABELS
from harness.provision.packages import find_tool
from harness.provision.state import state_directory

Progress = Callable[[str], None]
Thing: TypeAlias = tuple[str, Callable[[], Any]]  # its name, and what removes it
FAILURES = (
    docker.errors.DockerException,
    requests.RequestException,
    subprocess.SubprocessError,
    MachineError,
    NftError,
    OSError,
)


def sweep(progress: Progress) -> list[str]:
    """Remove what dead harnesses left; one sentence a removed thing. Quick when there is nothing. Never raises: what
    could not be removed is told to `progress` and stays for the next time."""
    with _alone(progress) as alone:
        if not alone:
            return []
        removed = [_told(progress, line) for line in leftovers.sweep({"ssh": _on_a_host})]
        for thing, remove in _found(progress):
            try:
                remove()
            except docker.errors.NotFound:
                continue  # somebody was quicker
            except FAILURES as error:
                progress(f"could not remove {thing}: {error}")
            else:
                removed.append(_told(progress, f"removed {thing}"))
        return removed


def abandoned(progress: Progress) -> list[str]:
    """What `sweep` would remove, processes excepted; removes nothing."""
    return [thing for thing, _ in _found(progress)]


def remove_all(progress: Progress) -> list[str]:
    """`sweep`, then our images, and our private engine with its data. Engines with live runs of ours keep all."""
    removed = sweep(progress)
    for engine in list(answering()):
        with closing(engine.client()) as client:
            alive = sorted({str(c.labels[LABEL_RUN]) for c in client.containers.list(filters={"label": LABEL_RUN})})
            if alive:
                progress(f"runs in progress keep the engine and its images: {', '.join(alive)}")
                return removed
            removed += [_told(progress, line) for line in _remove_images(client)]
    if stop_engine():
        removed.append(_told(progress, "stopped our private Docker engine"))
    place = layout()
    if place.data.exists():
        for directory in {place.data.parent, place.sockets}:
            remove_tree(directory)
        removed.append(_told(progress, f"removed {place.data.parent}"))
    return removed


@contextmanager
def _alone(progress: Progress) -> Iterator[bool]:
    """One sweep at a time: two at once would trip over each other's half-removed containers. False: not even one."""
    try:
        lock = (state_directory() / "sweep.lock").open("w")
    except OSError as error:
        progress(f"cannot be looked for: {error}; set MOONQUAKE_STATE to a directory that we may write to")
        yield False
        return
    except MachineError as error:
        progress(f"cannot be looked for: {error}")
        yield False
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield True


def owner_lives(owner: str) -> bool:
    """Does the process `pid:start` live?"""
    pid, _, start = owner.partition(":")
    return pid.isdigit() and bool(start) and process_start(int(pid)) == start


def _abandoned(labels: dict[str, Any]) -> bool:
    """Ours, of this host (an engine may serve several), and its harness is gone."""
    return labels.get(LABEL_HOST) == platform.node() and not owner_lives(str(labels.get(LABEL_OWNER, "")))


def _on_a_host(ident: str) -> str | None:
    from harness.backends.ssh.removal import remover  # paramiko: only where there is something to remove

    return remover(ident)


def _found(progress: Progress) -> Iterator[Thing]:
    for part in (_containers, _rules, _tables):
        try:
            yield from part()
        except FAILURES as error:
            progress(f"looking for leftovers ({part.__name__.strip('_')}) failed: {error}")


def _containers() -> Iterator[Thing]:
    for engine in list(answering()):
        with closing(engine.client()) as client:
            for container in client.containers.list(all=True, filters={"label": LABEL_RUN}):
                if _abandoned(container.labels):
                    yield f"container {container.name}", partial(container.remove, force=True, v=True)
            for network in client.networks.list(filters={"label": LABEL_RUN}):
                if _abandoned(network.attrs.get("Labels") or {}):
                    yield f"network {network.name}", partial(remove_network, client, str(network.id))


def _tables() -> Iterator[Thing]:
    if os.geteuid() != 0 or platform.system() != "Linux" or find_tool("nft") is None:
        return
    nft = Nft()
    for family, name in nft.tables(TABLE_PREFIX):
        owner = table_owner(name)
        if owner is not None and not owner_lives(owner):
            yield f"nft table {family} {name}", partial(nft.run, f"delete table {family} {name}")


def _rules() -> Iterator[Thing]:
    tool = find_tool("iptables")
    if os.geteuid() != 0 or tool is None:
        return
    done = subprocess.run([tool, "-w", "-t", "mangle", "-S", "FORWARD"], capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        words = shlex.split(line)
        comment = words[words.index("--comment") + 1] if "--comment" in words else ""
        owner = table_owner(comment)
        if words[:1] == ["-A"] and owner is not None and not owner_lives(owner):
            command = [tool, "-w", "-t", "mangle", "-D", *words[1:]]
            yield f"iptables rule {comment}", partial(subprocess.run, command, capture_output=True, check=True)


def _remove_images(client: docker.DockerClient) -> list[str]:
    wanted = [f"{key}={value}" for key, value in IMAGE_LABELS.items()]
    tags = sorted({tag for image in client.images.list(filters={"label": wanted}) for tag in image.tags}, reverse=True)
    for tag in tags:
        client.images.remove(tag, force=True)
    client.images.prune(filters={"dangling": True, "label": wanted})
    return [f"removed image {tag}" for tag in tags]


def _told(progress: Progress, line: str) -> str:
    progress(line)
    return line
