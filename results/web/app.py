"""The application: what is asked for under which address. Handlers run in threads: pages of large runs take seconds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from plotly.offline import get_plotlyjs
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from results.history import HistoryError
from results.report.page import render
from results.report.theme import asset, page
from results.store import Run
from results.web import compare as comparison
from results.web import live, nights
from results.web.guard import REPORT, Guard
from results.web.store import STATES, Filter, NotFoundError, Store

PER_PAGE = 50
GOING_ON = ("running", "not judged")  # judging a long run takes longer than its files keep still
SANDBOXED = {"content-security-policy": REPORT, "x-frame-options": "SAMEORIGIN"}
PACKAGE = "results.web"
ASSETS = {
    "style.css": ("results.report", "text/css"),
    "paint.js": ("results.report", "text/javascript"),
    "serve.css": (PACKAGE, "text/css"),
    "live.js": (PACKAGE, "text/javascript"),
}
FILES = ("run.json", "verdicts.json", "history.jsonl", "story.md", "shrunk.toml", "scenario.toml")


def make_app(root: Path, now: Callable[[], float], token: str = "") -> Starlette:
    """The application over the run store `root`. `now`: wall-clock seconds. `token` "": none is asked for."""
    site = _Site(Store(root, now))
    routes = [
        Route("/", site.listed),
        Route("/latest", site.latest),
        Route("/nights", site.nights),
        Route("/pages", site.pages),
        Route("/pages/{place:path}/{file}", site.page),
        Route("/compare", site.compare),
        Route("/runs/{scenario}/{name}", site.run),
        Route("/runs/{scenario}/{name}/report.html", site.report),
        Route("/runs/{scenario}/{name}/live", site.live),
        Route("/runs/{scenario}/{name}/live.json", site.live_json),
        Route("/runs/{scenario}/{name}/files/{file}", site.file),
        Route("/assets/{file}", site.asset),
    ]
    errors: dict[Any, Any] = {NotFoundError: _not_found, 404: _not_found, HistoryError: _damaged}
    return Starlette(
        routes=routes, middleware=[Middleware(Guard, token=token, refuse=refusal)], exception_handlers=errors
    )


def _page(template: str, status: int = 200, **context: Any) -> HTMLResponse:
    return HTMLResponse(page(template, linked=True, package=PACKAGE, **context), status)


def refusal(status: int, why: str) -> str:
    """The page for somebody who may not see any."""
    return page(
        "refused.html", title="Not shown", kicker="run store", linked=True, package=PACKAGE, why=why, ask=status == 401
    )


def _not_found(request: Request, error: Exception) -> Response:
    del request
    text = str(error) if isinstance(error, NotFoundError) else "there is no such page"
    return _page("error.html", 404, title="Not found", kicker="run store", why=f"{text}.")


def _damaged(request: Request, error: Exception) -> Response:
    del request
    return _page("error.html", 422, title="Cannot be shown", kicker="run store", why=str(error))


class _Site:
    """The pages."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _found(self, request: Request) -> tuple[str, str, Path]:
        scenario, name = request.path_params["scenario"], request.path_params["name"]
        return scenario, name, self._store.locate(scenario, name)

    # ------------------------------------------------------------ the list
    def listed(self, request: Request) -> Response:
        """All runs that the filter takes, fifty a page."""
        wanted = Filter(**{name: request.query_params.get(name, "") for name in Filter.__struct_fields__})
        entries = self._store.entries()
        taken = [entry for entry in entries if wanted.takes(entry)]
        number = _number(request.query_params.get("page", "1"), 1, max(1, -(-len(taken) // PER_PAGE)))
        fields = {key: value for key, value in msgspec.to_builtins(wanted).items() if value}
        links = {step: "/?" + urlencode({**fields, "page": number + step}) for step in (-1, 1)}
        return _page(
            "list.html",
            title="Runs",
            kicker="run store",
            entries=[(entry, address(*entry.key)) for entry in taken[(number - 1) * PER_PAGE : number * PER_PAGE]],
            total=len(entries),
            taken=len(taken),
            number=number,
            back=links[-1] if number > 1 else "",
            on=links[1] if number * PER_PAGE < len(taken) else "",
            wanted=wanted,
            states=STATES,
            backends=sorted({entry.brief.backend for entry in entries}),
        )

    def latest(self, request: Request) -> Response:
        """To the newest run."""
        del request
        return RedirectResponse(address(*self._store.latest()), 303)

    # ------------------------------------------------------------ one run
    def run(self, request: Request) -> Response:
        """The report in its frame; a run that is still on is shown live."""
        scenario, name, directory = self._found(request)
        entry = self._store.entry(directory)
        if entry is None:
            raise NotFoundError("no such run")
        if entry.state == "running":
            return RedirectResponse(f"{address(scenario, name)}/live", 303)
        files = [file for file in FILES if _own(directory / file)]
        return _page(
            "run.html", title=entry.brief.name, kicker=name, entry=entry, base=address(scenario, name), files=files,
            key=f"{scenario}/{name}",
        )  # fmt: skip

    def report(self, request: Request) -> Response:
        """The run's report, sandboxed; made in memory if the run has none."""
        _, _, directory = self._found(request)
        path = directory / "report.html"
        if path.is_file():
            return FileResponse(path, media_type="text/html; charset=utf-8", headers=SANDBOXED)
        return HTMLResponse(render(Run(directory)), headers=SANDBOXED)

    def file(self, request: Request) -> Response:
        """One of the run's own files, to save."""
        _, name, directory = self._found(request)
        file = request.path_params["file"]
        if file not in FILES or not _own(directory / file):
            raise NotFoundError("no such file")
        return FileResponse(directory / file, media_type="application/octet-stream", filename=f"{name}-{file}")

    def live(self, request: Request) -> Response:
        """The run while it is on."""
        scenario, name, _ = self._found(request)
        return _page("live.html", title=scenario, kicker=f"live · {name}", base=address(scenario, name))

    def live_json(self, request: Request) -> Response:
        """What the live page asks for every second."""
        _, _, directory = self._found(request)
        entry = self._store.entry(directory)
        state = entry.state if entry else "broken off"
        body = msgspec.json.encode({**live.snapshot(directory), "state": state, "over": state not in GOING_ON})
        return Response(body, media_type="application/json")

    # ------------------------------------------------------------ several runs
    def compare(self, request: Request) -> Response:
        """Two runs side by side; without both, how to choose them."""
        chosen = [request.query_params.get(letter, "") for letter in ("a", "b")]
        if not all(chosen):
            entries = self._store.entries()[:500]
            return _page("choose.html", title="Compare two runs", kicker="run store", entries=entries, chosen=chosen)
        keys = [tuple(key.split("/", 1)) if "/" in key else ("", "") for key in chosen]
        runs = [Run(self._store.locate(*key)) for key in keys]
        a, b = runs
        return _page(
            "compare.html",
            title="Two runs",
            kicker="compare",
            runs=[("/".join(key), address(*key)) for key in keys],
            swapped="/compare?" + urlencode({"a": chosen[1], "b": chosen[0]}),
            facts=comparison.fact_rows(a, b),
            verdicts=comparison.verdict_rows(a, b),
            recovery=comparison.recovery_rows(a, b),
            figures=comparison.figures(a, b),
        )

    def nights(self, request: Request) -> Response:
        """The trend."""
        del request
        found = nights.read(self._store.root)
        rows = nights.rows(found, self._store.pages())
        return _page("nights.html", title="Nights", kicker="trend", figures=nights.figures(found), rows=rows)

    def pages(self, request: Request) -> Response:
        """The pages about many runs: campaigns, frontiers, nights, mutants, claims."""
        del request
        pages = [
            (place, file.removesuffix(".html"), f"/pages/{quote(place)}/{file}") for place, file in self._store.pages()
        ]
        return _page("pages.html", title="Pages about many runs", kicker="run store", pages=pages)

    def page(self, request: Request) -> Response:
        """One of them, sandboxed."""
        path = self._store.page(request.path_params["place"], request.path_params["file"])
        return FileResponse(path, media_type="text/html; charset=utf-8", headers=SANDBOXED)

    # ------------------------------------------------------------ assets
    def asset(self, request: Request) -> Response:
        """Style sheets and scripts."""
        file = request.path_params["file"]
        if file == "plotly.js":
            return Response(
                _plotly(), media_type="text/javascript", headers={"cache-control": "private, max-age=86400"}
            )
        if file not in ASSETS:
            raise NotFoundError("there is no such page")
        package, kind = ASSETS[file]
        return Response(asset(file, package), media_type=kind)


def address(scenario: str, name: str) -> str:
    """Where a run's page is."""
    return f"/runs/{quote(scenario, safe='')}/{quote(name, safe='')}"


def _own(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _number(text: str, low: int, high: int) -> int:
    return min(max(int(text), low), high) if text.isascii() and text.isdigit() and len(text) < 9 else low


@cache
def _plotly() -> bytes:
    return get_plotlyjs().encode()  # type: ignore[no-any-return]
