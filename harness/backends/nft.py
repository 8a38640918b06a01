"""nftables in process: libnftables.so.1 through ctypes (the python3-nftables package does not reach a venv).

One command buffer is one transaction: all of it takes effect, or none.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import threading
from functools import cache
from typing import Any

from harness.outcome import MachineError

JSON_OUTPUT = 1 << 4


class NftError(RuntimeError):
    """The kernel or the parser refused a command; carries both."""


class Nft:
    """A libnftables context. Safe to use from several threads. Raises MachineError where the library is missing."""

    def __init__(self) -> None:
        self._library = _library()
        self._lock = threading.Lock()
        self._context = ctypes.c_void_p(self._library.nft_ctx_new(0))
        if not self._context:
            raise MachineError("libnftables gives no context; are we root?")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)
        self._library.nft_ctx_output_set_flags(self._context, JSON_OUTPUT)

    def run(self, script: str) -> list[dict[str, Any]]:
        """Run commands as one transaction; the objects that `list` commands gave. Raises NftError."""
        return self._run(script, check=False)

    def check(self, script: str) -> None:
        """Would the kernel take it? Changes nothing. Raises NftError."""
        self._run(script, check=True)

    def tables(self, prefix: str) -> list[tuple[str, str]]:
        """(family, name) of the tables whose names begin with `prefix`."""
        tables = [o["table"] for o in self.run("list tables") if "table" in o]
        return [(str(t["family"]), str(t["name"])) for t in tables if str(t["name"]).startswith(prefix)]

    def _run(self, script: str, check: bool) -> list[dict[str, Any]]:
        with self._lock:
            self._library.nft_ctx_set_dry_run(self._context, check)
            code = self._library.nft_run_cmd_from_buffer(self._context, script.encode())
            output = self._library.nft_ctx_get_output_buffer(self._context) or b""
            error = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if code:
            said = error.decode(errors="replace").strip()[:400]
            raise NftError(f"nft refused:\n{script.strip()[:400]}\nsaying: {said}")
        return list(json.loads(output)["nftables"]) if output.strip() else []


@cache
def _library() -> Any:
    name = ctypes.util.find_library("nftables") or "libnftables.so.1"
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise MachineError("libnftables.so.1 is missing; on Debian: `apt-get install nftables`") from error
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    library.nft_ctx_set_dry_run.argtypes = [ctypes.c_void_p, ctypes.c_bool]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    for function in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, function).argtypes = [ctypes.c_void_p]
    for function in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, function).argtypes = [ctypes.c_void_p]
        getattr(library, function).restype = ctypes.c_char_p
    return library
