"""The look of pages for every eye: contrast, colour-blindness, paper; verdicts differ by word and shape, never by
colour alone."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from results.report import campaign, claims, frontier, night, sequence, words
from results.report.page import render
from results.report.theme import COLOURS, asset
from results.verdict import Status
from tests.reports import run_of

# G. M. Machado, M. M. Oliveira, L. A. F. Fernandes: A Physiologically-based Model for Simulation of Color Vision
# Deficiency (IEEE TVCG 15(6), 2009): severity 1.0, for linear RGB.
BLIND = {
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900],
    ],
}  # fmt: skip
APART = 14.0  # CIELAB; 2.3 is what an eye can just tell side by side
# sRGB to XYZ (IEC 61966-2-1), white of D65.
XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
WHITE = [0.95047, 1.0, 1.08883]
Vector = NDArray[np.float64]


def linear(colour: str) -> Vector:
    """Linear RGB of #rrggbb."""
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb: Vector) -> Vector:
    """CIELAB of linear RGB."""
    x, y, z = (np.array(XYZ) @ np.clip(rgb, 0, 1)) / np.array(WHITE)
    fx, fy, fz = (np.cbrt(t) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29 for t in (x, y, z))
    return np.array([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])


def distance(a: str, b: str, eyes: str) -> float:
    """Of two colours as those eyes see them."""
    seen = [lab(np.array(BLIND[eyes]) @ linear(colour)) for colour in (a, b)]
    return float(np.linalg.norm(seen[0] - seen[1]))


def luminance(colour: str) -> float:
    return float(np.array(XYZ[1]) @ linear(colour))


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def schemes() -> list[dict[str, str]]:
    """The style sheet's variables, light and dark, with short colours written out."""
    blocks = re.findall(r":root\s*\{([^}]*)\}", asset("style.css"))
    found = [dict(re.findall(r"--(\w+):\s*(#\w+)", block)) for block in blocks if "--" in block]
    return [{k: "#" + "".join(2 * c for c in v[1:]) if len(v) == 4 else v for k, v in one.items()} for one in found]


def test_texts_and_charts_have_the_contrast_that_wcag_asks() -> None:
    for number, scheme in enumerate(schemes()):
        for ink, papers in (
            ("ink", ("paper", "card")), ("soft", ("paper", "card")), ("link", ("paper", "card")),
            ("pass", ("passbg",)), ("fail", ("failbg",)), ("unknown", ("unknownbg",)),
        ):  # fmt: skip
            for paper in papers:
                assert contrast(scheme[ink], scheme[paper]) >= 4.5, (number, ink, paper)
        for pair in COLOURS.items():
            assert contrast(pair[number], scheme["paper"]) >= 3.0, (number, pair)


def test_the_distance_is_the_one_of_the_books() -> None:
    assert lab(np.ones(3)) == pytest.approx([100, 0, 0], abs=0.02)
    assert lab(linear("#ff0000")) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    assert distance("#ff0000", "#00ff00", "none") > 150
    red_and_green = distance("#d62728", "#2ca02c", "deuteranopia"), distance("#d62728", "#2ca02c", "none")
    assert red_and_green[0] < red_and_green[1] / 4, "what is told apart by red and green alone is nearly one colour"


@pytest.mark.parametrize("eyes", BLIND)
@pytest.mark.parametrize("page", ["light", "dark"])
def test_colours_of_charts_are_apart_for_every_eye(eyes: str, page: str) -> None:
    colours = list(COLOURS) if page == "light" else list(COLOURS.values())
    found = {(a, b): distance(a, b, eyes) for a, b in combinations(colours, 2)}
    nearest = min(found, key=lambda pair: found[pair])
    assert found[nearest] >= APART, (nearest, found[nearest])


def test_verdicts_differ_by_word_and_by_shape() -> None:
    shapes = dict(re.findall(r"\.badge\.(\w+) \{ --shape: \"(.) \"", asset("style.css")))
    assert set(shapes) == {"pass", "fail", "unknown"} and len(set(shapes.values())) == 3
    assert re.search(r"\.badge::before \{ content: var\(--shape", asset("style.css"))
    tables: list[list[tuple[str, str]]] = [
        [(status.value.lower(), status.value) for status in Status],
        list(claims.MOODS.values()),
        list(frontier._OUTCOMES.values()),
        list(frontier._ANSWERS.values()),
        list(night.OUTCOMES.values()),
        [(badge[1], badge[2]) for badge in campaign._KILLED.values()],
    ]
    for table in tables:
        moods, said = zip(*table, strict=True)
        assert len(set(moods)) == len(set(said)) == len(table) and all(said)


def test_every_badge_of_a_report_says_its_word(tmp_path: Path) -> None:
    run = run_of(tmp_path / "small" / "1", as_expected=False)
    badges = re.findall(r'<span class="badge (\w+)">([^<]*)</span>', render(run))
    said: dict[str, set[str]] = {}
    for mood, word in badges:
        assert word.strip(), mood
        said.setdefault(word, set()).add(mood)
    assert all(len(moods) == 1 for moods in said.values()), "one word has one colour"
    assert {"PASS", "FAIL", "UNKNOWN", words.outcome(run)[1]} <= set(said)


def test_paper_is_white_and_hides_nothing() -> None:
    style, paint = asset("style.css"), asset("paint.js")
    for sheet in (style, sequence.CSS):
        dark = re.findall(r"@media ([^{]*prefers-color-scheme: dark[^{]*)", sheet)
        assert dark and all(query.startswith("screen and") for query in dark), "nobody prints white on black"
    paper = style[style.index("@media print") :]
    for rule in ("color-scheme: light", "details::details-content { content-visibility: visible", "max-height: none",
                 ".scroll { overflow: visible", ".badge { border: 1px solid"):  # fmt: skip
        assert rule in paper, rule
    folding = re.findall(r"@media ([^{]*max-width[^{]*)", style + asset("serve.css", "results.web"))
    assert folding and all(query.startswith("screen and") for query in folding), "paper is narrow, and no phone"
    assert "details.open = true" in paint and "details.open = false" in paint
    assert "display: none" not in paper, "what a page shows, paper shows"
    served = asset("serve.css", "results.web")
    assert "@media print { nav, .filter, button, iframe.report { display: none; } }" in served
    assert 'class="note on-paper"' in asset("run.html", "results.web"), "where the report prints from is said instead"
