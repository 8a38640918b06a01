"""A run as JUnit XML: a test case a property, so that CI shows what was judged, and how."""

from __future__ import annotations

import re
from xml.etree import ElementTree as xml

from results.report import words
from results.store import Run
from results.verdict import Status, Verdict

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(run: Run) -> str:
    """The document.

    A failure is a surprise: a violation that nothing declared may cause, or none where one must appear. An UNKNOWN is
    an error, since it is never a pass; it is a skipped case where a violation is expected of another property.
    """
    info = run.info
    suite = xml.Element("testsuite", name=f"moonquake.{_legal(info.name)}", timestamp=_legal(_iso(info.started_utc)))
    wanted = list(info.expect.get("violate") or [])
    counts = {"failure": 0, "error": 0, "skipped": 0}
    for verdict in run.verdicts:
        case = xml.SubElement(
            suite, "testcase", classname=f"{_legal(info.name)}.{info.backend}", name=_legal(verdict.property)
        )
        kind, message = _outcome(verdict, wanted, list(info.expect.get("hold") or []) if wanted else None)
        if kind:
            counts[kind] += 1
            told = xml.SubElement(case, kind, message=_legal(message))
            told.text = _legal("\n".join(anomaly.summary for anomaly in verdict.anomalies) or verdict.reason)
        out = xml.SubElement(case, "system-out")
        out.text = _legal(
            f"{verdict.status.value}, N = {verdict.examined}. {words.observed(verdict)}\n" + _commands(run)
        )
    for name in wanted:
        if all(verdict.property != name for verdict in run.verdicts):
            case = xml.SubElement(suite, "testcase", classname=f"{_legal(info.name)}.{info.backend}", name=_legal(name))
            xml.SubElement(case, "error", message="must be violated here, and was not judged")
            counts["error"] += 1
    suite.set("tests", str(len(suite)))
    for kind, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(name, str(counts[kind]))
    xml.indent(suite)
    return xml.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _outcome(verdict: Verdict, wanted: list[str], hold: list[str] | None) -> tuple[str, str]:
    """(element, message) of a case; ("", "") passes. `hold`: what must hold beside a violation; None: everything."""
    if verdict.property in wanted:
        if verdict.status is Status.FAIL:
            return "", ""
        return (
            ("failure", "must be violated here, but held")
            if verdict.status is Status.PASS
            else ("error", verdict.reason)
        )
    must = hold is None or verdict.property in (*hold, "receipts")
    if verdict.status is Status.FAIL:
        return (
            ("failure", verdict.anomalies[0].summary)
            if must
            else ("skipped", "violated too; nothing was expected of it")
        )
    if verdict.status is Status.UNKNOWN:
        return ("error", verdict.reason) if must else ("skipped", verdict.reason)
    return "", ""


def _commands(run: Run) -> str:
    return "\n".join(words.again(run))


def _iso(stamp: str) -> str:
    text = words.when(stamp)
    return text.removesuffix(" UTC").replace(" ", "T") if text != stamp else stamp


def _legal(text: str) -> str:
    """Without characters that no XML document may hold."""
    return _ILLEGAL.sub("\ufffd", text)
