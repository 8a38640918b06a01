"""The server, without a network: what it lists, what it refuses, and what no address leads to."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from harness import command_serve
from harness.backends.port import MachineError
from harness.outcome import UsageError
from results.report import write_report
from results.store import Run
from results.web import live
from results.web.app import make_app
from results.web.guard import host_of, is_loopback
from results.web.store import Filter, NotFoundError, Store
from tests.reports import EVIL, store_of
from tests.runs import SECOND, small_info

GOOD = "/runs/small/20260102T030405Z-1"
TOKEN = "a-token-that-is-long-enough"


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(app: Any, target: str, method: str = "GET", **headers: str) -> Answer:
    """One request as a server would hand it over: `target` is what stands in the request line."""
    raw, _, query = target.partition("?")
    fields = {"host": "localhost:8765", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": unquote(raw), "raw_path": raw.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(k.encode(), v.encode()) for k, v in fields.items()], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8765),
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()  # the visitor neither sends more nor goes away
        return {}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    head = {k.decode().lower(): v.decode() for k, v in sent[0]["headers"]}
    return Answer(sent[0]["status"], head, b"".join(m.get("body", b"") for m in sent[1:]))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a secret beside it, and links that lead to the secret."""
    base = tmp_path_factory.mktemp("web")
    store = store_of(base / "runs")
    secret = base / "secret" / "deep"
    secret.mkdir(parents=True)
    for name in ("run.json", "verdicts.json", "history.jsonl", "report.html", "trace.jsonl"):
        (secret / name).write_bytes(
            (store / "small" / "20260102T030405Z-1" / name).read_bytes() if name != "report.html" else b"SECRET"
        )
    (store / "small" / "linked").symlink_to(secret)
    (store / "outside").symlink_to(base / "secret")
    run = store / "small" / "20260102T030405Z-9"
    run.mkdir()
    for name in ("run.json", "verdicts.json"):
        (run / name).write_bytes((secret / name).read_bytes())
    (run / "report.html").symlink_to(secret / "report.html")
    (store / "latest").symlink_to("small/20260103T030405Z-2")
    return store


@pytest.fixture(scope="module")
def app(root: Path) -> Any:
    return make_app(root, lambda: 2e9)


# ---------------------------------------------------------------- what it shows
def test_the_list_has_every_run_the_newest_first(app: Any) -> None:
    page = ask(app, "/").text
    names = re.findall(r'href="(/runs/[^"]+)"', page)
    assert names[0] == "/runs/evil/20260105T030405Z-4"
    assert GOOD in names and len(names) == 5
    assert "FAIL fork; UNKNOWN dedup; 2 PASS" in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("scenario=OTH", {"other"}),
        ("backend=sim", {"other"}),
        ("verdict=as+expected", {"small"}),
        ("verdict=unknown&backend=process", set()),
        ("since=2026-01-04", {"other", "evil"}),
        ("since=2026-01-04&until=2026-01-04", {"other"}),
    ],
)
def test_the_list_is_filtered(app: Any, query: str, found: set[str]) -> None:
    assert set(re.findall(r'href="/runs/([^/"]+)/', ask(app, f"/?{query}").text)) == found


def test_pages_of_the_list(tmp_path: Path) -> None:
    for number in range(53):
        directory = tmp_path / "many" / f"run-{number:02}"
        directory.mkdir(parents=True)
        (directory / "run.json").write_bytes(
            msgspec.json.encode(small_info(started_utc=f"2026010{number % 9}T000000Z"))
        )
    app = make_app(tmp_path, lambda: 2e9)
    first, second = ask(app, "/").text, ask(app, "/?page=2").text
    assert first.count('href="/runs/') == 50 and second.count('href="/runs/') == 3
    assert "/?page=2" in first and "/?page=1" in second
    assert ask(app, "/?page=99").text.count('href="/runs/') == 3
    assert ask(app, "/?page=%D9%A3").status == 200  # a digit, but none of ours


def test_a_report_is_sandboxed_and_made_where_there_is_none(app: Any, root: Path) -> None:
    answer = ask(app, f"{GOOD}/report.html")
    assert answer.status == 200 and "small" in answer.text
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")
    assert not (root / "small" / "20260102T030405Z-1" / "report.html").exists()  # nothing is written
    page = ask(app, GOOD)
    assert (
        '<iframe class="report" src="/runs/small/20260102T030405Z-1/report.html" sandbox="allow-scripts"' in page.text
    )


