"""Backend ssh without hosts: the file, the packet filter's text, who undoes what, and that hosts need no library."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from faults.byzantine.config import ByzantineConfig
from faults.port import Capability, UnsupportedError
from harness.backends import select
from harness.backends.nfqueue import PACKET, PACKET_MARK, attribute, message, parse
from harness.backends.processes import process_ident
from harness.backends.ssh import payload, removal
from harness.backends.ssh.backend import CAPABILITIES, SshBackend
from harness.backends.ssh.host import disk, filter, guardian, inforce, sweep
from harness.backends.ssh.host.inforce import InForce
from harness.backends.ssh.hosts import Host, read_hosts
from harness.backends.ssh.placement import place
from harness.outcome import MachineError, UsageError
from nodes.runtime.clock import RunClock
from tests.live.docker_lab import make_spec

GOOD = """
user = "root"
lease = "15s"
[[host]]
name = "a"
address = "198.18.0.2"
[[host]]
name = "b"
address = "198.18.0.3"
port = 2222
key = "/keys/b"
sudo = true
"""


def hosts_file(place: Path, text: str) -> Path:
    path = place / "hosts.toml"
    path.write_text(text)
    return path


def test_a_file_of_hosts(tmp_path: Path) -> None:
    hosts = read_hosts(hosts_file(tmp_path, GOOD))
    first, second = hosts.hosts
    assert hosts.lease_s == 15 and first.port == 22 and not first.sudo and first.key == ""
    assert (second.port, second.key, second.sudo, second.peers) == (2222, "/keys/b", True, "198.18.0.3")
    assert first.user == second.user == "root" and first.directory.startswith("/")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('port = 2222', 'prot = 2222'), "host[1].prot: unknown key; did you mean 'port'"),
        (('port = 2222', 'password = "x"'), "host[1].password: unknown key"),
        (('name = "b"', 'name = "a"'), "'a' stands for two hosts"),
        (('198.18.0.3', '198.18.0.2'), "'198.18.0.2' stands for two hosts"),
        (('user = "root"', ''), "host[0].user: is missing"),
        (('lease = "15s"', 'lease = "1s"'), "lease: must lie between 2s and 600s"),
        (('name = "b"', 'name = "B b"'), "host[1].name: must be of a-z"),
        (('port = 2222', 'directory = "here"'), "host[1].directory: must be absolute"),
        (('lease = "15s"', 'lease = '), "not TOML"),
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_refused_with_its_place(
    tmp_path: Path, change: tuple[str, str], told: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read_hosts(hosts_file(tmp_path, GOOD.replace(*change)))
    assert told in str(caught.value) and "hosts.toml" in str(caught.value)


def test_no_hosts_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no host is named"):
        read_hosts(hosts_file(tmp_path, 'user = "root"\n'))
    with pytest.raises(UsageError, match=r"hosts\.md"):
        read_hosts(tmp_path / "none.toml")
    with pytest.raises(UsageError, match=r"--hosts hosts\.toml"):
        SshBackend().prepare(lambda _: None)
    with pytest.raises(UsageError, match="is for --backend docker or ssh, not sim"):
        select.choose("sim", lambda _: None, str(tmp_path / "hosts.toml"))
    with pytest.raises(MachineError, match="no IPv4 address"):
        read_hosts(hosts_file(tmp_path, GOOD.replace("198.18.0.3", "no-such-host.invalid")))


def test_capabilities_and_who_has_full_disks() -> None:
    assert Capability.DISK_FULL in CAPABILITIES and Capability.MESSAGE not in CAPABILITIES
    assert all(Capability.DISK_FULL not in select.make(name).capabilities for name in ("sim", "process", "docker"))
    with pytest.raises(UnsupportedError, match="use --backend ssh"):
        select.require(select.make("process"), {Capability.DISK_FULL: "fault disk-full"})


def imports(path: Path) -> set[str]:
    """Modules imported at the top of a file."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_what_heals_a_host_needs_nothing_but_python() -> None:
    """The delay daemon and its arithmetic may use the nodes' dependencies: without them packets pass."""
    daemon = {"harness/backends/delay.py", "harness/backends/shaping.py"}
    files = {name for name in payload.HOST_FILES if name not in daemon}
    ours = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files}
    for name in sorted(files):
        for module in imports(payload.ROOT / name):
            top = module.partition(".")[0]
            allowed = top in sys.stdlib_module_names or module in ours or module.rpartition(".")[0] in ours
            assert allowed, f"{name} imports {module}, which is not uploaded for it"


