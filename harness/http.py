"""HTTP to the gateways, by aiohttp: what matters to a history is whether a request certainly did not arrive."""

from __future__ import annotations

from types import TracebackType

import aiohttp

CONNECT_S = 5.0


class NeverSentError(ConnectionError):
    """No connection could be made: the request has certainly not arrived."""


class UnansweredError(ConnectionError):
    """The request may have arrived, but no whole answer came back."""


class HttpClient:
    """Requests to any number of servers; connections are kept and reused. To be made inside a running loop."""

    def __init__(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)  # every wallet may wait for an answer at the same time
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def request(
        self, method: str, base: str, path: str, body: bytes = b"", timeout_s: float = 20.0
    ) -> tuple[int, bytes]:
        """(status, body) of `method base+path`, connecting and reading within `timeout_s`.

        Raises NeverSentError or UnansweredError. A GET on a kept connection that the server closed is sent again.
        """
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S)
        try:
            async with self._session.request(
                method, base + path, data=body or None, timeout=timeout, allow_redirects=False
            ) as response:
                return response.status, await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NeverSentError(str(error)) from error
        except (aiohttp.ClientError, OSError) as error:  # a time-out is an OSError
            raise UnansweredError(f"{base}: {type(error).__name__} {error}".strip()) from error

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
