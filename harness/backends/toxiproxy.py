"""Toxiproxy, wrapped once: a server process, and a client for many proxies at a time.

toxiproxy-python gives the object model (servers, proxies, toxics) but keeps its address in a class attribute, creates
proxies one by one and cannot change a toxic; so what is asked often, or of many links at once, goes through the same
HTTP API by aiohttp. The proxy named "n1>n2" carries the link (n1, n2): n1 dials it, its upstream is n2. Because only
the dialler of a link sends, faults go on the "upstream" stream (client to server).
"""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import aiohttp
import msgspec
from toxiproxy import Toxiproxy as ToxiproxyApi

from faults.port import Link, Shape
from harness.backends.port import MachineError
from harness.backends.processes import die_with_parent

T = TypeVar("T")
Stream: TypeAlias = Literal["upstream", "downstream"]  # from the dialler on, or back to it

_IN_FLIGHT = 16  # requests at a time: the server handles them in parallel, and the loop stays responsive
_ENABLE_TRIES = 20
_ANSWER_S = 20.0
_HELLO_S = 2.0
_api_lock = threading.Lock()  # toxiproxy-python holds one address per process


class ProxySpec(msgspec.Struct, frozen=True):
    """One proxy: connections to `listen` are passed on to `upstream`, both "host:port"."""

    name: str
    listen: str
    upstream: str
    enabled: bool = True


def toxic_name(kind: str, stream: Stream) -> str:
    """Its type, and the stream unless that is the usual one."""
    return kind if stream == "upstream" else f"{kind}-{stream}"


def proxy_name(link: Link) -> str:
    """Name of the proxy that carries a directed link."""
    return f"{link[0]}>{link[1]}"


def add_shapes(base: Shape, extra: Shape) -> Shape:
    """`extra` on top of `base`: delays and jitters add, the narrower rate wins, losses combine."""
    rates = [r for r in (base.rate_kbit, extra.rate_kbit) if r > 0]
    return Shape(
        delay_ms=base.delay_ms + extra.delay_ms,
        jitter_ms=base.jitter_ms + extra.jitter_ms,
        loss=1 - (1 - base.loss) * (1 - extra.loss),
        rate_kbit=min(rates) if rates else 0.0,
    )


def toxics_of(shape: Shape) -> dict[str, dict[str, int]]:
    """Toxic type -> attributes that make `shape` (its loss excepted: a stream proxy loses nothing). Units: ms, KB/s."""
    toxics: dict[str, dict[str, int]] = {}
    if shape.delay_ms > 0 or shape.jitter_ms > 0:
        toxics["latency"] = {"latency": round(shape.delay_ms), "jitter": round(shape.jitter_ms)}
    if shape.rate_kbit > 0:
        toxics["bandwidth"] = {"rate": max(1, round(shape.rate_kbit / 8))}
    return toxics


