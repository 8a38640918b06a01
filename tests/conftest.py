"""Hypothesis profiles: dev (default), ci (derandomised), nightly (many examples); no deadlines: machines are noisy."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("dev", deadline=None, suppress_health_check=_QUIET)
settings.register_profile("ci", deadline=None, suppress_health_check=_QUIET, derandomize=True)
settings.register_profile("nightly", deadline=None, suppress_health_check=_QUIET, max_examples=2000)
settings.load_profile(os.environ.get("MOONQUAKE_HYPOTHESIS_PROFILE", "dev"))
