"""Pages as people see them: reports from disk, the served store, a live run; at two widths, light and dark."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import expect

from results.report import write_report
from results.report.campaign import write_campaign
from results.report.page import SEQUENCE
from results.report.sequence import Chart, Lifeline, Mark, draw
from results.report.teeth import write_teeth
from results.report.theme import COLOURS
from results.store import Run
from tests.browser.conftest import QUIET_MS, WIDTHS, Open, Server, until
from tests.reports import campaign, run_of, teeth
from tests.runs import small_info

pytestmark = pytest.mark.browser
SMALL, TWIN, EVIL = "small/20260102T030405Z-1", "small/20260103T030405Z-2", "evil/20260105T030405Z-4"
LATENCY = "document.getElementById('latency').data[0].line.color"
TOKEN = "a-token-that-is-long-enough"
expect.set_options(timeout=QUIET_MS)


@pytest.fixture(scope="module")
def report(store: Path) -> Path:
    """The report of the hostile run, on disk."""
    return write_report(Run(store / EVIL))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_report_from_disk(opened: Open, report: Path, pictures: Path, width: int) -> None:
    watched = opened(report.as_uri(), width)
    page = watched.go(report.as_uri())
    assert page.locator(".chart .main-svg").count() >= 3
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src='x']").count() == 0
    assert page.locator("article img").evaluate("image => image.naturalWidth") > 300  # the sequence chart is drawn
    first = next(iter(COLOURS))
    for scheme, colour in (("light", first), ("dark", COLOURS[first])):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        until(page, f"{LATENCY} === '{colour}'")  # drawn in the reader's colours
        assert watched.fits()
        page.screenshot(path=pictures / f"report-{width}-{scheme}.png", full_page=True)
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    until(page, f"{LATENCY} === '{first}'")  # paper is white
    assert page.evaluate("document.getElementById('timeline')._fullLayout.width") == 680
    assert page.locator("details pre").first.is_visible()  # what is folded on screen is not on paper
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0


def test_a_campaign_from_disk(opened: Open, tmp_path: Path, pictures: Path) -> None:
    url = write_campaign(tmp_path, campaign()).as_uri()
    for width, scheme in ((1280, "dark"), (400, "light")):
        watched = opened(url, width, scheme)
        page = watched.go(url)
        assert page.locator(".chart .main-svg").count() >= 2
        assert page.evaluate("window.hacked") is None and watched.fits()
        page.screenshot(path=pictures / f"campaign-{width}-{scheme}.png", full_page=True)


IN_ITS_BOX = "image => [image.getBoundingClientRect().width, image.parentElement.clientWidth, image.naturalWidth]"


def test_a_sequence_chart_shows_whole_up_to_eight_lifelines(opened: Open, tmp_path: Path) -> None:
    """As wide as the page at most, and in proportion; a wider one, and any on a telephone, scrolls in its box."""
    for lifelines, whole in ((8, True), (9, False)):
        run = run_of(tmp_path / f"of-{lifelines}" / "20260102T030405Z-1")
        lives = [Lifeline(f"n{i}", role="honest") for i in range(lifelines)]
        chart = Chart("shrunk", lives, [], [Mark(1_000_000, "n0", "FINALISES A", "aa", True)])
        (run.directory / SEQUENCE).write_text(draw(chart))
        url = write_report(run).as_uri()
        for width in WIDTHS:
            watched = opened(url, width)
            image = watched.go(url).locator("img[alt='message-sequence chart of the shrunk violation']")
            assert watched.fits()
            shown, box, natural = image.evaluate(IN_ITS_BOX)
            assert natural > box  # else there is nothing to shrink
            if whole and width > 600:
                assert shown <= box
                ratio = image.evaluate("i => (i.clientWidth / i.clientHeight) / (i.naturalWidth / i.naturalHeight)")
                assert ratio == pytest.approx(1, abs=0.01)
            else:
                assert shown == natural


def test_the_kill_matrix_gives_room_to_what_a_mutant_breaks(opened: Open, tmp_path: Path, pictures: Path) -> None:
    url = write_teeth(tmp_path, teeth()).as_uri()
    for width, scheme in ((1280, "light"), (400, "dark")):
        watched = opened(url, width, scheme)
        page = watched.go(url)
        assert watched.fits()  # the matrix scrolls in its own box
        cell = page.locator(".matrix td.breaks").first
        wide, cut = cell.evaluate("td => [td.clientWidth, td.scrollWidth > td.clientWidth]")
        assert wide >= 200 and not cut
        box = page.locator(".scroll:has(.matrix)")
        scrolls = box.evaluate("box => box.scrollWidth > box.clientWidth")
        assert scrolls is (width < 600)
        box.evaluate("box => { box.scrollLeft = 300 }")
        left = "element => element.getBoundingClientRect().left"
        assert page.locator(".matrix tbody th").first.evaluate(left) == pytest.approx(box.evaluate(left), abs=1)
        page.screenshot(path=pictures / f"teeth-{width}-{scheme}.png", full_page=True)


def test_zooming_moves_heights_views_and_lanes_together(opened: Open, report: Path) -> None:
    page = opened(report.as_uri()).go(report.as_uri())
    before = page.evaluate("document.getElementById('timeline')._fullLayout.xaxis.range")
    box = page.locator("#timeline .nsewdrag").first.bounding_box()
    assert box is not None
    page.locator("#timeline").scroll_into_view_if_needed()
    box = page.locator("#timeline .nsewdrag").first.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.3, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, y, steps=4)
    page.mouse.up()
    until(page, f"document.getElementById('timeline')._fullLayout.xaxis.range[0] > {before[0]} + 0.5")
    shared = "Object.keys(document.getElementById('timeline')._fullLayout).filter(key => /^xaxis/.test(key)).length"
    assert page.evaluate(shared) == 1


def test_list_filter_and_report_in_its_frame(opened: Open, server: Server, pictures: Path) -> None:
    for width, scheme in ((1280, "light"), (400, "dark")):
        watched = opened(server.url, width, scheme)
        page = watched.go(server.url)
        expect(page.locator("#runs tbody tr")).to_have_count(4)
        page.screenshot(path=pictures / f"list-{width}-{scheme}.png", full_page=True)
        page.get_by_label("verdict").select_option("as expected")
        page.get_by_role("button", name="filter").click()
        expect(page.locator("#runs tbody tr")).to_have_count(1)
        assert watched.fits()
    page.get_by_role("link", name="small").click()
    frame = page.frame_locator("iframe.report")
    expect(frame.locator("h1")).to_contain_text("small")
    inner = page.frames[1]
    inner.wait_for_selector("html[data-painted=yes]", state="attached")
    assert inner.evaluate("self.origin") == "null"  # an origin of its own: it reaches nothing of the server's
    reach = "() => { try { return parent.document.title } catch (error) { return error.name } }"
    assert inner.evaluate(reach) == "SecurityError"
    page.screenshot(path=pictures / "run-400-dark.png")


def test_two_runs_compared(opened: Open, server: Server, pictures: Path) -> None:
    for width, scheme in ((1280, "dark"), (400, "light")):
        watched = opened(server.url, width, scheme)
        page = watched.go(server.url)
        page.get_by_label(f"A: {SMALL}").check()
        page.get_by_label(f"B: {TWIN}").check()
        page.get_by_role("button", name="compare A with B").click()
        page.wait_for_selector("html[data-painted=yes]", state="attached")
        expect(page.locator("#latency1 .legendtext")).to_have_text(["A (N=20)", "B (N=20)"])
        assert watched.fits()
        page.screenshot(path=pictures / f"compare-{width}-{scheme}.png", full_page=True)


def test_a_live_run_is_followed_to_its_end(opened: Open, server: Server, store: Path, pictures: Path) -> None:
    directory = store / "lab" / "20260106T030405Z-5"
    data = directory / "nodes" / "n0" / "data"
    data.mkdir(parents=True)
    info = small_info(name="lab", incomplete="the harness was killed", started_utc="20260106T030405Z")
    (directory / "run.json").write_bytes(msgspec.json.encode(info))
    _grow(data / "trace.jsonl", range(1, 6))
    watched = opened(server.url, 400)
    page = watched.go(f"{server.url}/runs/{directory.parent.name}/{directory.name}")
    assert page.url.endswith("/live")
    expect(page.locator("#state")).to_have_text("running")
    expect(page.locator("#nodes tr").first.locator("td").first).to_have_text("5")
    _grow(data / "trace.jsonl", range(6, 12))
    (directory / "history.jsonl").write_bytes(
        b'{"index":0,"time":1,"process":"nemesis","type":"info","f":"start","value":{"id":1,"use":"<b>crash</b>"}}\n'
    )
    expect(page.locator("#nodes tr").first.locator("td").first).to_have_text("11")
    expect(page.locator("#faults")).to_have_text("faults on: <b>crash</b>")
    assert page.evaluate("document.getElementById('heights').data[0].y.at(-1)") == 11
    assert watched.fits()
    page.screenshot(path=pictures / "live-400-light.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=pictures / "live-1280-dark.png", full_page=True)
    for name in ("verdicts.json", "trace.jsonl"):
        shutil.copy(store / SMALL / name, directory / name)
    (directory / "run.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(info, incomplete="")))
    expect(page.locator("#state")).to_have_text("as expected")
    page.get_by_role("link", name="open the report").click()
    expect(page.frame_locator("iframe.report").locator("h1")).to_contain_text("lab")


def _grow(path: Path, heights: range) -> None:
    with path.open("a") as file:
        for height in heights:
            event = {
                "time": height * 200_000_000,
                "node": "n0",
                "incarnation": 0,
                "event": "finalise",
                "height": height,
            }
            file.write(msgspec.json.encode(event).decode() + "\n")


def test_a_token_is_asked_for_once(opened: Open, store: Path, pictures: Path) -> None:
    guarded = Server(store, TOKEN)
    try:
        watched = opened(guarded.url, 400)
        page = watched.page
        page.goto(guarded.url)
        expect(page.locator("h1")).to_have_text("Not shown")
        assert len(watched.wrong) == 1 and "401" in watched.wrong.pop()  # the browser logs the answer
        page.screenshot(path=pictures / "refused-400-light.png")
        page.get_by_label("token").fill(TOKEN)
        page.get_by_role("button").click()
        expect(page.locator("h1")).to_have_text("Runs")
        assert TOKEN not in page.url
        [cookie] = page.context.cookies()
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and cookie["value"] != TOKEN
        page.goto(f"{guarded.url}/runs/{SMALL}")
        expect(page.frame_locator("iframe.report").locator("h1")).to_contain_text("small")  # the frame is let in too
    finally:
        guarded.close()
