"""cadence: consecutive blocks are proposed one message delay apart (claim block-period-1md, L-RESP)."""

from __future__ import annotations

from typing import ClassVar

from checkers.index import Index
from checkers.judge import Judge, conclude, record
from checkers.spans import periods, unmeasurable
from results.stats import summary
from results.verdict import Anomaly, Verdict

LOW, HIGH = 0.99, 1.05  # of the mean, in message delays


class Cadence(Judge):
    """The mean time between the proposals of consecutive finalised blocks is 0.99 to 1.05 message delays.

    For runs without faults, on a network with a message delay; others are UNKNOWN. Examined: pairs.
    Anomaly: period, with the pair that lies farthest from one message delay.
    """

    property: ClassVar[str] = "cadence"

    def judge(self, index: Index) -> Verdict:
        why = unmeasurable(index)
        spans = [] if why else periods(index)
        figures = summary(span for span, *_ in spans)
        anomalies = []
        if spans and not LOW <= figures["mean"] <= HIGH:
            worst = max(spans, key=lambda span: abs(span[0] - 1))
            text = f"blocks are proposed {figures['mean']:.3f} message delays apart on average, not {LOW} to {HIGH}"
            anomalies.append(
                Anomaly("period", f"{text}; {worst[0]:.2f} at worst", [record(worst[1]), record(worst[2])])
            )
        measures = {"period_md": figures, "md_ms": index.info.md_ms}
        return conclude(
            self.property,
            len(spans),
            anomalies,
            measures,
            why or "no two consecutive views were finalised",
            [why] if why else [],
        )
