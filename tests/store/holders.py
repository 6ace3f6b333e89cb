"""Workers of the model, what they record, and how it is compared with what the store holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from sqlalchemy import Table

from spec.states import State
from store.checkpoints import Saved
from store.chunks import Chunk, decode
from store.jobs import Job as Row
from store.leases import Lease, Progress
from store.tables import attempts, chunks, history
from store.tables import checkpoints as checkpoint_table
from tests.factories import saved
from tests.store.model import EVALUATED, Job

_decoded = cache(decode)


def loss(iteration: np.ndarray) -> np.ndarray:
    """The series that every attempt records: a function of the iteration."""
    return np.sin(iteration).astype(np.float32)


@dataclass
class Holder:
    """A worker with the lease of a job, which it may have lost; what it has not stored yet."""

    lease: Lease
    at: int
    first: int
    after: int
    # stretches of rows without a checkpoint inside: start, stop, the checkpoint before
    pending: list[tuple[int, int, int]] = field(default_factory=list)
    cuts: list[Saved] = field(default_factory=list)

    def train(self, segments: list[tuple[int, bool | None]]) -> None:
        for updates, lasting in segments:
            if updates:
                start = self.at
                if self.pending and self.pending[-1][2] == self.after:
                    start = self.pending.pop()[0]
                self.at += updates
                self.pending.append((start, self.at, self.after))
            if lasting is not None and self.at > max(self.after, self.first):
                cut = saved(self.at, attempt=self.lease.attempt, lasting=lasting)
                self.cuts.append(replace(cut, file=f"{self.lease.job_id}/{cut.file}"))
                self.after = self.at

    def rows(self) -> range:
        return range(self.pending[0][0], self.at) if self.pending else range(0)

    def progress(self) -> Progress:
        parts = [part for each in self.pending for part in self._chunks(*each)]
        return Progress(self.lease, self.at, parts, tuple(self.cuts))

    def _chunks(self, start: int, stop: int, after: int) -> list[Chunk]:
        t = np.arange(start, stop)
        by = float(self.lease.attempt)
        found = [Chunk("train", 0, start, {"loss": loss(t), "by": np.full(len(t), by)}, after)]
        evaluated = t[(t + 1) % EVALUATED == 0] + 1
        if len(evaluated):
            columns = {"iteration": evaluated, "by": np.full(len(evaluated), by)}
            found.append(Chunk("validation", 0, int(evaluated[0]), columns, after))
        return found


def compare(row: Row, job: Job, of: Mapping[Table, Sequence[Any]], *, files: set[str]) -> None:
    """What is stored of a job is what the model says; `of` has what belongs to it."""
    assert (row.state, row.reason, row.attempt, row.crashes, row.failures) == (
        job.state, job.reason, job.attempt, job.crashes, job.failures,
    )  # fmt: skip
    assert (row.cancel_requested, row.pause_requested, row.population) == (
        job.cancel, job.pause, job.population,
    )  # fmt: skip
    assert (row.iteration, row.checkpoint) == (job.iteration, job.checkpoint)
    # what it goes on from is there, file and row, and nothing is later
    assert row.checkpoint == max(job.checkpoints, default=None)
    assert {
        each["iteration"]: (each["attempt"], each["file"], each["lasting"])
        for each in of[checkpoint_table]
    } == {t: (by, cut.file, cut.lasting) for t, (by, cut) in job.checkpoints.items()}
    assert {cut.file for _, cut in job.checkpoints.values()} <= files
    _past(row, job, of[history], of[attempts])
    _series(job, of[chunks])


def _past(row: Row, job: Job, told: Sequence[Any], tried: Sequence[Any]) -> None:
    names = ("verb", "actor", "state", "attempt", "iteration")
    assert [tuple(each[name] for name in names) for each in told] == job.history
    assert all(a["at"] <= b["at"] for a, b in pairwise(told))
    assert told[-1]["version"] <= row.version
    assert sum(each["verb"] == "succeed" for each in told) == (row.state == State.SUCCEEDED)
    names = ("worker", "began", "outcome", "iterations", "reason")
    assert [tuple(each[name] for name in names) for each in tried] == [
        tuple(getattr(each, name) for name in names) for each in job.attempts
    ]
    open_ones = [each["attempt"] for each in tried if each["ended_at"] is None]
    assert open_ones == ([job.attempt] if job.state == State.RUNNING else [])


def _series(job: Job, parts: Sequence[Any]) -> None:
    train = [each for each in parts if each["series"] == "train"]
    decoded = [_decoded(each["data"]) for each in train]
    iterations = [t for each in train for t in range(each["start"], each["stop"])]
    # no gap, nothing twice, nothing that the job has not come to; after a retry it is to go back,
    # but what it recorded stays to be seen until it is claimed
    assert iterations == list(range(job.start, job.start + len(iterations)))
    reached = job.attempts[-1].iterations if job.attempts else 0
    assert not iterations or iterations[-1] < (job.iteration if reached is None else reached)
    by = [int(value) for each in decoded for value in each["by"]]
    assert dict(zip(iterations, by, strict=True)) == job.rows
    for each, columns in zip(train, decoded, strict=True):
        assert columns["loss"].tolist() == loss(np.arange(each["start"], each["stop"])).tolist()
    sparse = [_decoded(each["data"]) for each in parts if each["series"] == "validation"]
    assert [int(t) for each in sparse for t in each["iteration"]] == sorted(job.evaluations)
    assert [int(value) for each in sparse for value in each["by"]] == [
        job.evaluations[t] for t in sorted(job.evaluations)
    ]
