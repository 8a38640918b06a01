"""What a host is given: the nodes' locked dependencies and our sources, each an archive named by its content.

A host keeps them in `<directory>/cache/<digest>/` and gets only what it has not. It needs python3 and no package index:
the wheels are fetched here, for the host's Python and machine, with the lock's hashes.
"""

from __future__ import annotations

import compileall
import gzip
import hashlib
import io
import py_compile
import secrets
import shlex
import sys
import tarfile
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec

import harness
from harness.backends.ssh.connection import Connection
from harness.outcome import MachineError
from harness.provision.image import LOCK, download_dependencies, node_sources
from harness.provision.state import state_directory

# What the warden, its guardian and the delay daemon import, beside the packages nodes and faults.
HOST_FILES = (
    "harness/__init__.py",
    "harness/outcome.py",
    "harness/backends/__init__.py",
    "harness/backends/delay.py",
    "harness/backends/nfqueue.py",
    "harness/backends/nft.py",
    "harness/backends/node_files.py",
    "harness/backends/ports.py",
    "harness/backends/processes.py",
    "harness/backends/shaping.py",
    "harness/backends/ssh/__init__.py",
    "harness/backends/ssh/host/__init__.py",
    "harness/backends/ssh/host/containers.py",
    "harness/backends/ssh/host/disk.py",
    "harness/backends/ssh/host/engine.py",
    "harness/backends/ssh/host/filter.py",
    "harness/backends/ssh/host/guardian.py",
    "harness/backends/ssh/host/inforce.py",
    "harness/backends/ssh/host/nodes.py",
    "harness/backends/ssh/host/probe.py",
    "harness/backends/ssh/host/sweep.py",
    "harness/backends/ssh/host/warden.py",
    "harness/provision/__init__.py",
    "harness/provision/packages.py",
)
ROOT = Path(harness.__file__).parents[1]
OLDEST = (3, 11)
KEPT = 6  # archives in the state directory
_EXAMINE = """
import json, os, platform, sys
d = sys.argv[1]
os.umask(0o022)
os.makedirs(os.path.join(d, "cache"), mode=0o755, exist_ok=True)
os.makedirs(os.path.join(d, "runs"), mode=0o755, exist_ok=True)
print(json.dumps({"version": sys.version_info[:2], "machine": platform.machine(), "libc": platform.libc_ver()[0],
    "system": platform.system(), "owner": os.stat(d).st_uid, "uid": os.getuid(),
    "cache": os.listdir(os.path.join(d, "cache"))}))
"""
_UNPACK = """
import compileall, os, shutil, sys, tarfile
part, target = sys.argv[1:]
os.umask(0o022)
fresh = part + ".d"
shutil.rmtree(fresh, ignore_errors=True)
with tarfile.open(part) as tar:
    compiled = any(name.endswith(".pyc") for name in tar.getnames())
    tar.extractall(fresh)
os.remove(part)
if not compiled:
    compileall.compile_dir(fresh, quiet=2)
try:
    os.rename(fresh, target)
except OSError:
    shutil.rmtree(fresh)
    if not os.path.isdir(target):
        raise
"""


class Examined(msgspec.Struct, frozen=True):
    """What a host said about itself."""

    version: tuple[int, int]
    machine: str
    libc: str
    system: str
    owner: int
    uid: int
    cache: tuple[str, ...]


def examine(connection: Connection) -> Examined:
    """Make our directory and look round. Raises MachineError where no node could run."""
    host = connection.host
    try:
        said = connection.run(f"python3 -c {shlex.quote(_EXAMINE)} {shlex.quote(host.directory)}")
    except MachineError as error:
        raise MachineError(f"{error}\nA host needs python3 (3.11 or later) and a directory {host.directory}") from error
    found = msgspec.json.decode(said, type=Examined)
    if found.system != "Linux" or found.libc != "glibc":
        raise MachineError(
            f"{host.where} is {found.system} with {found.libc or 'another libc'}; it must be glibc Linux"
        )
    if found.version < OLDEST:
        raise MachineError(f"{host.where} has Python {'.'.join(map(str, found.version))}; nodes need 3.11 or later")
    if found.owner != found.uid:
        raise MachineError(
            f"{host.where}: {host.directory} belongs to somebody else (uid {found.owner}); "
            "set `directory` in hosts.toml to another one"
        )
    return found


