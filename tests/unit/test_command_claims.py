"""`moonquake claims` through the command line: its words, its JSON, its files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import cli
from harness.claims import documents
from harness.claims.experiment import sample_of
from harness.claims.experiments import EXPERIMENTS
from harness.outcome import Exit
from harness.scenario import load
from harness.trial import trial
from results.claim import Finding, Sample, register
from results.report import claims as pages
from results.verdict import Anomaly, Status, Verdict
from tests.runs import small_info, write_run

EVIL = "<script>alert(1)</script>"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "--json"])
    return int(ended.value.code or 0), msgspec.json.decode(capsys.readouterr().out)


def test_claims_that_need_no_run_are_decided_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, document = run(capsys, "claims", "bad-clan-625", "bad-clan-300", "--workers", "1", "--runs", str(tmp_path))
    agreed, disputed = document["claims"]
    assert code == Exit.SURPRISE
    assert (agreed["id"], agreed["finding"], agreed["n"]) == ("bad-clan-625", "HOLDS", 2_000_000)
    assert (disputed["id"], disputed["finding"]) == ("bad-clan-300", "REFUTED") and disputed["differs"]
    for claim in (agreed, disputed):
        assert {"id", "finding", "estimate", "low", "high", "n", "evidence", "reproduce"} <= set(claim)
        assert claim["low"] <= claim["estimate"] <= claim["high"]
        assert claim["reproduce"] == f"moonquake claims {claim['id']}"
    for path in document["files"].values():
        assert "bad-clan-300" in Path(path).read_text(encoding="utf-8")


def test_a_claim_is_decided_by_runs_and_a_second_call_makes_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.claims import work

    words = ("claims", "small-blocks", "--workers", "1", "--runs", str(tmp_path))
    values = iter((1.01, 1.02, 1.0))
    calls: list[tuple[str, int]] = []

    def measured(name: str, index: int) -> Sample:
        calls.append((name, index))
        return Sample(name, index + 1, "within", bit=True, index=index, measures={"block_growth": next(values)})

    monkeypatch.setattr(work, "take", measured)
    code, document = run(capsys, *words)
    assert "error" not in document, document
    (claim,) = document["claims"]
    assert (code, claim["finding"], claim["n"]) == (Exit.AS_EXPECTED, "HOLDS", 3)
    assert claim["estimate"] == pytest.approx(1.01) and claim["backends"] == ["sim"]
    assert calls == [("payload", 0), ("payload", 1), ("payload", 2)]
    assert claim["reproduce"] == "moonquake claims small-blocks", "no other command counts bytes"
    code, document = run(capsys, *words, "--resume")
    assert (code, len(calls), document["made"]["runs"]) == (Exit.AS_EXPECTED, 3, 3)


def test_the_command_of_a_deciding_run_makes_that_very_run(tmp_path: Path) -> None:
    decided = sample_of(EXPERIMENTS["tribe-past"], 0)
    (ruling,) = documents.with_scenarios(documents.rulings(["no-fork"], [decided]), tmp_path)
    (witness,) = ruling.evidence
    words = re.fullmatch(r"moonquake run (\S+\.toml) --backend sim --seed (\d+)", witness.reproduce)
    assert words and ruling.reproduce == witness.reproduce
    assert trial(load(Path(words[1])), int(words[2])).digest == witness.digest == decided.digest


def test_what_the_budget_cut_off_is_inconclusive(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ("claims", "accountability", "--workers", "1", "--budget", "0s", "--runs", str(tmp_path))
    code, document = run(capsys, *words)
    assert code == Exit.INCONCLUSIVE
    assert document["claims"][0]["finding"] == "INCONCLUSIVE" and document["made"]["stopped"]


def test_run_directories_are_judged_without_running(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    forked = [
        Verdict("fork", Status.FAIL, 9, [Anomaly("fork", f"n0 and n1 {EVIL} disagree", [{"node": "n0"}])]),
        Verdict("receipts", Status.PASS, 1),
    ]
    write_run(tmp_path / "runs" / "a", small_info(), [], [], forked)
    words = ("claims", "--from", str(tmp_path / "runs"), "--runs", str(tmp_path / "out"))
    code, document = run(capsys, *words)
    found = {claim["id"]: claim for claim in document["claims"]}
    assert code == Exit.SURPRISE and document["made"]["runs"] == 1
    assert found["no-fork"]["finding"] == "REFUTED"
    assert found["no-fork"]["evidence"][0]["reproduce"] == f"moonquake check {tmp_path / 'runs' / 'a'}"
    assert found["liveness-after-gst"]["finding"] == "INCONCLUSIVE"
    page = Path(document["files"]["html"]).read_text(encoding="utf-8")
    assert EVIL not in page and "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("no-frok",), "did you mean 'no-fork'"),
        (("--from", "nowhere"), "is not a directory"),
        (("--from", ".", "--budget", "1m"), "no meaning"),
        (("--budget", "soon"), "--budget"),
        (("--workers", "many"), "--workers"),
        (("no-fork", "--resume"), "nothing was begun"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    code, document = run(capsys, "claims", *words, "--runs", str(tmp_path))
    assert code == Exit.USAGE and told in document["error"]
    assert not list(tmp_path.iterdir())


def test_higher_tiers_are_listed_and_never_dropped() -> None:
    found = documents.rulings(list(register()), [])
    assert [ruling.id for ruling in found] == list(register())
    document = documents.document(found, {"runs": 0, "of": 0, "cpu_seconds": 0.0})
    assert sum(document["counts"].values()) == len(register())
    text, page = pages.markdown(document), pages.render(document)
    for claim in register():
        assert claim in text and f'id="{claim}"' in page
    assert "not implemented yet" in text and "not implemented yet" in page


def test_exit_codes_are_those_of_the_worst_finding() -> None:
    holds, refuted, open_ = (documents.rulings([claim], [])[0] for claim in ("bad-clan-625", "bad-clan-300", "no-fork"))
    assert [r.finding for r in (holds, refuted, open_)] == [Finding.HOLDS, Finding.REFUTED, Finding.INCONCLUSIVE]
    assert documents.exit_of([holds]) is Exit.AS_EXPECTED
    assert documents.exit_of([holds, open_]) is Exit.INCONCLUSIVE
    assert documents.exit_of([open_, refuted, holds]) is Exit.SURPRISE
    assert documents.exit_of([]) is Exit.INCONCLUSIVE


def test_the_page_shows_every_number_with_its_n_and_its_interval() -> None:
    runs = [
        Sample(
            "one-fault", i, "within", kind, bit=True, index=i, statuses={"liveness": "PASS"},
            measures={"recovery_deltas": [1.0 + i, 2.0], "latency_ms": [100.0 * (1 + (kind == "crash"))] * 5},
        )
        for i, kind in enumerate(("fault-free", "crash", "crash", "pause"))
    ]  # fmt: skip
    found = documents.document(documents.rulings(["liveness-after-gst"], runs), {"runs": 4, "of": 9, "cpu_seconds": 1})
    (claim,) = found["claims"]
    figures = {figure["name"]: figure for figure in claim["figures"]}
    crash = figures["recovery: heal to first new finalised block, after each fault: crash, mean"]
    assert (crash["value"], crash["n"]) == (2.25, 4) and crash["low"] <= 2.25 <= crash["high"]
    slower = figures["sensitivity: mean latency less that of fault-free runs, up to 5 s: crash"]
    assert (slower["value"], slower["n"]) == (100.0, 10)
    page = pages.render(found)
    names = [chart.name for chart in pages.charts(found["claims"])]
    assert names == ["rates", "recovery", "sensitivity"]
    assert all(f'data-for="{name}"' in page for name in names)
    outside_scripts = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", outside_scripts)
    assert "2.25" in page and "2 to 2.5" in page
