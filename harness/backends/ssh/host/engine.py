"""This host's Docker engine, asked over its Unix socket with nothing but the standard library.

    python -m harness.backends.ssh.host.engine examine SOCKET IMAGE    which engine, and has it the image?
    python -m harness.backends.ssh.host.engine load SOCKET FILE        give it the image in the file
    python -m harness.backends.ssh.host.engine try SOCKET IMAGE DIR    can nodes run in its containers?

SOCKET may be empty: the usual ones are looked at. Each prints one JSON object; "why" says in words what is in the way.
"""

from __future__ import annotations

import contextlib
import getpass
import http.client
import json
import os
import secrets
import shutil
import socket
import sys
import time
import urllib.parse
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

USUAL = ("/var/run/docker.sock", "/run/user/{uid}/docker.sock")
LABEL_RUN = "moonquake.run"  # as the docker backend's on one machine has it, whose clean-up then leaves us alone
LABEL_HOSTS = "moonquake.hosts"  # what a harness elsewhere had this engine make
LABEL_IMAGE = "moonquake=image"
ASK_S = 120.0  # a busy engine creates a container in half a minute
LOAD_S = 600.0
TRY_S = 120.0
TRY_UID = 61_199
THREADS = 4  # with more at a time an engine may leak what it should remove
MEMORY_BYTES = 512 * 2**20
PIDS = 256
ANSWER = "answer.json"
TRIAL = f"""
import json, os, sys, time
with open(os.path.join(sys.argv[1], "fresh"), "w") as file:
    json.dump({{"net": os.readlink("/proc/self/ns/net")}}, file)
os.rename(os.path.join(sys.argv[1], "fresh"), os.path.join(sys.argv[1], "{ANSWER}"))
time.sleep({TRY_S})
"""


class EngineError(RuntimeError):
    """What the engine refused, or why it cannot be asked; with the cure where we know one."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status  # of HTTP; 0: there was no answer


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("docker", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """One engine. Calls block. Raises EngineError."""

    def __init__(self, path: str) -> None:
        self.path = path

    def ask(self, method: str, path: str, body: Any = None, timeout_s: float = ASK_S) -> Any:
        """The answer's JSON (None where it has none). `body`: something for JSON, or an open file of a tar."""
        raw = hasattr(body, "read")
        data = body if raw or body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/x-tar" if raw else "application/json"} if body is not None else {}
        if raw:
            headers["Content-Length"] = str(os.fstat(body.fileno()).st_size)
        connection = _Connection(self.path, timeout_s)
        try:
            connection.request(method, path, data, headers)
            reply = connection.getresponse()
            status, said = reply.status, reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(_unreachable(self.path, error)) from error
        finally:
            connection.close()
        if status >= 400:
            raise EngineError(f"the Docker engine at {self.path} refused {method} {path}: {_words(said)}", status)
        lines = [line for line in said.splitlines() if line.strip()]
        return json.loads(lines[-1]) if lines else None

    def version(self) -> str:
        """Its version; also the quickest way to see whether it answers."""
        return str(self.ask("GET", "/version", timeout_s=20.0)["Version"])

    def has_image(self, tag: str) -> bool:
        """Has it an image of this name?"""
        try:
            self.ask("GET", f"/images/{tag}/json")
        except EngineError as error:
            if error.status == 404:
                return False
            raise
        return True

    def load(self, file: Path) -> None:
        """Take the images of an archive of `docker save`."""
        with file.open("rb") as data:
            said = self.ask("POST", "/images/load?quiet=1", data, LOAD_S) or {}
        if "error" in said:
            raise EngineError(f"the Docker engine at {self.path} could not load the image: {said['error']}")

    def create(self, name: str, config: Mapping[str, Any]) -> str:
        """A container that does not run yet; its id."""
        return str(self.ask("POST", f"/containers/create?name={name}", config)["Id"])

    def start(self, ident: str) -> None:
        """Start it; one that runs is left as it is."""
        self.ask("POST", f"/containers/{ident}/start")

    def state(self, ident: str) -> dict[str, Any]:
        """Running, Pid, ExitCode, Error ..."""
        return dict(self.ask("GET", f"/containers/{ident}/json")["State"])

    def remove(self, ident: str) -> None:
        """Kill and remove it; one that is gone, or is being removed, is no error."""
        try:
            self.ask("DELETE", f"/containers/{ident}?force=1&v=1")
        except EngineError as error:
            if error.status not in (404, 409):
                raise

    def containers(self, label: str) -> dict[str, str]:
        """Id -> name of every container with the label, running or not."""
        query = urllib.parse.urlencode({"all": 1, "filters": json.dumps({"label": [label]})})
        return {c["Id"]: str((c.get("Names") or [c["Id"]])[0]).lstrip("/")
                for c in self.ask("GET", f"/containers/json?{query}")}  # fmt: skip

    def remove_labelled(self, label: str) -> list[str]:
        """Kill and remove the containers with the label; their names, when all are seen to be gone."""
        found = self.containers(label)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self.remove, found))
        deadline = time.monotonic() + ASK_S
        while found and (left := [name for ident, name in self.containers(label).items() if ident in found]):
            if time.monotonic() > deadline:
                raise EngineError(f"the Docker engine at {self.path} does not remove {', '.join(left)}")
            time.sleep(0.1)
        return sorted(found.values())

    def remove_images(self) -> list[str]:
        """Remove our images, but those in use by somebody; their names."""
        query = urllib.parse.urlencode({"filters": json.dumps({"label": [LABEL_IMAGE]})})
        gone = []
        for image in self.ask("GET", f"/images/json?{query}"):
            for name in image.get("RepoTags") or [image["Id"]]:
                try:
                    self.ask("DELETE", f"/images/{name}?force=1")
                except EngineError as error:
                    if error.status not in (404, 409):
                        raise
                else:
                    gone.append(str(name))
        return gone


