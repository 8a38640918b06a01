"""The Toxiproxy server: found on PATH or in the state directory, else provided (image, release, `go install`)."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import platform
import shutil
import socket
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from harness.backends.port import MachineError
from harness.provision.golang import GoUnavailableError, go_install
from harness.provision.state import state_directory

Progress = Callable[[str], None]

VERSION = "2.12.0"
IMAGE = f"ghcr.io/shopify/toxiproxy:{VERSION}"
RELEASES = f"https://github.com/Shopify/toxiproxy/releases/download/v{VERSION}"
MODULE = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{VERSION}"
NAME = "toxiproxy-server"

SHA256 = {  # of the release assets toxiproxy-server-<system>-<machine>
    "linux-amd64": "556d891134a3c582dc1e1a3f7335fd55142e5965769855a00b944e13e48302fc",
    "linux-arm64": "53e770c1c3035b5a9f1bc629fce537db1f95f62b26f4ebe6e756afd701cf077c",
    "darwin-amd64": "9625bba4bd96117eedae49f982aba4c2f462b268dd406c9ff18186f9b1ef8afe",
    "darwin-arm64": "aa299966b52f16a8594f1cd0d1e9049dc2e8fe2c04a90c19860e2719b2b95d15",
}
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_MAX_BYTES = 64 * 1024 * 1024
_REACH_S = 3.0
_DOWNLOAD_S = 60.0


class _Unavailable(RuntimeError):
    """This source cannot provide the server here; says why in a few words."""


def ensure_toxiproxy(progress: Progress) -> Path:
    """Path of a Toxiproxy server that runs, provided if need be. Raises MachineError with the cure.

    Order: PATH, state directory, container image (if an engine and its registry answer), release download with a
    pinned checksum, `go install`. What is provided lies in the state directory and is found there the next time.
    """
    found = find_toxiproxy()
    if found is not None:
        return found
    target = installed_path()
    target.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for label, source in (("container image", _from_image), ("release", _from_release), ("go install", _from_go)):
        partial = target.with_name(f"{NAME}.{os.getpid()}.partial")
        try:
            source(partial, progress)
            partial.chmod(0o755)
            if not _answers(partial):
                raise _Unavailable("what it gave does not run here")
            partial.replace(target)
            return target
        except _Unavailable as reason:
            reasons.append(f"{label}: {reason}")
        finally:
            partial.unlink(missing_ok=True)
    raise MachineError(
        f"no Toxiproxy server: it is neither on PATH nor in {target.parent}, and could not be provided "
        f"({'; '.join(reasons)}). Install Go and run `moonquake doctor --fix`, or put {NAME} {VERSION} on PATH"
    )


def find_toxiproxy() -> Path | None:
    """The server on PATH or in the state directory, if it runs. Provides nothing."""
    on_path = shutil.which(NAME)
    for candidate in (Path(on_path) if on_path else None, installed_path()):
        if candidate is not None and candidate.is_file() and _answers(candidate):
            return candidate
    return None


def installed_path() -> Path:
    """Where a provided server lies."""
    return state_directory() / "bin" / NAME


def _answers(binary: Path) -> bool:
    try:
        done = subprocess.run([str(binary), "-version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0 and "toxiproxy" in done.stdout.lower()


def _reachable(host: str) -> bool:
    try:
        with socket.create_connection((host, 443), timeout=_REACH_S):
            return True
    except OSError:
        return False


def _asset() -> str:
    machine = _MACHINES.get(platform.machine().lower(), platform.machine().lower())
    return f"{platform.system().lower()}-{machine}"


def _from_image(target: Path, progress: Progress) -> None:
    """Copy the binary out of the published image; only a Linux host can run it."""
    if platform.system() != "Linux":
        raise _Unavailable("its binary is for Linux")
    if not _reachable("ghcr.io"):
        raise _Unavailable("no registry answers")
    from docker.errors import DockerException  # the SDK is slow to import and rarely needed here
    from requests import RequestException

    from harness.provision.engine import find_engine

    engine = find_engine()
    if engine is None:
        raise _Unavailable("no Docker engine answers")
    progress(f"copying {NAME} out of the image {IMAGE}")
    try:
        with contextlib.closing(engine.client()) as client:
            client.images.pull(IMAGE)
            container = client.containers.create(IMAGE, labels={"moonquake": "provision"})
            try:
                chunks, _ = container.get_archive("/toxiproxy")
                archive = b"".join(chunks)
            finally:
                container.remove(force=True)
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            member = tar.extractfile("toxiproxy")
            if member is None:
                raise _Unavailable("the image holds no /toxiproxy")
            target.write_bytes(member.read())
    except (DockerException, RequestException, tarfile.TarError, KeyError, OSError) as error:
        raise _Unavailable(f"{type(error).__name__}: {error}") from error


def _from_release(target: Path, progress: Progress) -> None:
    """Download the release binary and check it against the pinned SHA-256."""
    asset = _asset()
    expected = SHA256.get(asset)
    if expected is None:
        raise _Unavailable(f"no pinned checksum for {asset}")
    if not _reachable("github.com"):
        raise _Unavailable("github.com does not answer")
    url = f"{RELEASES}/{NAME}-{asset}"
    progress(f"downloading {url}")
    try:
        with urllib.request.urlopen(url, timeout=_DOWNLOAD_S) as response:
            data = response.read(_MAX_BYTES + 1)
    except (urllib.error.URLError, OSError) as error:
        raise _Unavailable(f"download failed: {error}") from error
    actual = hashlib.sha256(data).hexdigest()
    if actual != expected:
        raise _Unavailable(f"checksum of {url} is {actual}, expected {expected}; not used")
    target.write_bytes(data)


def _from_go(target: Path, progress: Progress) -> None:
    """Build from source with the Go toolchain (its checksum database guards the module)."""
    try:
        go_install(MODULE, "server", target, progress)
    except GoUnavailableError as reason:
        raise _Unavailable(str(reason)) from reason