def test_every_file_of_the_host_part_is_uploaded() -> None:
    files = {str(p.relative_to(payload.ROOT)) for p in Path(inforce.__file__).parent.glob("*.py")}
    assert files <= set(payload.HOST_FILES)


def test_archives_are_equal_when_their_content_is(tmp_path: Path) -> None:
    trees = []
    for name in ("one", "two"):
        tree = tmp_path / name
        (tree / "deep").mkdir(parents=True)
        (tree / "deep" / "x.py").write_text("X = 1\n")
        os.utime(tree / "deep" / "x.py", (len(trees) + 5, 7))
        trees.append(payload._archive(tree))
    assert trees[0] == trees[1]


def test_the_filters_texts() -> None:
    ways = [(61200, "198.18.0.3", 10001), (61201, "198.18.0.2", 10002)]
    assert filter.change_text("t", ways[:1], ways[1:]) == (
        "add element ip t cuts { 61200 . 198.18.0.3 . 10001 }\ndelete element ip t cuts { 61201 . 198.18.0.2 . 10002 }"
    )
    assert filter.change_text("t", [], []) == ""
    assert "61200 . 198.18.0.3 . 10001 : 0x6d710007" in filter.mark_text("t", [(ways[0], 0x6D710007)], [])
    assert "hook output" in filter.table_text("t") and "hook postrouting" in filter.table_text("t")
    rule = " ".join(filter.queue_rule("-I", 0x6D710000, 9, "t"))
    assert filter.mark_of("a") & 0xFFFF == 0 and filter.mark_of("a") != filter.mark_of("b")
    assert "0x6d710000/0xffff0000" in rule and "--queue-bypass" in rule
    element = {"elem": {"val": {"concat": [61200, "198.18.0.3", 10001]}, "counter": {"packets": 4, "bytes": 9}}}
    assert filter.read_cuts([{"set": {"elem": [element]}}]) == [(61200, "198.18.0.3", 10001, 4)]


def test_a_packets_mark_is_read() -> None:
    header = bytes([0x45, 0, 0, 60, *[0] * 8, 198, 18, 0, 2, 198, 18, 0, 3])
    body = attribute(1, (5).to_bytes(4, "big") + b"\0\0\0\0")
    body += attribute(PACKET_MARK, (0x6D710003).to_bytes(4, "big")) + attribute(10, header)
    (packet,) = parse(message(PACKET, 7, body), marked=True)
    assert (packet.id, packet.mark, packet.length) == (5, 0x6D710003, 60)


def test_nodes_are_spread_and_a_coalition_shares_a_host(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, tribe=7, gateways=2)
    where = place(spec, ["a", "b", "c", "d"])
    counts = [list(where.values()).count(host) for host in "abcd"]
    assert sorted(where) == sorted(spec.roster.nodes) and max(counts) - min(counts) <= 1
    bad = ByzantineConfig("n0", {"n0": "", "n3": ""}, "", 1, ())
    nodes = tuple(replace(n, byzantine=bad) if n.id in bad.coalition else n for n in spec.nodes)
    where = place(replace(spec, nodes=nodes), ["a", "b", "c", "d"])
    assert where["n0"] == where["n3"]
    counts = [list(where.values()).count(host) for host in "abcd"]
    assert max(counts) - min(counts) <= 1


# ---------------------------------------------------------------- who undoes what
@pytest.fixture
def paused() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is stopped, as a paused node is."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    process.send_signal(signal.SIGSTOP)
    yield process
    process.kill()
    process.wait()


def state_letter(pid: int) -> str:
    return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]


def until(what: object, told: str) -> None:
    deadline = time.monotonic() + 60
    while not what():  # type: ignore[operator]
        assert time.monotonic() < deadline, told
        time.sleep(0.02)


def in_force(directory: Path, process: subprocess.Popen[bytes]) -> InForce:
    state = InForce(directory)
    state.nodes["n0"] = {"ident": process_ident(process.pid), "control": 0}
    state.save()
    return state


def test_what_is_in_force_can_be_undone_by_whoever_reads_the_file(
    tmp_path: Path, paused: subprocess.Popen[bytes]
) -> None:
    in_force(tmp_path, paused)
    state = InForce.load(tmp_path)
    until(lambda: state_letter(paused.pid) == "T", "it is stopped")
    assert state.heal() == ["n0 runs"]
    until(lambda: state_letter(paused.pid) != "T", "it is thawed")
    state.end_nodes()
    assert paused.wait(60) == -signal.SIGKILL
    assert InForce.load(tmp_path).heal() == []  # nothing is left to undo, and nobody else's process is touched


