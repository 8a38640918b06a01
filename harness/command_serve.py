"""`moonquake serve`: the run store in a browser; on this machine only, unless a token guards it."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from harness.backends.port import MachineError
from harness.console import RUNS, JsonOption, document, plain, standard_output
from harness.outcome import Exit, UsageError
from results.web.app import make_app
from results.web.guard import is_loopback

PORT = 8765
SHORTEST_TOKEN = 16


def serve(
    runs: Annotated[Path, typer.Option("--runs-dir", "--runs", help="the run store to show")] = RUNS,
    host: Annotated[str, typer.Option("--host", help="address to listen on; beyond loopback a token is asked")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one")] = PORT,
    token: Annotated[
        str, typer.Option("--token", envvar="MOONQUAKE_TOKEN", help="what visitors must know (else one is made)")
    ] = "",
    json: JsonOption = False,
) -> int:
    """Show the run store in a browser: list, reports, comparisons, live runs, nights."""
    if not runs.is_dir():
        raise UsageError(f"--runs-dir {runs}: there is no such directory; `moonquake run SCENARIO` makes the first run")
    token = _token(host, token)
    listening = _listen(host, port)
    port = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
    if json:
        document({"url": address, "runs": str(runs), "token": token or None})
        standard_output.get().flush()  # whoever reads it waits for it
    else:
        plain(f"{runs} at {address}\nIt reads only. Ctrl-C ends it.")
    app = make_app(runs, time.time, token)  # noqa: TID251 - to tell running runs from those that were broken off
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", server_header=False)
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
        uvicorn.Server(config).run(sockets=[listening])
    return Exit.AS_EXPECTED


def _token(host: str, token: str) -> str:
    """The token to ask for; "" where none is needed. Raises UsageError for one that can be guessed."""
    if token and len(token) < SHORTEST_TOKEN:
        raise UsageError(f"--token: has {len(token)} characters, needs {SHORTEST_TOKEN}; leave it out and one is made")
    if not token and not is_loopback(host):
        return secrets.token_urlsafe(24)
    return token


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise MachineError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with --host or --port"
        ) from error
