"""What is told of a job to other tools, whatever they are: its settings, and its rows in blocks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stepsize.comparing import leaves

if TYPE_CHECKING:
    from stepsize.client import Client
    from stepsize.series import Series
    from stepsize.values import Job

BLOCK = 50_000
"""Iterations that are in memory at one time."""

PREFIXES = ("val_", "range_")
"""Beginnings of the names of quantities that have iterations of their own."""


@dataclass(frozen=True)
class Group:
    """Quantities of one repeat that are recorded at the same iterations."""

    repeat: int
    names: tuple[str, ...]

    @property
    def key(self) -> str:
        """What it is called where it is remembered how much of it was told."""
        prefix = next((each for each in PREFIXES if self.names[0].startswith(each)), "train_")
        return f"{prefix}{self.repeat}"


def groups(client: Client, job: Job) -> list[Group]:
    """All that a job has recorded so far."""
    found: dict[tuple[int, str], list[str]] = {}
    for each in client.summary(job):
        prefix = next((one for one in PREFIXES if each.name.startswith(one)), "")
        found.setdefault((each.repeat, prefix), []).append(each.name)
    return [Group(repeat, tuple(names)) for (repeat, _), names in found.items()]


def blocks(client: Client, job: Job, group: Group, *, start: int) -> Iterator[Series]:
    """The rows from iteration `start` on, in order, none of them empty."""
    while start <= job.progress.iteration:
        rows = client.series(job, group.names, start=start, stop=start + BLOCK, repeat=group.repeat)
        if len(rows):
            yield rows
        start += BLOCK


def hyperparameters(job: Job) -> dict[str, float | str | bool]:
    """Every setting of a job by its dotted name, in the types that others know."""
    found: dict[str, float | str | bool] = {}
    for pointer, value in leaves(job.spec):
        name = pointer.strip("/").replace("/", ".")
        if name.startswith("tags.") or name == "name" or value is None:
            continue
        known = isinstance(value, bool | int | float | str)
        found[name] = value if known else json.dumps(value)
    return found


def results(job: Job) -> dict[str, float]:
    """The numbers of its result, and what a range test suggests."""
    result = job.result or {}
    found = {**result, **((result.get("suggestion") or {}) if job.kind == "range_test" else {})}
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def tags(job: Job) -> dict[str, str]:
    """What it is found by."""
    given: Mapping[str, Any] = job.spec.get("tags") or {}
    sweep = {"sweep": job.sweep} if job.sweep else {}
    return {"job": job.id, "kind": job.kind, **sweep, **{k: str(v) for k, v in given.items()}}


def instants(job: Job) -> tuple[float, float]:
    """When it began, and the seconds that an iteration took; in between none were measured."""
    began = job.started_at or job.created_at or datetime.fromtimestamp(0, UTC)
    if job.pace is not None:
        return began.timestamp(), 1 / job.pace
    ended = job.finished_at or datetime.now(UTC)
    taken = max((ended - began).total_seconds(), 0.0)
    return began.timestamp(), taken / max(job.progress.iteration, 1)