def test_a_command_that_undoes_is_repeated_in_peace_and_its_failure_is_told(tmp_path: Path) -> None:
    state = InForce(tmp_path)
    state.rules = [["sh", "-c", "exit 0"], ["sh", "-c", "echo 'No such file or directory' >&2; exit 1"],
                   ["sh", "-c", "echo device is busy >&2; exit 1"], [str(tmp_path / "none")]]  # fmt: skip
    done = state.heal()
    assert done[0] == "undid a firewall rule" and "device is busy" in done[1] and "could not undo" in done[2]
    assert len(done) == 3


def test_a_reused_pid_is_nobodys(paused: subprocess.Popen[bytes]) -> None:
    assert not inforce.signal_process(f"{paused.pid}:1", signal.SIGKILL)
    assert not inforce.signal_process("", signal.SIGKILL)
    assert paused.poll() is None


@pytest.mark.parametrize("dies", [True, False], ids=["warden gone", "warden silent"])
def test_the_guardian_acts_when_its_warden_is_gone_or_silent(
    tmp_path: Path, paused: subprocess.Popen[bytes], dies: bool
) -> None:
    in_force(tmp_path, paused)
    warden = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    command = [
        sys.executable,
        "-m",
        guardian.__name__,
        str(tmp_path),
        process_ident(warden.pid),
        "600" if dies else "1",
    ]
    watching = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=payload.ROOT)
    assert watching.stdin is not None
    if dies:
        watching.stdin.close()
    assert watching.wait(120) == 0
    assert warden.wait(60) == -signal.SIGKILL  # a warden that wakes up must not cut again
    assert paused.wait(60) == -signal.SIGKILL
    said = (tmp_path / guardian.LOG).read_text()
    assert ("the warden is gone" if dies else "said nothing for 1 s") in said and "n0 runs" in said
    if not dies:
        watching.stdin.close()


def test_the_guardian_leaves_alone_what_was_closed_in_order(tmp_path: Path, paused: subprocess.Popen[bytes]) -> None:
    state = in_force(tmp_path, paused)
    state.closed = True
    state.save()
    command = [sys.executable, "-m", guardian.__name__, str(tmp_path), "0:0", "600"]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, cwd=payload.ROOT, timeout=120, check=False).returncode == 0
    assert paused.poll() is None and not (tmp_path / guardian.LOG).exists()


def test_sweeping_removes_the_directory_and_is_idempotent(tmp_path: Path, paused: subprocess.Popen[bytes]) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    in_force(directory, paused)
    assert sweep.sweep(directory) == ["n0 runs"]
    assert not directory.exists() and paused.wait(60) == -signal.SIGKILL
    assert sweep.sweep(directory) == []


def test_a_disk_that_is_none_cannot_be_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's own disk is never the victim: only a mount of ours can be made smaller."""
    monkeypatch.setattr(disk, "ATTEMPTS", 2)
    with pytest.raises(disk.DiskError):
        disk.fill(tmp_path)


def test_what_is_left_on_a_host_is_named_without_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONQUAKE_STATE", str(tmp_path))
    host = Host("a", "198.18.0.2", 22, "root", "~/.ssh/key", "~/.ssh/known_hosts", "/var/tmp/x", False, "198.18.0.2")
    removal.register("r1", host, "/var/tmp/x/runs/r1", "/var/tmp/x/cache/1")
    (line,) = (tmp_path / "leftovers" / "r1.jsonl").read_text().splitlines()
    assert json.loads(line)["kind"] == removal.KIND
    removed = []
    monkeypatch.setattr(removal, "remove", lambda *words: removed.append(words))
    assert "/var/tmp/x/runs/r1 on host a" in str(removal.remover(json.loads(line)["ident"]))
    assert removed == [(host, "/var/tmp/x/runs/r1", "/var/tmp/x/cache/1")]


# ---------------------------------------------------------------- clocks
def test_a_clock_that_is_set_is_off_by_so_much_and_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 10**9
    monkeypatch.setattr("nodes.runtime.clock.time.monotonic_ns", lambda: now)
    clock = RunClock(0)
    assert clock.off() == 0
    clock.set(300, 0)
    assert clock.off() == 300_000_000
    before = clock.now()
    clock.set(-300, 0)
    assert clock.now() == before  # it stands still until time has caught up
    now += 10**9
    assert clock.off() == -300_000_000
    clock.set(0, 100_000)  # drift counts from now on, not from the start of the run
    assert clock.off() == 0
    now += 10**9
    assert clock.off() == 100_000_000
    assert clock.loop_time(clock.now()) == pytest.approx(now / 1e9)
