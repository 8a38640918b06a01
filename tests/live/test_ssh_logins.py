"""Two ways in that backend ssh promises: a key that only an SSH agent holds, and a user who is root by sudo alone."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.backends.docker import DockerBackend
from tests.live.command import PARTITION
from tests.live.on_hosts import (
    LIMIT_S,
    bare,
    doctor,
    eventually,
    in_mid_partition,
    judged,
    made_hosts,
    scenario,
    traces,
)
from tests.live.ssh_lab import SshLab

pytestmark = [pytest.mark.live, pytest.mark.docker, pytest.mark.usefixtures("ended")]

CUT = PARTITION + 'until = "4s"\n'


@pytest.fixture(scope="module")
def lab(docker_backend: DockerBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshLab]:
    """Two hosts, used by one test after the other."""
    with made_hosts(tmp_path_factory.mktemp("logins"), 2) as made:
        yield made


@pytest.fixture
def agent(lab: SshLab, tmp_path: Path) -> Iterator[str]:
    """An SSH agent with the lab's key; its socket."""
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        added = ["ssh-add", "-q", str(lab.directory / "key")]
        environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        eventually(socket.exists, "the agent listens")
        subprocess.run(added, env=environment, check=True, timeout=LIMIT_S)
        yield str(socket)
    finally:
        process.kill()
        process.wait()


def hosts(lab: SshLab) -> str:
    """Host a by the agent's key, as root; host b by the key file, as a user who may sudo."""
    b = f'user = "guest"\nsudo = true\nkey = "{lab.directory / "key"}"'
    return str(lab.file("logins.toml", key=None, lease="300s", own={"b": b}))


def test_a_run_over_both(lab: SshLab, tmp_path: Path, agent: str) -> None:
    document = judged(lab, tmp_path, "ssh", scenario(tmp_path, "5s", CUT), hosts(lab), SSH_AUTH_SOCK=agent)
    assert document["as_expected"] and document["layer"] == "nft+nfqueue"
    assert all(bare(host) for host in lab.hosts)


def test_an_agent_that_is_not_there(lab: SshLab, tmp_path: Path) -> None:
    """The host that wants its key is named, and the cure."""
    looked = doctor(lab, tmp_path, "--hosts", hosts(lab), SSH_AUTH_SOCK=str(tmp_path / "none"))
    assert looked.process.returncode == 4, looked.said
    a, b = (c for c in looked.document()["checks"] if c["name"].startswith("host "))
    assert not a["ok"] and "the SSH agent offers no key" in a["what"] and "`ssh-add KEY`" in a["what"]
    assert b["ok"] and b["what"] == "all faults"


def test_a_url_is_enough_where_the_user_has_an_agent_and_known_hosts(lab: SshLab, tmp_path: Path, agent: str) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "known_hosts").write_text(lab.known_hosts.read_text())
    url = f"ssh://root@{lab.hosts[0].address}"
    looked = doctor(lab, tmp_path / "look", "--hosts", url, SSH_AUTH_SOCK=agent, HOME=str(tmp_path))
    assert looked.process.returncode == 0, looked.said
    host, engine = (c for c in looked.document()["checks"] if lab.hosts[0].address in c["name"])
    assert host["what"] == "all faults" and "no Docker engine answers" in engine["what"]


def test_both_are_looked_over_and_cleaned_in_mid_run(lab: SshLab, tmp_path: Path, agent: str) -> None:
    named = hosts(lab)
    command = in_mid_partition(lab, tmp_path / "run", "ssh", "", named, SSH_AUTH_SOCK=agent)
    os.kill(command.process.pid, signal.SIGSTOP)  # else it removes what is left, as soon as it loses the first host
    looked = doctor(lab, tmp_path / "look", "--hosts", named, SSH_AUTH_SOCK=agent)
    assert looked.process.returncode == 0, looked.said
    assert [c["what"] for c in looked.document()["checks"] if c["name"].startswith("host ")] == ["all faults"] * 2
    cleaned = doctor(lab, tmp_path / "clean", "--clean", "--hosts", named, SSH_AUTH_SOCK=agent)
    assert cleaned.process.returncode == 0, cleaned.said
    removed = "\n".join(cleaned.document()["removed"])
    for told in ("a run was in force, and was ended", "removed /var/tmp/moonquake on"):
        assert removed.count(told) == len(lab.hosts), removed
    assert not any(map(traces, lab.hosts))
    os.kill(command.process.pid, signal.SIGCONT)
    assert command.process.wait(LIMIT_S) == 4, command.said
    for host in lab.hosts:
        assert not traces(host)
        assert "moonquake" not in host.said("ls", "/var/tmp")
