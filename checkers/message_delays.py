"""message-delays: commit, certificate, queue and end to end take the message delays that the guide promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import msgspec

from checkers.index import Index
from checkers.judge import Judge, conclude, record
from checkers.spans import Span, certificates, commits, journeys, queues, unmeasurable
from results.stats import summary
from results.verdict import Anomaly, Verdict


class Promise(msgspec.Struct, frozen=True):
    """A figure that must lie in [low, high] message delays (claims.toml)."""

    name: str
    what: str
    figure: str  # mean | p50
    low: float
    high: float
    spans: Callable[[Index], list[Span]]


PROMISES = (
    Promise("commit", "a block's finalisation after its proposal", "p50", 2.95, 3.10, commits),
    Promise("certificate", "a batch's availability certificate after its making", "p50", 1.95, 2.10, certificates),
    Promise("queue", "a certificate's wait for the next proposal", "mean", 0.4, 0.6, queues),
    Promise("end-to-end", "ordering finality after a batch's making", "mean", 5.3, 5.8, journeys),
)


class MessageDelays(Judge):
    """Commit 3, certificate 2, queue 0.5 and end to end 5.5 message delays, each within the claim's interval.

    For runs without faults, on a network with a message delay; others, and runs that lack one of these, are UNKNOWN.
    Examined: spans. Anomalies: commit, certificate, queue, end-to-end, with the span farthest from the interval.
    """

    property: ClassVar[str] = "message-delays"

    def judge(self, index: Index) -> Verdict:
        why = unmeasurable(index)
        examined, anomalies, doubts = 0, [], [why] if why else []
        measures: dict[str, object] = {"md_ms": index.info.md_ms}
        for promise in () if why else PROMISES:
            spans = promise.spans(index)
            figures = summary(span for span, *_ in spans)
            measures[f"{promise.name}_md"] = {**figures, "low": promise.low, "high": promise.high}
            examined += len(spans)
            if not spans:
                doubts.append(f"nothing was seen of {promise.what}")
            elif not promise.low <= figures[promise.figure] <= promise.high:
                anomalies.append(_broken(promise, figures[promise.figure], spans))
        return conclude(self.property, examined, anomalies, measures, "nothing was measured", doubts)


def _broken(promise: Promise, value: float, spans: list[Span]) -> Anomaly:
    middle = (promise.low + promise.high) / 2
    worst = max(spans, key=lambda span: abs(span[0] - middle))
    text = (
        f"{promise.what}: {promise.figure} {value:.3f} message delays over {len(spans)} spans, not {promise.low} to"
        f" {promise.high}; {worst[0]:.2f} at worst"
    )
    return Anomaly(promise.name, text, [record(worst[1]), record(worst[2])])
