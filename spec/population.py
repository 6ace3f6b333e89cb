"""Which jobs may be trained together as one program: those that differ in hyperparameters only."""

import hashlib
import json
from typing import Any

from schedules import Auto, Hypergradient
from spec.components import AdamParams, AdamwParams, LenetParams, MlpParams, SgdParams
from spec.jobs import RangeTestSpec, TrainingSpec
from spec.values import Component

MODELS = (MlpParams.component, LenetParams.component)
"""Whose runs do not mix: no batch norm."""

OPTIMIZERS: dict[str, type[SgdParams | AdamParams]] = {
    each.component: each for each in (SgdParams, AdamParams, AdamwParams)
}

OWN = {
    *("name", "tags", "priority", "queue", "needs", "max_seconds"),
    *("seed", "schedule", "optimizer", "length"),
}
"""Fields of a training that may differ between the members of a population."""


def stackable(spec: RangeTestSpec | TrainingSpec) -> bool:
    """Whether runs of this model and optimizer can be computed as one; else one by one."""
    return (
        spec.population
        and spec.model.name in MODELS
        and not spec.model.params.get("dropout")
        and spec.optimizer.name in OPTIMIZERS
        and set(spec.record) <= {"accuracy", "grad_norm"}
        and spec.lr_groups is None
        and spec.loader is None
        and spec.accumulation == 1
        and spec.clipping is None
        and not spec.channels_last
        and spec.ranks == 1
    )


def repeats_stack(spec: RangeTestSpec) -> bool:
    """Whether the repeats of a range test can climb as one."""
    return stackable(spec) and spec.repeats > 1 and not spec.checks and spec.loss != "probe"


def population_key(spec: RangeTestSpec | TrainingSpec) -> str | None:
    """Equal for jobs that may be trained together; None for a job that trains alone.

    64 hexadecimal digits.
    """
    if not isinstance(spec, TrainingSpec) or not stackable(spec):
        return None
    if isinstance(spec.schedule, Auto | Hypergradient) or spec.snapshots is not None:
        return None
    if spec.origin is not None:
        return None
    shared: dict[str, Any] = spec.model_dump(mode="json", exclude=OWN)
    shared["optimizer"] = [spec.optimizer.name, *_shared(spec.optimizer)]
    return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()


def _shared(optimizer: Component) -> tuple[Any, ...]:
    """The optimizer's parameters of which a population has one; of the others each run has one."""
    params = OPTIMIZERS[optimizer.name].model_validate(optimizer.params)
    if isinstance(params, SgdParams):
        return (params.nesterov,)
    return params.amsgrad, params.eps, params.betas[1]
