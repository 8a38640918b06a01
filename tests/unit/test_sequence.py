"""The sequence chart: well-formed, escaped, self-contained, later is lower."""

from __future__ import annotations

from xml.etree import ElementTree

from results.report.sequence import Arrow, Band, Chart, Lifeline, Mark, draw, letters

EVIL = '"><script>alert(1)</script>&'
MS = 1_000_000


def chart(**fields: object) -> Chart:
    base: dict[str, object] = {
        "title": f"fork {EVIL}",
        "lifelines": [Lifeline("n0", role="honest"), Lifeline("n1", True), Lifeline(EVIL)],
        "arrows": [
            Arrow(10 * MS, 60 * MS, "n0", "n1", "proposal", "aa", EVIL),
            Arrow(60 * MS, None, "n1", "n0", "vote", "bb"),
            Arrow(60 * MS, 70 * MS, "n1", "nobody", "vote", "bb"),
        ],
        "marks": [
            Mark(60 * MS, "n1", "votes B", "bb"),
            Mark(5000 * MS, "n0", f"FINALISES {EVIL}", "aa", True),
            Mark(60 * MS, "nobody", "is not drawn"),
        ],
        "bands": [Band(0, 10_000 * MS, EVIL), Band(20 * MS, 30 * MS, "in between")],
        "subjects": letters(["aa", "bb", "aa"]),
        "notes": [EVIL, "second"],
    }
    return Chart(**{**base, **fields})  # type: ignore[arg-type]


def texts(root: ElementTree.Element) -> dict[str, float]:
    return {"".join(node.itertext()): float(node.get("y", "0")) for node in root.iter() if node.tag.endswith("}text")}


def test_it_is_one_escaped_document_that_refers_to_nothing() -> None:
    text = draw(chart())
    root = ElementTree.fromstring(text)
    assert not [node for node in root.iter() if node.tag.endswith("}script")]
    assert "<script" not in text
    assert "href" not in text and "url(" not in text and "@import" not in text
    assert "prefers-color-scheme: dark" in text
    title = next(node for node in root if node.tag.endswith("}title"))
    assert title.text == f"fork {EVIL}"
    assert root.get("role") == "img"


def test_time_runs_downwards_and_a_long_pause_is_folded() -> None:
    found = texts(ElementTree.fromstring(draw(chart())))
    times = [found[name] for name in ("10 ms", "60 ms", "5,000 ms")]
    assert times == sorted(times)
    assert times[2] - times[1] < 200
    assert found["votes B"] > found["60 ms"] - 5
    assert "is not drawn" not in found


def test_what_stands_out() -> None:
    root = ElementTree.fromstring(draw(chart()))
    classes = [node.get("class", "") for node in root.iter()]
    assert sum("head byz" in name for name in classes) == 1
    assert sum("dot strong" in name for name in classes) == 1
    assert sum(name == "band" for name in classes) == 2
    assert sum(name == "cross" for name in classes) == 2  # the stopped message, and the legend
    assert sum("arrow" in name for name in classes) == 2 + 2  # two messages between lifelines, two in the legend


def test_an_empty_chart_is_a_chart() -> None:
    root = ElementTree.fromstring(draw(chart(arrows=[], marks=[], bands=[], subjects={}, notes=[])))
    assert "n0" in texts(root)


def test_letters() -> None:
    assert letters(["x", "y", "x"]) == {"x": "A", "y": "B"}