def run_label(run_id: str) -> str:
    """What every container of a run carries."""
    return f"{LABEL_HOSTS}={run_id}"


def find(named: str = "") -> Engine:
    """The engine at the named socket, else at $DOCKER_HOST, else at the first usual one that is there."""
    told = os.environ.get("DOCKER_HOST", "")
    if not named and told.startswith("unix://"):
        named = told.removeprefix("unix://")
    usual = [path.format(uid=os.getuid()) for path in USUAL]
    return Engine(named or next((path for path in usual if Path(path).exists()), usual[0]))


def host_config(mounts: Iterable[tuple[str, bool]]) -> dict[str, Any]:
    """How our containers live: the host's network, so that the packet filter tells nodes apart by their users as it
    does with processes, no privilege, bounded memory. `mounts`: (path, may it be written?), the same inside."""
    return {
        "NetworkMode": "host",
        "UsernsMode": "host",
        "Mounts": [{"Type": "bind", "Source": p, "Target": p, "ReadOnly": not writable} for p, writable in mounts],
        "Memory": MEMORY_BYTES,
        "MemorySwap": MEMORY_BYTES,
        "PidsLimit": PIDS,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges", "label=disable"],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        "RestartPolicy": {"Name": "no"},
    }


# ---------------------------------------------------------------- the trial
def obstacle(engine: Engine, image: str, directory: Path) -> str:
    """Why nodes cannot run in this engine's containers, in words; empty when they can. Found out with one that lives as
    they will: it must see our files, write as the user we name, share our network and be a process of this host."""
    place = directory / f"trial-{secrets.token_hex(4)}"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    uid = TRY_UID if os.geteuid() == 0 else os.geteuid()
    config = {"Image": image, "Entrypoint": ["python3", "-c", TRIAL, str(place)], "User": f"{uid}:{uid}",
              "Labels": {LABEL_HOSTS: place.name}, "HostConfig": host_config([(str(place), True)])}  # fmt: skip
    try:
        ident = engine.create(f"moonquake-{place.name}", config)
        try:
            engine.start(ident)
            return _tried(engine, ident, place, uid)
        finally:
            engine.remove(ident)
    except EngineError as error:
        return str(error)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _tried(engine: Engine, ident: str, place: Path, uid: int) -> str:
    answer, deadline = place / ANSWER, time.monotonic() + TRY_S
    while not answer.exists():
        state = engine.state(ident)
        if not state["Running"]:
            return f"a container of {engine.path} ended with exit code {state['ExitCode']} before it had said anything"
        if time.monotonic() > deadline:
            return (f"a container of {engine.path} wrote nothing to {place} in {TRY_S:g} s: "
                    "is the engine in a virtual machine?")  # fmt: skip
        time.sleep(0.05)
    if answer.stat().st_uid != uid:
        return f"the engine at {engine.path} maps user ids (rootless?), so the packet filter could not tell nodes apart"
    if json.loads(answer.read_text())["net"] != str(Path("/proc/self/ns/net").readlink()):
        return f"the engine at {engine.path} has another network than this host: does it run in a container?"
    try:
        words = (Path("/proc") / str(engine.state(ident)["Pid"]) / "cmdline").read_bytes()
    except OSError:
        words = b""
    if os.fsencode(place) not in words:
        return f"processes of the engine at {engine.path} are not this host's: does it run in a container?"
    return ""


# ---------------------------------------------------------------- words
def _unreachable(path: str, error: Exception) -> str:
    if isinstance(error, PermissionError):
        user = getpass.getuser()
        return (f"user {user} may not use the Docker engine at {path}; `usermod -aG docker {user}` there, "
                "or `sudo = true` in hosts.toml")  # fmt: skip
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return (f"no Docker engine answers at {path} ({error.strerror}); `apt-get install docker.io` and "
                "`systemctl start docker` there, or name its socket as `engine` in hosts.toml")  # fmt: skip
    return (
        f"the Docker engine at {path} does not answer: {error or repr(error)}; look at its log (`journalctl -u docker`)"
    )


def _words(said: bytes) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(said)["message"])
    return said.decode(errors="replace")[:300]


def main(what: str, named: str, *words: str) -> dict[str, Any]:
    """One request of the harness's."""
    engine = find(named)
    answer: dict[str, Any] = {"socket": engine.path, "version": "", "image": False, "why": ""}
    try:
        if what == "examine":
            answer["version"] = engine.version()
            answer["image"] = bool(words[0]) and engine.has_image(words[0])
        elif what == "load":
            try:
                engine.load(Path(words[0]))
            finally:
                Path(words[0]).unlink()
        else:
            answer["why"] = obstacle(engine, words[0], Path(words[1]))
    except EngineError as error:
        answer["why"] = str(error)
    return answer


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])))
