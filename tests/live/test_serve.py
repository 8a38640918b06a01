"""`moonquake serve` as a process: it says where it is, answers there, and ends with 0 when it is told to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.reports import run_of

pytestmark = pytest.mark.live


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(tmp_path: Path, number: signal.Signals) -> None:
    run_of(tmp_path / "small" / "1")
    words = ["serve", "--runs-dir", str(tmp_path), "--port", "0", "--token", "0123456789abcdef", "--json"]
    with subprocess.Popen([sys.executable, "-m", "harness.cli", *words], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            address = said["url"].partition("?")[0]
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(address, timeout=60)
            known = urllib.request.Request(address, headers={"authorization": f"Bearer {said['token']}"})
            with urllib.request.urlopen(known, timeout=60) as answer:
                assert b'href="/runs/small/1"' in answer.read()
            process.send_signal(number)
            assert process.wait(60) == 0
        finally:
            process.kill()
