"""All experiments by name: what `results/claims.toml` may refer to."""

from __future__ import annotations

from harness.claims import boundaries, responsiveness, searches, services, volumes
from harness.claims.experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        *searches.EXPERIMENTS, *boundaries.EXPERIMENTS, *services.EXPERIMENTS, *volumes.EXPERIMENTS,
        *responsiveness.EXPERIMENTS,
    )
}  # fmt: skip
