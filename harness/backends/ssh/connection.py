"""One SSH connection: known hosts only, keys only, and errors that name the command that mends them.

Calls block; an asyncio backend makes them in threads.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import paramiko

from harness.backends.ssh.hosts import Host
from harness.outcome import MachineError

CONNECT_S = 20.0
COMMAND_S = 120.0
KEEP_ALIVE_S = 5
T = TypeVar("T")


class Connection:
    """Open it with `connect`."""

    def __init__(self, host: Host, client: Any) -> None:
        self.host = host
        self._client = client

    @classmethod
    def connect(cls, host: Host) -> Connection:
        """Raises MachineError with the cure."""
        client = paramiko.SSHClient()
        known = Path(host.known_hosts).expanduser()
        with contextlib.suppress(FileNotFoundError):  # then nobody is known, which the policy says better
            client.load_system_host_keys(str(known))
        client.set_missing_host_key_policy(_Refuse(host))
        key = str(Path(host.key).expanduser()) if host.key else None
        try:
            client.connect(
                host.address, host.port, host.user, key_filename=key, allow_agent=key is None, look_for_keys=False,
                timeout=CONNECT_S, banner_timeout=CONNECT_S, auth_timeout=CONNECT_S,
            )  # fmt: skip
        except MachineError:  # of our own policy
            client.close()
            raise
        except paramiko.BadHostKeyException as error:
            client.close()
            raise MachineError(
                f"{host.where} shows another host key than {known} holds: somebody may sit in between, and we do not "
                f"connect. If the host was set up anew, forget its old key with "
                f"`ssh-keygen -R {_entry(host)} -f {known}` and learn the new one as docs/hosts.md says"
            ) from error
        except paramiko.AuthenticationException as error:
            client.close()
            what = f"the key {key}" if key else "the keys of the SSH agent (hosts.toml names no `key`)"
            raise MachineError(
                f"{host.where} refused {what}; `ssh-copy-id -i KEY.pub -p {host.port} {host.user}@{host.address}` "
                "lets a key in (passwords are not supported)"
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            client.close()
            if key is None and "No authentication methods" in str(error):
                raise MachineError(
                    f"{host.where}: the SSH agent offers no key, and hosts.toml names no `key`; `ssh-add -l` shows the "
                    "keys that it holds (SSH_AUTH_SOCK says where it is), `ssh-add KEY` gives it one"
                ) from error
            if isinstance(error, FileNotFoundError) and key:
                raise MachineError(f"{host.where}: key {key}: no such file; make one by `ssh-keygen`") from error
            raise MachineError(
                f"{host.where} cannot be reached: {error}; does `ssh -p {host.port} {host.user}@{host.address}` work?"
            ) from error
        transport = client.get_transport()
        assert transport is not None
        transport.set_keepalive(KEEP_ALIVE_S)
        return cls(host, client)

    def run(self, command: str, feed: bytes = b"", timeout_s: float = COMMAND_S) -> str:
        """Standard output of a command that must succeed. Raises MachineError with what it said otherwise."""

        def work() -> tuple[int, bytes, bytes]:
            stdin, stdout, stderr = self._client.exec_command(command, timeout=timeout_s)
            if feed:
                stdin.write(feed)
                stdin.flush()
            stdin.channel.shutdown_write()
            said, complained = stdout.read(), stderr.read()
            return stdout.channel.recv_exit_status(), said, complained

        code, said, complained = self._guarded(work)
        if code:
            text = (complained or said).decode(errors="replace").strip()[-600:]
            raise MachineError(f"{self.host.where}: `{command[:120]}` ended with exit code {code}: {text}")
        return said.decode(errors="replace")

    def open(self, command: str) -> Any:
        """A channel that talks to a command that goes on."""

        def work() -> Any:
            transport = self._client.get_transport()
            if transport is None:
                raise EOFError("it was closed")
            channel = transport.open_session(timeout=CONNECT_S)
            channel.exec_command(command)
            return channel

        return self._guarded(work)

    def put(self, data: bytes, path: str) -> None:
        """Write a file on the host."""

        def work() -> None:
            with self._client.open_sftp() as sftp, sftp.open(path, "wb") as file:
                file.set_pipelined(True)
                file.write(data)

        self._guarded(work)

    def get(self, path: str, target: Path) -> bool:
        """Copy a file of the host's here. False if it is not there."""

        def work() -> bool:
            with self._client.open_sftp() as sftp:
                try:
                    sftp.get(path, str(target))
                except FileNotFoundError:
                    target.unlink(missing_ok=True)
                    return False
            return True

        return self._guarded(work)

    def close(self) -> None:
        """Close it; safe to call twice."""
        self._client.close()

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (TimeoutError, paramiko.SSHException, EOFError, ConnectionError) as error:
            raise MachineError(f"the connection to {self.host.where} is lost: {error or repr(error)}") from error
        except OSError as error:
            raise MachineError(f"{self.host.where}: {error}") from error


class _Refuse(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """A host that is not in known_hosts is refused, with the command that shows its key."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        host = self._host
        raise MachineError(
            f"{host.where} is not in {host.known_hosts}, and we trust no key at first sight. It shows {key.get_name()} "
            f"{key.fingerprint}; compare that with the host's own (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` "
            f"there), then `ssh-keyscan -p {host.port} {host.address} >> {host.known_hosts}`"
        )


def _entry(host: Host) -> str:
    return shlex.quote(host.address if host.port == 22 else f"[{host.address}]:{host.port}")
