"""Parts of a spec that are each fine and do not go together."""

from collections.abc import Iterator
from dataclasses import dataclass

from schedules import Auto, Hypergradient, Piecewise, Plateau, Schedule
from spec.components import (
    AdamParams,
    AdamwParams,
    AdamwScheduleFreeParams,
    ProdigyParams,
    SgdParams,
    SgdScheduleFreeParams,
)
from spec.groups import LrGroups
from spec.jobs import RangeTestSpec, Snapshots, TrainingSpec

LEARNS_ITS_RATE = tuple(each.component for each in (SgdParams, AdamParams, AdamwParams))
OWN_MOMENTUM = tuple(
    each.component for each in (SgdScheduleFreeParams, AdamwScheduleFreeParams, ProdigyParams)
)
MEASURED = ("loss", "accuracy")
"""Columns `val_loss` and `val_accuracy` of the validation series, which has one of each metric."""


@dataclass(frozen=True)
class Conflict:
    """What is wrong, and the JSON pointer to the part that should change."""

    pointer: str
    detail: str


def conflicts(spec: RangeTestSpec | TrainingSpec) -> list[Conflict]:
    """Every conflict of the spec."""
    return [
        *_of_parts(spec),
        *_of_groups(spec),
        *(_of_sharing(spec) if spec.ranks > 1 or spec.processes else ()),
        *(_of_schedule(spec) if isinstance(spec, TrainingSpec) else ()),
    ]


def _of_parts(spec: RangeTestSpec | TrainingSpec) -> Iterator[Conflict]:
    if spec.batch_size % spec.accumulation:
        yield Conflict(
            "/accumulation",
            f"batch_size {spec.batch_size} cannot be split into {spec.accumulation} equal parts",
        )
    names = [each.name for each in spec.metrics]
    for i, name in enumerate(names):
        if name in names[:i]:
            yield Conflict(f"/metrics/{i}/name", f"{name} is there twice: leave one of them out")
        if name in MEASURED:
            yield Conflict(f"/metrics/{i}/name", f"{name} is measured of every job: leave it out")
    if isinstance(spec, RangeTestSpec) and spec.checks and spec.clipping is not None:
        yield Conflict(
            "/checks", "say how far an update may go, and clipping shortens it: leave one"
        )


def _of_sharing(spec: RangeTestSpec | TrainingSpec) -> Iterator[Conflict]:
    """What does not go together with several processes that share each batch."""
    count = spec.ranks
    where = "/needs/gpus" if spec.processes is None else "/processes"
    if spec.needs is not None and spec.needs.gpus > 0 and spec.needs.gpus != count:
        yield Conflict(where, f"{count} processes have a GPU each: say {count} in /needs/gpus")
    if count == 1:
        return
    parts = count * spec.accumulation
    if spec.batch_size % parts:
        yield Conflict(
            "/batch_size",
            f"{spec.batch_size} cannot be split into {parts} equal parts: {count} processes, each"
            f" with an accumulation of {spec.accumulation}",
        )
    alone = f"{count} processes share each batch"
    if spec.transforms:  # each would draw for its part as one process draws for the whole
        yield Conflict("/transforms", f"{alone}: images cannot be changed at random there yet")
    yield from _of_whole_batches(spec, alone)
    if spec.population:
        yield Conflict("/population", f"is one program, and {alone}: leave one")
    if spec.compile:
        yield Conflict("/compile", f"cannot be had where {alone}")
    if isinstance(spec, TrainingSpec) and any(
        isinstance(each, Hypergradient) for _, each in within("/schedule", spec.schedule)
    ):
        yield Conflict("/schedule", f"policy 'hypergradient' learns in one process, and {alone}")


def _of_whole_batches(spec: RangeTestSpec | TrainingSpec, alone: str) -> Iterator[Conflict]:
    whole = f"looks at whole batches, and {alone}"
    if "probe_loss" in spec.record:
        yield Conflict("/record", f"probe_loss {whole}")
    if isinstance(spec, RangeTestSpec):
        if spec.loss == "probe":
            yield Conflict("/loss", f"probe {whole}")
        if spec.checks:
            yield Conflict("/checks", f"each {whole}")
        return
    if isinstance(spec.snapshots, Snapshots) and spec.snapshots.curvature:
        yield Conflict("/snapshots/curvature", whole)


def _of_groups(spec: RangeTestSpec | TrainingSpec) -> Iterator[Conflict]:
    if spec.lr_groups is None or spec.optimizer.name != ProdigyParams.component:
        return
    if _graded(spec.lr_groups):
        yield Conflict(
            "/lr_groups", "prodigy has one learning rate: it takes no factors but 0 and 1"
        )


def _graded(groups: LrGroups) -> bool:
    return groups.layer_decay != 1 or not set(groups.multipliers.values()) <= {0, 1}


def _of_schedule(spec: TrainingSpec) -> Iterator[Conflict]:
    if spec.origin is not None and isinstance(spec.schedule, Auto):
        yield Conflict(
            "/from",
            "policy 'auto' begins with a range test of a fresh model: give the schedule itself, as"
            " the finished job's resolved.schedule has it",
        )
    name, known = spec.optimizer.name, ", ".join(LEARNS_ITS_RATE)
    for pointer, schedule in within("/schedule", spec.schedule):
        if isinstance(schedule, Hypergradient) and name not in LEARNS_ITS_RATE:
            yield Conflict(
                "/optimizer/name",
                f"policy 'hypergradient' has a rule for each of {known}, none for {name}",
            )
        watched = schedule.metric if isinstance(schedule, Plateau) else "train_loss"
        if watched != "train_loss" and spec.evaluate is None:
            yield Conflict(
                "/evaluate", f"is needed: policy 'plateau' looks at {watched} at each evaluation"
            )
        if name in OWN_MOMENTUM and getattr(schedule, "max_momentum", None) is not None:
            yield Conflict(
                f"{pointer}/max_momentum",
                f"{name} does not take a momentum that changes; set both momenta to null",
            )


def within(pointer: str, schedule: Schedule) -> Iterator[tuple[str, Schedule]]:
    """The schedule and those inside it."""
    yield pointer, schedule
    match schedule:
        case Auto():
            yield from within(f"{pointer}/schedule", schedule.schedule)
        case Piecewise():
            for i, piece in enumerate(schedule.pieces):
                yield from within(f"{pointer}/pieces/{i}/schedule", piece.schedule)