def test_own_pages_have_no_inline_script_and_a_strict_policy(app: Any) -> None:
    compared = "/compare?a=small/20260102T030405Z-1&b=small/20260103T030405Z-2"
    for path in ("/", GOOD, f"{GOOD}/live", "/compare", compared, "/nights", "/runs/evil/20260105T030405Z-4", "/none"):
        answer = ask(app, path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self';" in policy and "frame-ancestors 'none'" in policy
        scripts = re.findall(r"<script([^>]*)>(.*?)</script>", answer.text, flags=re.S)
        assert all("src=" in head or "application/json" in head for head, _ in scripts), path
        assert not re.search(r"\son\w+=", re.sub(r"<script.*?</script>", "", answer.text, flags=re.S)), path
        assert "onerror" not in answer.text or "&lt;img" in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_two_runs_side_by_side(app: Any) -> None:
    page = ask(app, "/compare?a=small/20260102T030405Z-1&b=other/20260104T030405Z-3").text
    for expected in ("heal to first new commit, A", "Latency: ordered", "A p50 284 ms", "differs", "N=20"):
        assert expected in page


def test_latest_leads_to_the_newest(app: Any) -> None:
    answer = ask(app, "/latest")
    assert (answer.status, answer.headers["location"]) == (303, "/runs/evil/20260105T030405Z-4")
    assert ask(make_app(Path(os.devnull).parent / "shm-none", lambda: 0.0), "/latest").status == 404


def test_a_damaged_run_says_what_is_wrong(tmp_path: Path) -> None:
    run = store_of(tmp_path) / "small" / "20260102T030405Z-1"
    with (run / "trace.jsonl").open("ab") as file:
        file.write(b'{"torn')
    answer = ask(make_app(tmp_path, lambda: 2e9), f"{GOOD}/report.html")
    assert answer.status == 422 and "truncated" in answer.text


def test_files_to_save(app: Any) -> None:
    answer = ask(app, f"{GOOD}/files/verdicts.json")
    assert msgspec.json.decode(answer.body)[1]["property"] == "fork"
    assert answer.headers["content-disposition"].startswith("attachment")
    for name in ("trace.jsonl", "node.json", "..%2Frun.json", "report.html", "%2e%2e"):
        assert ask(app, f"{GOOD}/files/{name}").status == 404, name


# ---------------------------------------------------------------- where no address leads
@pytest.mark.parametrize(
    "target",
    [
        "/runs/../secret/report.html",
        "/runs/small/../../secret/deep/report.html",
        "/runs/%2e%2e/secret/report.html",
        "/runs/small/%2e%2e/report.html",
        "/runs/small/%2e%2e%2f%2e%2e%2fsecret%2fdeep/report.html",
        "/runs/small/..%5c..%5csecret/report.html",
        "/runs/small/%252e%252e/report.html",
        "/runs/%2fetc/passwd/report.html",
        "/runs//etc/report.html",
        "/runs/small/linked/report.html",
        "/runs/small/linked",
        "/runs/outside/deep/report.html",
        "/runs/small/20260102T030405Z-9/report.html",
        "/runs/small/20260102T030405Z-9",
        "/runs/small/%00/report.html",
        "/runs/small/.hidden/report.html",
        "/assets/..%2f..%2fstore.py",
        "/assets/app.py",
        "/compare?a=outside/deep&b=small/20260102T030405Z-1",
        "/compare?a=..%2F..%2Fetc&b=small/20260102T030405Z-1",
        "/compare?a=/etc/passwd&b=small/20260102T030405Z-1",
        "/runs/small/" + "x" * 5000 + "/report.html",
    ],
)
def test_nothing_outside_the_store_is_served(app: Any, target: str) -> None:
    answer = ask(app, target)
    assert answer.status == 404
    assert b"SECRET" not in answer.body and b"root:" not in answer.body


def test_links_are_not_listed(app: Any) -> None:
    page = ask(app, "/").text
    assert "linked" not in page and "outside" not in page


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(app: Any, method: str) -> None:
    assert ask(app, GOOD, method).status == 405


def test_what_a_run_says_is_text(app: Any) -> None:
    for path in ("/runs/evil/20260105T030405Z-4", "/runs/evil/20260105T030405Z-4/report.html",
                 "/compare?a=evil/20260105T030405Z-4&b=small/20260102T030405Z-1"):  # fmt: skip
        page = ask(app, path).text
        assert EVIL not in page and "<img src=x" not in page, path


# ---------------------------------------------------------------- who may look
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "localhost.evil.example", "127.0.0.1.evil", ""])
def test_without_a_token_only_loopback_names_are_answered(app: Any, host: str) -> None:
    assert ask(app, "/", host=host).status == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "[::1]:8765", "LOCALHOST", "127.3.2.1"])
