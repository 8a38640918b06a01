"""A Docker engine as our client on hosts knows it, over a Unix socket: containers are processes that sleep."""

from __future__ import annotations

import json
import socketserver
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

SLEEP = "import time; time.sleep(600)"


class FakeEngine:
    """What it holds, and what it was asked. `begun` is called with a container's configuration when it starts."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.images = {"moonquake/node:1": {"moonquake": "image"}, "other:1": {}}
        self.containers: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.asked: list[str] = []
        self.refuses: dict[str, tuple[int, str]] = {}  # beginning of a request -> status and message
        self.blind = 0  # so often an end is not seen yet
        self.begun: Callable[[dict[str, Any]], None] = lambda _: None
        self.events: list[bytes] = []
        self.told = threading.Event()  # the events go out, and the stream ends

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON."""
        asked = f"{method} {path}"
        self.asked.append(asked)
        for beginning, (status, message) in self.refuses.items():
            if asked.startswith(beginning):
                return status, {"message": message}
        url = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(url.query))
        words = url.path.strip("/").split("/")
        if words[0] == "version":
            return 200, {"Version": "0.1"}
        if words[0] == "images":
            return self._image(method, "/".join(words[1:]), query)
        if words[1:] == ["create"]:
            self.containers[query["name"]] = json.loads(body)
            return 201, {"Id": query["name"]}
        if words[1:] == ["json"]:
            label, _, value = json.loads(query["filters"])["label"][0].partition("=")
            labelled = {
                name: made["Labels"][label] for name, made in self.containers.items() if label in made["Labels"]
            }
            found = [name for name, has in labelled.items() if value in ("", has)]
            return 200, [{"Id": name, "Names": [f"/{name}"]} for name in found]
        return self._container(method, words[1], words[2:])

    def _image(self, method: str, name: str, query: dict[str, str]) -> tuple[int, Any]:
        if name == "json":
            return 200, [{"Id": tag, "RepoTags": [tag]} for tag, labels in self.images.items() if labels]
        if name == "load":
            self.images["moonquake/node:2"] = {"moonquake": "image"}
            return 200, {"stream": "Loaded"}
        tag = name.removesuffix("/json")
        if tag not in self.images:
            return 404, {"message": "no such image"}
        if method == "DELETE":
            del self.images[tag]
        return 200, {"Id": tag}

    def _container(self, method: str, name: str, what: list[str]) -> tuple[int, Any]:
        if name not in self.containers:
            return 404, {"message": f"No such container: {name}"}
        process = self.processes.get(name)
        if method == "DELETE":
            if process is not None:
                process.kill()
                process.wait()
            del self.containers[name]
            return 204, None
        if what == ["start"]:
            self.begun(self.containers[name])
            words = [sys.executable, "-c", SLEEP, *map(str, self.containers[name].get("Entrypoint", ()))]
            self.processes[name] = subprocess.Popen(words)
            return 204, None
        running = process is not None and process.poll() is None
        if not running and process is not None and self.blind:
            self.blind -= 1
            running = True
        pid = process.pid if process is not None and running else 0
        return 200, {"State": {"Running": running, "Pid": pid, "ExitCode": 3, "Error": ""}}


class _Handler(BaseHTTPRequestHandler):
    engine: FakeEngine

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/events"):
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            self.engine.told.wait(60)
            with suppress(ConnectionError):
                self.wfile.write(b"".join(self.engine.events))
            return
        status, said = self.engine.answer(self.command, self.path, body)
        data = b"" if said is None else json.dumps(said).encode() + b"\n"
        with suppress(ConnectionError):  # whoever asked may have been killed
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    do_GET = do_POST = do_DELETE = _serve

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""

    def address_string(self) -> str:
        """A Unix socket has none."""
        return ""


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def fake_engine(place: Path) -> Iterator[FakeEngine]:
    """It answers at `place`/docker.sock until the end."""
    engine = FakeEngine(place / "docker.sock")
    handler = type("Handler", (_Handler,), {"engine": engine})
    with _Server(engine.path, handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield engine
        finally:
            engine.told.set()
            server.shutdown()
            thread.join()
            with suppress(FileNotFoundError):
                Path(engine.path).unlink()
            for process in engine.processes.values():
                process.kill()
                process.wait()
