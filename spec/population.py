"""Which jobs may be trained together as one program: those that differ in hyperparameters only."""

import hashlib
import json
from typing import Any

from schedules import Auto, Hypergradient
from schedules.values import Epochs
from spec.components import AdamParams, AdamwParams, LenetParams, MlpParams, SgdParams
from spec.jobs import InIterations, RangeTestSpec, TrainingSpec

MODELS = (MlpParams.component, LenetParams.component)
"""Whose runs do not mix: no batch norm."""

SHARED_PARAMS = {
    SgdParams.component: ("nesterov",),
    AdamParams.component: ("amsgrad",),
    AdamwParams.component: ("amsgrad",),
}
"""Optimizer -> its parameters that a program has once; of all others each run has its own."""

OWN = {"name", "tags", "priority", "queue", "seed", "schedule", "optimizer"}
"""Fields of a training that may differ between the members of a population."""


def stackable(spec: RangeTestSpec | TrainingSpec) -> bool:
    """Whether runs of this model and optimizer can be computed as one; else one by one."""
    return (
        spec.population
        and spec.model.name in MODELS
        and not spec.model.params.get("dropout")
        and spec.optimizer.name in SHARED_PARAMS
        and spec.lr_groups is None
        and spec.loader is None
        and spec.accumulation == 1
        and spec.clipping is None
    )


def population_key(spec: RangeTestSpec | TrainingSpec) -> str | None:
    """Equal for jobs that may be trained together; None for a job that trains alone.

    64 hexadecimal digits.
    """
    if not isinstance(spec, TrainingSpec) or not stackable(spec):
        return None
    if isinstance(spec.schedule, Auto | Hypergradient) or spec.snapshots is not None:
        return None
    if not isinstance(spec.length, InIterations | Epochs):
        return None
    shared: dict[str, Any] = spec.model_dump(mode="json", exclude=OWN)
    params = spec.optimizer.params
    shared["optimizer"] = [
        spec.optimizer.name,
        *(params.get(name, False) for name in SHARED_PARAMS[spec.optimizer.name]),
    ]
    return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()