def test_loopback_names(app: Any, host: str) -> None:
    assert is_loopback(host_of(host))
    assert ask(app, "/", host=host).status == 200


def test_with_a_token_every_page_asks_for_it(root: Path) -> None:
    app = make_app(root, lambda: 2e9, TOKEN)
    for path in ("/", GOOD, f"{GOOD}/report.html", f"{GOOD}/live.json", "/nights", "/nothing"):
        for headers in (
            {},
            {"cookie": "moonquake=wrong"},
            {"authorization": f"Bearer {TOKEN}x"},
            {"cookie": f"moonquake={TOKEN}"},
        ):
            answer = ask(app, path, **headers)
            assert answer.status == 401 and b"small" not in answer.body, (path, headers)
    assert ask(app, "/?token=wrong").status == 401
    for host in ("localhost/assets/", "localhost/assets/?", "x@localhost/assets/#"):  # no part of the address
        assert ask(app, GOOD, host=host).status == 401
    assert ask(app, "/assets/style.css").status == 200
    assert ask(app, "/", host="lab.example:80", authorization=f"Bearer {TOKEN}").status == 200


def test_the_token_becomes_a_cookie_that_no_script_reads(root: Path) -> None:
    app = make_app(root, lambda: 2e9, TOKEN)
    answer = ask(app, f"/compare?a=x&token={TOKEN}")
    assert (answer.status, answer.headers["location"]) == (303, "/compare?a=x")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    assert ask(app, "/", cookie=cookie.partition(";")[0]).status == 200
    assert ask(app, f"//evil.example/?token={TOKEN}").headers["location"] == "/evil.example/"


def test_a_token_is_made_where_others_can_listen() -> None:
    assert command_serve._token("127.0.0.1", "") == command_serve._token("::1", "") == ""
    made = {command_serve._token(host, "") for host in ("0.0.0.0", "192.0.2.1", "lab.example")}
    assert len(made) == 3 and all(len(token) >= 32 for token in made)
    assert command_serve._token("127.0.0.1", TOKEN) == TOKEN
    with pytest.raises(UsageError, match="needs 16"):
        command_serve._token("127.0.0.1", "short")


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MachineError, match=f"port {port}: .*--port"):
            command_serve._listen("127.0.0.1", port)


# ---------------------------------------------------------------- live runs and nights
def test_states_of_a_run_without_an_end(tmp_path: Path) -> None:
    directory = tmp_path / "small" / "now"
    directory.mkdir(parents=True)
    (directory / "run.json").write_bytes(msgspec.json.encode(small_info(incomplete="the harness was killed")))
    touched = (directory / "run.json").stat().st_mtime
    states = {age: Store(tmp_path, lambda age=age: touched + age).entries()[0].state for age in (1.0, 3600.0)}  # type: ignore[misc]
    assert states == {1.0: "running", 3600.0: "broken off"}
    app = make_app(tmp_path, lambda: touched)
    assert msgspec.json.decode(ask(app, "/runs/small/now/live.json").body)["over"] is False
    assert ask(app, "/runs/small/now").headers["location"] == "/runs/small/now/live"
    late = make_app(tmp_path, lambda: touched + 3600)
    assert "no whole records" in ask(late, "/runs/small/now").text
    assert msgspec.json.decode(ask(late, "/runs/small/now/live.json").body)["over"] is True
    (directory / "run.json").write_bytes(msgspec.json.encode(small_info()))  # being judged, for as long as it takes
    late = make_app(tmp_path, lambda: touched + 7200)
    assert "has not been judged yet" in ask(late, "/runs/small/now").text
    assert msgspec.json.decode(ask(late, "/runs/small/now/live.json").body)["over"] is False