def provide(connection: Connection, found: Examined, progress: Callable[[str], None]) -> str:
    """Upload what is missing; PYTHONPATH for everything that runs there."""
    ours = provide_sources(connection, found, progress)
    version = ".".join(map(str, found.version))
    return f"{ours}:{_provide(connection, found, 'dependencies', dependencies(version, found.machine), progress)}"


def provide_sources(connection: Connection, found: Examined, progress: Callable[[str], None]) -> str:
    """Upload our sources if they are missing; PYTHONPATH for what needs only Python, as cleaning up does."""
    return _provide(connection, found, "sources", sources(".".join(map(str, found.version))), progress)


def _provide(connection: Connection, found: Examined, what: str, data: bytes, progress: Callable[[str], None]) -> str:
    digest = hashlib.sha256(data).hexdigest()[:24]
    target = f"{connection.host.directory}/cache/{digest}"
    if digest not in found.cache:
        progress(f"{connection.host.where}: uploading {what} ({len(data) / 2**20:.1f} MiB)")
        part = f"{target}.{secrets.token_hex(4)}.part"
        connection.put(data, part)
        connection.run(f"python3 -c {shlex.quote(_UNPACK)} {shlex.quote(part)} {shlex.quote(target)}")
    return target


@cache
def sources(version: str) -> bytes:
    """The packages nodes and faults, the plug-in table, and what the warden needs of harness, as one archive."""
    files = [*node_sources(), *((name, (ROOT / name).read_bytes()) for name in HOST_FILES)]
    content = hashlib.sha256()
    for name, data in files:
        content.update(name.encode() + b"\0" + hashlib.sha256(data).digest())

    def write(target: Path) -> None:
        for name, data in files:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(data)

    return _kept(f"{version} {content.hexdigest()}", version, write)


@cache
def dependencies(version: str, machine: str) -> bytes:
    """The locked dependencies for this Python and machine, as one archive; fetched once."""
    return _kept(
        f"{version} {machine} {LOCK.read_text()}",
        version,
        lambda target: download_dependencies(target, version, machine),
    )


def _kept(content: str, version: str, write: Callable[[Path], None]) -> bytes:
    """The archive of a directory that `write` fills, from the state directory if it was made before. It is compiled
    here where our Python is the host's, so that every host need not do it."""
    kept = state_directory() / "payloads" / f"{hashlib.sha256(content.encode()).hexdigest()[:24]}.tar.gz"
    if not kept.is_file():
        kept.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="moonquake-", dir=kept.parent) as scratch:
            target = Path(scratch) / "tree"
            target.mkdir()
            write(target)
            if version == ".".join(map(str, sys.version_info[:2])):
                unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
                compileall.compile_dir(target, quiet=2, stripdir=str(target), invalidation_mode=unchecked)
            fresh = Path(scratch) / "fresh"
            fresh.write_bytes(_archive(target))
            fresh.replace(kept)
        for old in sorted(kept.parent.glob("*.tar.gz"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            old.unlink(missing_ok=True)
    return kept.read_bytes()


def _archive(directory: Path) -> bytes:
    """A tar in memory; modes and times are fixed so that equal content is an equal archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(p for p in directory.rglob("*") if p.is_file()):
            data = path.read_bytes()
            info = tarfile.TarInfo(str(path.relative_to(directory)))
            info.size, info.mode = len(data), 0o755 if ".so" in path.name else 0o644
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), 6, mtime=0)
