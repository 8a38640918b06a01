"""The node image: base (a Python), dependencies (locked, by hash), sources; each tagged by a hash of its content.

    moonquake/base:<h>  FROM a registry's python:3.12-slim, or the host's own Python, or Debian packages (mmdebstrap)
    moonquake/deps:<h>  + harness/locks/node.txt, downloaded on the host for the base's Python, hashes required
    moonquake/node:<h>  + packages nodes and faults; this layer alone is rebuilt when sources change

A base is trusted only after its Python ran in a container. Base and dependencies are remembered in the state directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import docker.errors
import requests

import faults
import nodes
from harness.backends.port import MachineError
from harness.provision import debianpython, hostpython
from harness.provision.state import project_root

Progress = Callable[[str], None]

REGISTRY = "https://registry-1.docker.io/v2/"
REGISTRY_IMAGE = "python:3.12-slim"
LABELS = {"moonquake": "image"}
KEPT = 4  # node images
LOCK = Path(__file__).resolve().parents[1] / "locks" / "node.txt"
PLATFORMS = ("manylinux_2_36", "manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
BASE_FILE = """FROM {source}
LABEL moonquake=image
"""
DEPENDENCIES_FILE = """FROM {source}
COPY deps /opt/deps
ENV PYTHONPATH=/opt/deps PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0
RUN ["python3", "-m", "compileall", "-q", "/opt/deps"]
LABEL moonquake=image
"""
NODE_FILE = """FROM {source}
COPY src /opt/src
ENV PYTHONPATH=/opt/src:/opt/deps
RUN ["python3", "-m", "compileall", "-q", "/opt/src"]
WORKDIR /data
ENTRYPOINT ["python3", "-m"]
CMD ["nodes", "/data/node.json"]
LABEL moonquake=image
"""


def image_tag(client: docker.DockerClient) -> str | None:
    """The tag of the node image for the present sources if the engine has it, else None. Builds nothing."""
    for base in _bases():
        tag = _node_tag(_deps_tag(base))
        if _present(client, tag):
            return tag
    return None


def ensure_image(client: docker.DockerClient, progress: Progress) -> str:
    """The node image's tag, built if need be. Raises MachineError naming the step that failed and its cure."""
    tag = image_tag(client)
    if tag is not None:
        return tag
    base = _ensure_base(client, progress)
    deps = _deps_tag(base)
    if not _present(client, deps):
        progress("node image: locked dependencies")
        _build_dependencies(client, base, deps)
    tag = _node_tag(deps)
    progress(f"node image: sources ({tag})")
    context = _context(NODE_FILE.format(source=deps), ((f"src/{name}", data) for name, data in node_sources()))
    _build(client, context, tag)
    _prune(client)
    return tag


# ---------------------------------------------------------------- tags
def _bases() -> list[str]:
    kinds = (f"registry {REGISTRY_IMAGE} {platform.machine()}", hostpython.fingerprint(), debianpython.fingerprint())
    return [f"moonquake/base:{_digest(kind, BASE_FILE)}" for kind in kinds]


def _deps_tag(base: str) -> str:
    return f"moonquake/deps:{_digest(base, DEPENDENCIES_FILE, LOCK.read_text())}"


def _node_tag(deps: str) -> str:
    content = hashlib.sha256()
    for name, data in node_sources():
        content.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    return f"moonquake/node:{_digest(deps, NODE_FILE, content.hexdigest())}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _present(client: docker.DockerClient, tag: str) -> bool:
    try:
        client.images.get(tag)
    except docker.errors.ImageNotFound:
        return False
    return True


# ---------------------------------------------------------------- base
def _ensure_base(client: docker.DockerClient, progress: Progress) -> str:
    registry, host, debian = _bases()
    for tag in (registry, host, debian):
        if _present(client, tag):
            return tag
    reasons = []
    ways = ((registry, _from_registry), (host, _from_host), (debian, _from_debian))
    for tag, way in ways:
        try:
            way(client, tag, progress)
            _try(client, tag)
        except (MachineError, docker.errors.DockerException) as error:
            reasons.append(f"- {way.__name__.removeprefix('_from_')}: {error}")
            _remove(client, tag)
        else:
            return tag
    raise MachineError(
        "no base image could be had:\n"
        + "\n".join(reasons)
        + f"\nlet the engine pull {REGISTRY_IMAGE}, or use --backend process"
    )


def _from_registry(client: docker.DockerClient, tag: str, progress: Progress) -> None:
    if not _present(client, REGISTRY_IMAGE):
        try:
            requests.get(REGISTRY, timeout=3)
        except requests.RequestException as error:
            raise MachineError("no registry is reachable from here") from error
        progress(f"node image: pulling {REGISTRY_IMAGE}")
        client.images.pull(REGISTRY_IMAGE)
    _build(client, _context(BASE_FILE.format(source=REGISTRY_IMAGE), ()), tag)


