"""What a schedule leaves out: rates that are yet to be found, counts that follow from the length.

Runs end with whole cycles (Smith, arXiv 1506.01186 section 3.2): inside one the loss is not yet
what the cycle leads to.
"""

from collections.abc import Mapping
from typing import cast

from pydantic import JsonValue

from schedules import POLICIES
from schedules.schedule import SUGGESTED
from schedules.values import AUTO, Epochs, as_iterations
from spec.lengths import InIterations
from spec.recipes import Partial
from sweeps.space import Parameters, merged, pointer_to

CYCLES = 3
"""Of a schedule that does not say how long they are."""

STEADY = 4
"""Cycles that grow faster would make the first one too short: then there is one."""

FOUND = "job_found"
"""Stands for the range test, or the search, whose rates are not known yet."""

FIELDS: Mapping[object, Mapping[str, object]] = {
    each.model_fields["policy"].default: each.model_fields for each in POLICIES
}


def filled(schedule: Partial, length: InIterations | Epochs) -> tuple[Partial, Parameters]:
    """The schedule with references to what is to be found, and what else changes in its job.

    Cycles whose length is left out make the training end with a whole one: it is then as many
    iterations shorter as the length is no multiple of them (in epochs, to rounding).
    """
    policy = schedule.get("policy")
    fields = FIELDS.get(policy, {}) if isinstance(policy, str) else {}
    rates: Partial = {
        name: {"range_test": FOUND} for name in SUGGESTED if name in fields and name not in schedule
    }
    document = {**cast("Partial", _marked(schedule)), **rates}
    changes: Parameters = {}
    match policy:
        case "triangular" | "triangular2" | "exp_range" if "step_size" not in schedule:
            cycles, count = _cycles(length, schedule.get("warmup"), 2, 1)
            if count is not None:
                document["step_size"], changes = count, {"/length": {"cycles": cycles}}
        case "sgdr" if "t_0" not in schedule:
            growth = schedule.get("t_mult", 1)
            if isinstance(growth, int) and growth >= 1:
                cycles, count = _cycles(length, schedule.get("warmup"), 1, growth)
                if count is not None:
                    document["t_0"], changes = count, {"/length": {"cycles": cycles}}
        case "snapshot" if "cycles" not in schedule:
            document["cycles"] = CYCLES
        case "step" if "step_size" not in schedule:
            document["step_size"] = _share(length, CYCLES)
    return document, changes


def with_rates(document: Partial, pointers: dict[str, float]) -> Partial:
    """The schedule with numbers where there were references."""
    return merged(document, {**pointers})


def flat(document: Partial) -> Parameters:
    """Each field of a schedule on its own, as parameters of a job."""
    return {pointer_to("schedule", name): value for name, value in document.items()}


def _marked(value: JsonValue) -> JsonValue:
    """`{"range_test": "auto"}` names the recipe's own range test, wherever it is."""
    if value == {"range_test": AUTO}:
        return {"range_test": FOUND}
    if isinstance(value, dict):
        return {name: _marked(each) for name, each in value.items()}
    return [_marked(each) for each in value] if isinstance(value, list) else value


def _cycles(
    length: InIterations | Epochs, warmup: JsonValue, unit: int, growth: int
) -> tuple[int, JsonValue]:
    """How many cycles, and the count that makes the first one as many times as long as `unit`.

    None where the warm-up is not counted as the length is.
    """
    cycles = CYCLES if growth <= STEADY else 1
    left = _without(length, warmup)
    if left is None:
        return cycles, None
    if isinstance(left, InIterations) and left.iterations < unit * _sum(growth, cycles):
        cycles = 1
    return cycles, _share(left, unit * _sum(growth, cycles))


def _sum(growth: int, cycles: int) -> int:
    return sum(growth**i for i in range(cycles))


def _without(length: InIterations | Epochs, warmup: JsonValue) -> InIterations | Epochs | None:
    if warmup is None:
        return length
    if isinstance(length, InIterations) and isinstance(warmup, int):
        return InIterations.model_construct(iterations=length.iterations - warmup)
    epochs = warmup.get("epochs") if isinstance(warmup, dict) else None
    if isinstance(length, Epochs) and isinstance(epochs, int | float) and epochs < length.epochs:
        return Epochs.model_construct(epochs=length.epochs - epochs)
    return None


def _share(length: InIterations | Epochs, parts: int) -> JsonValue:
    if isinstance(length, Epochs):
        return {"epochs": float(f"{length.epochs / parts:.6g}")}
    return max(1, as_iterations(length.iterations) // parts)
