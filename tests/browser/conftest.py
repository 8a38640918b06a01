"""A Chromium, a server over a small store, and a page that notices whatever goes wrong on it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from harness.provision.browser import find_browser
from results.web.app import make_app
from tests.reports import store_of

WIDTHS = (1280, 400)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]  # root in a container has no sandbox to use
QUIET_MS = 300_000  # machines are shared: nothing here measures speed
SETTLED = """async () => {
  await document.fonts.ready;
  await Promise.all([...document.images].map(image => image.decode().catch(() => null)));
  for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
}"""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The system's Chromium, headless. Ended with this package: an open Playwright is a running event loop."""
    path = find_browser()
    if path is None:
        pytest.skip("2026-11-25: no Chromium on this machine; `moonquake doctor --fix --browser` installs it")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


class Watched:
    """A page of the browser that keeps everything that went wrong: errors, and requests to anywhere else."""

    def __init__(self, context: BrowserContext, allowed: str) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(QUIET_MS)
        self.wrong: list[str] = []
        self._allowed = allowed
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self._note(request.url))

    def _note(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and not url.startswith(self._allowed):
            self.wrong.append(f"asked for {url}")

    def go(self, url: str) -> Page:
        """Open it, and wait until its charts are drawn."""
        self.page.goto(url)
        if self.page.query_selector("script.figure"):
            self.page.wait_for_selector("html[data-painted=yes]", state="attached")
        return self.page

    def fits(self) -> bool:
        """Is nothing wider than the window, once style, fonts and images are there, and what they move has moved?"""
        self.page.wait_for_load_state("load")
        self.page.evaluate(SETTLED)
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def until(page: Page, condition: str) -> None:
    """Wait until an expression is true. (`wait_for_function` evaluates text in the page, which its policy forbids.)"""
    for _ in range(QUIET_MS // 50):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {condition}")


Open = Callable[..., Watched]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Makes watched pages: opened(allowed, width=..., scheme=...). Nothing may have gone wrong on any at the end."""
    made: list[tuple[BrowserContext, Watched]] = []

    def make(allowed: str, width: int = 1280, scheme: str = "light") -> Watched:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        watched = Watched(context, allowed)
        made.append((context, watched))
        return watched

    yield make
    wrong = [line for _, watched in made for line in watched.wrong]
    for context, _ in made:
        context.close()
    assert wrong == []


class Server:
    """A served store, in a thread of this process."""

    def __init__(self, root: Path, token: str = "") -> None:
        self.root = root
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        app = make_app(root, lambda: 0.0, token)  # a clock by which no run's files have been still for long
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait for it."""
        self._server.should_exit = True
        self._thread.join(QUIET_MS / 1000)
        assert not self._thread.is_alive()


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of tests.reports."""
    return store_of(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="package")
def server(store: Path) -> Iterator[Server]:
    """It, served."""
    running = Server(store)
    yield running
    running.close()


@pytest.fixture(scope="package")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go."""
    return tmp_path_factory.mktemp("screenshots")
