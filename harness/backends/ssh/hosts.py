"""Which hosts there are and how we get in: hosts.toml, or `ssh://a,ssh://user@b:2222` for a file that says no more.
Keys only: there is no place for a password.

lease = "10s"                        # how long a fault outlives us (default 10s)
user = "moonquake"                   # these five may stand above, for all hosts, or with one host
port = 22
key = "~/.ssh/id_ed25519"            # absent: the keys of the SSH agent
known_hosts = "~/.ssh/known_hosts"
directory = "/var/tmp/moonquake"     # ours on the host; made if absent
sudo = false                         # true: run the warden under `sudo -n`, for packet faults without root logins
engine = "/var/run/docker.sock"      # with --backend docker: its engine's socket; absent: the usual ones are looked at

[[host]]
name = "a"
address = "10.0.0.4"                 # for SSH
peers = "10.0.0.4"                   # for the other nodes and the wallets; absent: as `address`
"""

from __future__ import annotations

import getpass
import ipaddress
import re
import socket
import tomllib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from harness.outcome import MachineError, UsageError
from harness.toml import Source, Table, duration

LEASE = "10s"
LEAST_LEASE_S, MOST_LEASE_S = 2.0, 600.0
DIRECTORY = "/var/tmp/moonquake"
KNOWN_HOSTS = "~/.ssh/known_hosts"
_NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,31}$")


class Host(msgspec.Struct, frozen=True):
    """One host. Paths of keys and known hosts are ours, `directory` is the host's."""

    name: str
    address: str
    port: int
    user: str
    key: str  # empty: the agent's
    known_hosts: str
    directory: str
    sudo: bool
    peers: str  # IPv4 address at which its nodes listen
    engine: str = ""  # socket there; empty: the usual ones

    @property
    def where(self) -> str:
        """For messages."""
        return f"host {self.name} ({self.user}@{self.address}:{self.port})"


class Hosts(msgspec.Struct, frozen=True):
    """The whole file."""

    hosts: tuple[Host, ...]
    lease_s: float


def read_hosts(named: str | Path) -> Hosts:
    """`named`: a file, or URLs. Raises UsageError naming file, line and key, or the URL; MachineError for a name that
    does not resolve."""
    if "://" in str(named):
        return _from_urls(str(named))
    path = Path(named)
    try:
        text = path.read_text()
        values = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"--hosts {path}: {error.strerror}; docs/hosts.md shows one") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--hosts {path}: not TOML: {error}") from error
    top = Table(values, Source(str(path), text))
    lease_s = top.seconds("lease", LEASE)
    if not LEAST_LEASE_S <= lease_s <= MOST_LEASE_S:
        raise top.error("lease", f"must lie between {LEAST_LEASE_S:g}s and {MOST_LEASE_S:g}s")
    common = _common(top, {})
    hosts = tuple(_host(table, common) for table in top.tables("host"))
    top.done()
    if not hosts:
        raise top.error("host", "no host is named; add [[host]] with name and address")
    twice = _twice(hosts)
    if twice:
        raise top.error("host", twice)
    return Hosts(hosts, lease_s)


def _from_urls(named: str) -> Hosts:
    """Everything that a URL does not say is as in a file that does not say it; the user is who we are here."""
    hosts = []
    for text in named.split(","):
        try:
            url = urlsplit(text.strip())
            port = 22 if url.port is None else url.port
        except ValueError as error:
            raise UsageError(f"--hosts {text}: {error}") from error
        more = url.password is not None or url.path not in ("", "/") or url.query or url.fragment
        if url.scheme != "ssh" or not url.hostname or more:
            raise UsageError(
                f"--hosts {text}: must be ssh://HOST, ssh://USER@HOST or ssh://USER@HOST:PORT; what else there is to "
                "say (a key, another directory) is said in a file, see docs/hosts.md"
            )
        name = re.sub(r"[^a-z0-9]+", "-", url.hostname).strip("-")[:32].strip("-")
        peers = _resolved(f"--hosts {text}", url.hostname, name)
        user = url.username or getpass.getuser()
        hosts.append(Host(name, url.hostname, port, user, "", KNOWN_HOSTS, DIRECTORY, False, peers))
    twice = _twice(hosts)
    if twice:
        raise UsageError(f"--hosts {named}: {twice}")
    return Hosts(tuple(hosts), duration(LEASE, UsageError))


def _twice(hosts: Sequence[Host]) -> str:
    """What stands for two hosts, in words."""
    for key in ("name", "peers"):
        seen = [getattr(host, key) for host in hosts]
        twice = sorted({value for value in seen if seen.count(value) > 1})
        if twice:
            return f"{key} {twice[0]!r} stands for two hosts; every host needs its own"
    return ""


def _common(table: Table, above: dict[str, object]) -> dict[str, object]:
    return {
        "user": table.take("user", str, above.get("user", "")),
        "port": table.whole("port", above.get("port", 22), 1, 65_535),
        "key": table.take("key", str, above.get("key", "")),
        "known_hosts": table.take("known_hosts", str, above.get("known_hosts", KNOWN_HOSTS)),
        "directory": table.take("directory", str, above.get("directory", DIRECTORY)),
        "sudo": table.take("sudo", bool, above.get("sudo", False)),
        "engine": table.take("engine", str, above.get("engine", "")),
    }


def _host(table: Table, above: dict[str, object]) -> Host:
    name, address = table.take("name", str), table.take("address", str)
    if not _NAME.match(name):
        raise table.error("name", f"must be of a-z, 0-9 and -, not {name!r}")
    own = _common(table, above)
    if not own["user"]:
        raise table.error("user", "is missing; add user = ... here or above the hosts")
    if not str(own["directory"]).startswith("/"):
        raise table.error("directory", f"must be absolute, not {own['directory']!r}")
    if own["engine"] and not str(own["engine"]).startswith("/"):
        raise table.error("engine", f"must be the absolute path of a socket there, not {own['engine']!r}")
    peers = _resolved(table.source.name, table.take("peers", str, address), name)
    table.done()
    return msgspec.convert({"name": name, "address": address, "peers": peers, **own}, Host)


def _resolved(source: str, text: str, name: str) -> str:
    """An IPv4 address: the packet filter knows no other."""
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(text, None, socket.AF_INET)[0][4][0])
    except OSError as error:
        raise MachineError(
            f"{source}: host {name}: {text} has no IPv4 address ({error}); give one as `peers`"
        ) from error