def start_server(binary: Path, host: str, port: int, log: Path) -> subprocess.Popen[bytes]:
    """Start a server whose API listens on host:port; it dies with this process. Logs to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(
            [str(binary), "-host", host, "-port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={"LOG_LEVEL": "error"},
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )


class Toxiproxy:
    """Client of one server, to be made inside a running loop. Toxics are named after their type, one of a type on each
    proxy's upstream stream."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self._http = aiohttp.ClientSession(
            f"http://{host}:{port}",
            connector=aiohttp.TCPConnector(limit=_IN_FLIGHT),
            timeout=aiohttp.ClientTimeout(total=_ANSWER_S),
        )
        self._toxics: dict[tuple[str, str], dict[str, int]] = {}  # (proxy, toxic) -> attributes, as last set

    async def close(self) -> None:
        """Close the connections to the server."""
        await self._http.close()

    async def wait(self, alive: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Return when the server answers. Raises MachineError if `alive()` turns false or time runs out."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not await self.running():
            if not alive():
                raise MachineError(f"the Toxiproxy server ended at once; is port {self.address[1]} in use?")
            if asyncio.get_running_loop().time() > deadline:
                raise MachineError(
                    f"the Toxiproxy server at {self.address[0]}:{self.address[1]} is silent after {timeout_s:.0f} s; "
                    "see toxiproxy.log in the run's logs"
                )
            await asyncio.sleep(0.02)

    async def running(self) -> bool:
        """Does a Toxiproxy server answer at this address?"""
        limit = aiohttp.ClientTimeout(total=_HELLO_S)  # a stranger who holds the port may say nothing for ever
        try:
            async with self._http.get("/version", timeout=limit) as response:
                return response.status == 200 and b"version" in await response.read()
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def proxies(self) -> Mapping[str, Any]:
        """Name -> toxiproxy-python Proxy object, as the server has them now."""
        return await self._library(lambda api: dict(api.proxies()))

    async def reset(self) -> None:
        """Enable every proxy and remove every toxic."""
        await self._library(lambda api: api.reset())
        self._toxics.clear()

    async def populate(self, proxies: Sequence[ProxySpec]) -> None:
        """Create all proxies in one request. Raises MachineError naming what the server refused."""
        body = msgspec.json.encode(list(proxies))
        await self._call("POST", "/populate", body, f"create {len(proxies)} proxies")

    async def enable(self, names: Iterable[str]) -> None:
        """Let the proxies listen again, on the ports they had. Tries again for a while when such a port is taken."""
        await self._each([partial(self._enable, name) for name in names])

    async def disable(self, names: Iterable[str]) -> None:
        """Close the proxies' connections and refuse new ones."""
        await self._each([partial(self._switch, name, False) for name in names])

    async def set_toxics(self, wanted: Mapping[str, Mapping[str, dict[str, int]]], stream: Stream = "upstream") -> None:
        """Proxy -> {toxic type: attributes}: make latency and bandwidth of these proxies' stream exactly so."""
        await self._each(
            [
                partial(self._set, name, kind, toxics.get(kind), stream)
                for name, toxics in wanted.items()
                for kind in ("latency", "bandwidth")
            ]
        )

    async def add_toxic(self, name: str, kind: str, attributes: dict[str, int], stream: Stream = "upstream") -> None:
        """Add any other toxic (reset_peer, slicer, slow_close, timeout, limit_data); named after type and stream."""
        toxic = toxic_name(kind, stream)
        body = {"name": toxic, "type": kind, "stream": stream, "toxicity": 1.0, "attributes": attributes}
        await self._call("POST", f"/proxies/{name}/toxics", msgspec.json.encode(body), f"add {toxic} to {name}")
        self._toxics[name, toxic] = dict(attributes)

    async def remove_toxic(self, name: str, kind: str, stream: Stream = "upstream") -> None:
        """Remove a toxic that was added."""
        toxic = toxic_name(kind, stream)
        await self._call("DELETE", f"/proxies/{name}/toxics/{toxic}", None, f"remove {toxic} from {name}")
        self._toxics.pop((name, toxic), None)

    async def _set(self, name: str, kind: str, attributes: dict[str, int] | None, stream: Stream) -> None:
        toxic = toxic_name(kind, stream)
        present = self._toxics.get((name, toxic))
        if attributes == present:
            return
        if attributes is None:
            await self.remove_toxic(name, kind, stream)
        elif present is None:
            await self.add_toxic(name, kind, attributes, stream)
        else:
            body = msgspec.json.encode({"attributes": attributes, "toxicity": 1.0})
            await self._call("PATCH", f"/proxies/{name}/toxics/{toxic}", body, f"change {toxic} of {name}")
            self._toxics[name, toxic] = dict(attributes)

    async def _enable(self, name: str) -> None:
        for attempt in range(_ENABLE_TRIES):
            try:
                await self._switch(name, True)
                return
            except MachineError:  # somebody borrowed the port while we did not listen
                if attempt == _ENABLE_TRIES - 1:
                    raise
                await asyncio.sleep(0.1)

    async def _switch(self, name: str, enabled: bool) -> None:
        body = msgspec.json.encode({"enabled": enabled})
        await self._call("PATCH", f"/proxies/{name}", body, f"{'enable' if enabled else 'disable'} {name}")

    async def _call(self, method: str, path: str, body: bytes | None, what: str) -> None:
        try:
            async with self._http.request(method, path, data=body) as response:
                status, answer = response.status, await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise MachineError(
                f"Toxiproxy at {self.address[0]}:{self.address[1]} could not {what}: {type(error).__name__} {error}; "
                "its log is toxiproxy.log in the run's logs"
            ) from error
        if status >= 400:
            raise MachineError(f"Toxiproxy could not {what}: {status} {answer.strip()[:300]}")

    async def _each(self, calls: Sequence[Callable[[], Awaitable[None]]]) -> None:
        slots = asyncio.Semaphore(_IN_FLIGHT)

        async def one(call: Callable[[], Awaitable[None]]) -> None:
            async with slots:
                await call()

        results = await asyncio.gather(*(one(call) for call in calls), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _library(self, use: Callable[[Any], T]) -> T:
        def call() -> T:
            with _api_lock:
                api = ToxiproxyApi()
                api.update_api_consumer(*self.address)
                return use(api)

        return await asyncio.to_thread(call)