def test_a_snapshot_reads_the_ends_of_files_and_leaves_out_half_a_line(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(small_info(incomplete="running", byzantine=["n1"])))
    data = tmp_path / "nodes" / "n0" / "data"
    data.mkdir(parents=True)
    line = (
        b'{"time":%d,"node":"n0","incarnation":0,"event":"finalise","height":%d,"view":3,"pad":"' + b"x" * 400 + b'"}\n'
    )
    with (data / "trace.jsonl").open("wb") as file:
        for height in range(2000):
            file.write(line % (height * 1_000_000, height))
        file.write(b'{"time":99')
    (tmp_path / "history.jsonl").write_bytes(
        b'{"index":0,"time":1,"process":"nemesis","type":"info","f":"start","value":{"id":1,"use":"crash"}}\n'
        b'{"index":1,"time":2,"process":3,"type":"ok","f":"txn","value":[1]}\nnot json\n{"index'
    )
    found = live.snapshot(tmp_path)
    nodes = {node["node"]: node for node in found["nodes"]}
    assert nodes["n0"]["height"] == 1999 and nodes["n1"]["height"] == -1 and nodes["n1"]["byzantine"]
    assert nodes["n0"]["points"][-1] == [1.999, 1999] and len(nodes["n0"]["points"]) <= 2 * live.MAX_POINTS
    assert (found["active"], found["operations"], found["seconds"]) == (["crash"], {"ok": 1}, 1.999)


def test_a_snapshot_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_bytes(msgspec.json.encode(small_info(incomplete="running")))
    secret = tmp_path / "secret.jsonl"
    secret.write_bytes(b'{"index":0,"time":1,"process":1,"type":"ok","f":"SECRET","value":1}\n')
    (tmp_path / "run" / "history.jsonl").symlink_to(secret)
    assert live.snapshot(tmp_path / "run")["recent"] == []


def test_the_trend_of_nights(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    for number, exit_code in enumerate((0, 1)):
        night = root / "nights" / f"2026010{number + 1}T000000Z"
        night.mkdir(parents=True)
        document = {"exit": exit_code, "runs": 1000 + number, "failures": [EVIL] * number, "flakes": 0, "backend": EVIL}
        (night / "summary.json").write_bytes(msgspec.json.encode(document))
    (night / "night.html").write_text("the night's own page")
    (root / "nights" / "broken").mkdir()
    (root / "nights" / "broken" / "summary.json").write_text("{")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "night.html").write_text("SECRET")
    (root / "nights" / "linked").symlink_to(tmp_path / "secret")
    app = make_app(root, lambda: 0.0)
    page = ask(app, "/nights").text
    for expected in ("N = 2 nights", "1,001", "FAILURES", "2026-01-01 00:00:00 UTC"):
        assert expected in page
    assert EVIL not in page and page.count("night.html") == 1
    answer = ask(app, "/pages/nights/20260102T000000Z/night.html")
    assert answer.text == "the night's own page" and "sandbox" in answer.headers["content-security-policy"]
    for name in ("20260101T000000Z", "linked", "..", "%2e%2e%2fsecret", "broken"):
        assert ask(app, f"/pages/nights/{name}/night.html").status == 404
    for target in (
        "nights/20260102T000000Z/summary.json",
        "%2e%2e/secret/night.html",
        "x/" + "y" * 999 + "/night.html",
    ):
        assert ask(app, f"/pages/{target}").status == 404
    deep = root / "frontier" / "equivocate" / "20260102T000000Z"
    deep.mkdir(parents=True)
    (deep / "frontier.html").write_text("a frontier")
    assert ask(app, "/pages/frontier/equivocate/20260102T000000Z/frontier.html").text == "a frontier"
    (deep / "frontier.html").unlink()
    listed = re.findall(r'href="(/pages/[^"]+)"', ask(app, "/pages").text)
    assert listed == ["/pages/nights/20260102T000000Z/night.html"]
    assert "No night has been recorded" in ask(make_app(root / "nights", lambda: 0.0), "/nights").text


def test_locating_a_run(root: Path) -> None:
    store = Store(root, lambda: 0.0)
    found = store.locate("small", "20260102T030405Z-1")
    assert Run(found).info.name == "small" and found.is_relative_to(root)
    with pytest.raises(NotFoundError):
        store.locate("small", "nothing")
    assert Filter().takes(store.entries()[0])
    assert Run(found).history[0].time == SECOND


def test_a_report_that_was_written_is_served_as_it_is(tmp_path: Path) -> None:
    run = Run(store_of(tmp_path) / "small" / "20260102T030405Z-1")
    written = write_report(run).read_bytes()
    assert ask(make_app(tmp_path, lambda: 2e9), f"{GOOD}/report.html").body == written