def _from_host(client: docker.DockerClient, tag: str, progress: Progress) -> None:
    progress(f"node image: no registry, so the base is this host's own Python {platform.python_version()}")
    _import(client, hostpython.build, tag)


def _from_debian(client: docker.DockerClient, tag: str, progress: Progress) -> None:
    progress("node image: base from Debian packages (half a minute)")
    _import(client, lambda target: debianpython.build(target, progress), tag)


def _import(client: docker.DockerClient, build: Callable[[Path], None], tag: str) -> None:
    with tempfile.TemporaryDirectory(prefix="moonquake-") as scratch:
        tar = Path(scratch) / "base.tar"
        build(tar)
        repository, _, version = tag.partition(":")
        client.api.import_image_from_file(
            str(tar), repository=repository, tag=version, changes=["LABEL moonquake=image"]
        )


def _try(client: docker.DockerClient, tag: str) -> None:
    _python_version(client, tag)


def _python_version(client: docker.DockerClient, tag: str) -> str:
    """ "3.11", as the image's Python says. Raises DockerException where it does not run."""
    code = "import asyncio, ctypes, hashlib, json, ssl, sys; print('%d.%d' % sys.version_info[:2])"
    said = client.containers.run(
        tag, ["python3", "-c", code], entrypoint=[], network_mode="none", remove=True, labels=LABELS
    )
    return bytes(said).decode().strip()


def _remove(client: docker.DockerClient, tag: str) -> None:
    if _present(client, tag):
        client.images.remove(tag, force=True)


def _prune(client: docker.DockerClient) -> None:
    """Forget node images of older sources, but not the latest few: another harness may be about to use one."""
    images = client.images.list(name="moonquake/node")
    for image in sorted(images, key=lambda i: str(i.attrs["Created"]), reverse=True)[KEPT:]:
        for tag in image.tags:
            with contextlib.suppress(docker.errors.APIError):  # a container uses it
                client.images.remove(tag)


# ---------------------------------------------------------------- layers
def _build_dependencies(client: docker.DockerClient, base: str, tag: str) -> None:
    version = _python_version(client, base)
    with tempfile.TemporaryDirectory(prefix="moonquake-") as scratch:
        deps = Path(scratch) / "deps"
        download_dependencies(deps, version, platform.machine())
        files = ((f"deps/{p.relative_to(deps)}", p.read_bytes()) for p in sorted(deps.rglob("*")) if p.is_file())
        _build(client, _context(DEPENDENCIES_FILE.format(source=base), files), tag)


def download_dependencies(target: Path, version: str, machine: str) -> None:
    """What a node needs, as the lock says, for a Python ("3.11") on a glibc Linux. Raises MachineError."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
               "--require-hashes", "--only-binary=:all:", "--implementation=cp", f"--python-version={version}",
               *(f"--platform={p}_{machine}" for p in PLATFORMS),
               f"--target={target}", "-r", str(LOCK)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MachineError(
            f"downloading the nodes' dependencies failed; is a package index reachable?\n{done.stderr[-800:]}"
        )


def node_sources() -> Iterator[tuple[str, bytes]]:
    """Files of the packages nodes and faults, and the plug-in table, by name inside the image, sorted."""
    for package in (faults, nodes):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                yield f"{root.name}/{path.relative_to(root)}", path.read_bytes()
    yield "moonquake-0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: moonquake\nVersion: 0\n"
    yield "moonquake-0.dist-info/entry_points.txt", _entry_points().encode()


def _entry_points() -> str:
    """The plug-in table: behaviours are found by name inside the container as well."""
    described = project_root() / "pyproject.toml"
    if described.is_file():
        groups = tomllib.loads(described.read_text())["project"].get("entry-points", {})
    else:
        groups = {}
        for point in importlib.metadata.distribution("moonquake").entry_points:
            groups.setdefault(point.group, {})[point.name] = point.value
    lines = []
    for group in sorted(g for g in groups if g.startswith("moonquake.") and groups[g]):
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in sorted(groups[group].items())), ""]
    return "\n".join(lines)


def _context(dockerfile: str, files: Iterator[tuple[str, bytes]] | tuple[()]) -> io.BytesIO:
    """A build context in memory; modes and times are fixed so that equal content is an equal layer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in (("Dockerfile", dockerfile.encode()), *files):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755 if ".so" in name else 0o644
            tar.addfile(info, io.BytesIO(data))
    buffer.seek(0)
    return buffer


def _build(client: docker.DockerClient, context: io.BytesIO, tag: str) -> None:
    try:
        client.images.build(
            fileobj=context, custom_context=True, tag=tag, rm=True, forcerm=True, network_mode="none", pull=False
        )
    except docker.errors.BuildError as error:
        log = "".join(str(line.get("stream", "")) for line in error.build_log)
        raise MachineError(f"building {tag} failed: {error}\n{log[-800:]}") from error
