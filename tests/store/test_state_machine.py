"""Any order of moves, by clients, workers and the reconciler, leaves what the model says.

Workers that have lost their lease go on and try everything. `STEPSIZE_TEST_EXAMPLES=5000` looks
that many times for an order of moves that is wrong, each time elsewhere.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Table, select, update

from spec.states import Reason, State
from store import checkpoints, claims, jobs, leases, recovery
from store.checkpoints import Saved
from store.chunks import Chunk, decode
from store.database import Sessions, WriteTx
from store.instants import from_now
from store.leases import Lease, LeaseLostError, Progress
from store.tables import attempts, chunks, history
from store.tables import checkpoints as checkpoint_table
from store.tables import jobs as table
from tests.factories import LEASE, saved, spec
from tests.store import model
from tests.store.model import EVALUATED, GoneError, LostError, NeededError, RefusedError, World

REFUSALS = {
    GoneError: jobs.JobNotFoundError,
    RefusedError: jobs.WrongStateError,
    NeededError: jobs.NeededError,
    LostError: LeaseLostError,
}
WORKERS = st.sampled_from(["w1", "w2", "w3"])
# most of the moves are made by those who may make them
HOLDER = st.runner().flatmap(lambda life: st.sampled_from(5 * life.holding() + life.holders))
HOLDERS = st.lists(HOLDER, min_size=1, max_size=3, unique_by=id)
# updates, and whether a checkpoint follows them that is lasting
SEGMENTS = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from([None, False, True])), min_size=1, max_size=3
)


def loss(iteration: np.ndarray) -> np.ndarray:
    """The series that every attempt records: a function of the iteration."""
    return np.sin(iteration).astype(np.float32)


@dataclass
class Holder:
    """A worker with the lease of a job, which it may have lost; what it has not stored yet."""

    lease: Lease
    at: int
    first: int = 0
    after: int = 0
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
                self.cuts.append(saved(self.at, attempt=self.lease.attempt, lasting=lasting))
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


class Life(RuleBasedStateMachine):
    """The store and its model, side by side."""

    sessions: ClassVar[Sessions]
    submitted = Bundle("submitted")

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.holders: list[Holder] = []
        self.files: set[str] = set()
        with self.sessions.begin() as tx:
            tx.execute(table.delete())

    def holding(self) -> list[Holder]:
        """Those who have not lost their lease."""
        return [each for each in self.holders if self.world.held(each.lease)]

    def both(
        self, expected: Callable[[], Any], action: Callable[[WriteTx], Any]
    ) -> tuple[Any, Any]:
        """What the model and the store answer; where one refuses, the other does for its reason."""
        try:
            wanted = expected()
        except tuple(REFUSALS) as refusal:
            try:
                with self.sessions.begin() as tx:
                    action(tx)
            except REFUSALS[type(refusal)]:
                return None, None
            raise AssertionError(f"not refused: {refusal!r}") from refusal
        with self.sessions.begin() as tx:
            return wanted, action(tx)

    # -- clients

    @initialize(target=submitted, population=st.booleans())
    def begin(self, *, population: bool) -> Any:
        return multiple(*(self.submit(0, population=population) for _ in range(2)))

    @rule(target=submitted, priority=st.integers(0, 1), population=st.booleans())
    def submit(self, priority: int, *, population: bool) -> str:
        with self.sessions.begin() as tx:
            job = jobs.add(tx, spec(priority=priority, population=population))
        assert (job.population is not None) == population
        self.world.submit(job.id, priority, job.population, None)
        return job.id

    @rule(target=submitted, job_id=submitted, which=st.integers(0, 3))
    def go_on_from(self, job_id: str, which: int) -> Any:
        with self.sessions.begin() as tx:
            found = checkpoints.find(tx, job_id)
            if not found:
                return multiple()
            origin = found[which % len(found)]
            job = jobs.add(tx, spec(), origin=origin)
        self.world.submit(job.id, 0, None, (job_id, origin.iteration))
        return job.id

    @rule(job_id=submitted, verb=st.sampled_from(["cancel", "pause", "resume", "retry", "remove"]))
    def ask(self, job_id: str, verb: str) -> None:
        expected, move = getattr(self.world, verb), getattr(jobs, verb)
        self.both(lambda: expected(self.world.jobs[job_id]), lambda tx: move(tx, job_id))

    # -- workers

    @precondition(lambda self: any(j.state == State.QUEUED for j in self.world.jobs.values()))
    @rule(worker=WORKERS)
    def claim(self, worker: str) -> None:
        with self.sessions.begin() as tx:
            found = claims.claim(tx, worker=worker, queues=["default"], lease=LEASE)
        self._taken([found] if found else [], self.world.ready()[:1], worker)

    @precondition(lambda self: any(j.population for j in self.world.ready()))
    @rule(worker=WORKERS, limit=st.integers(1, 3))
    def claim_siblings(self, worker: str, limit: int) -> None:
        (key,) = {job.population for job in self.world.ready() if job.population}
        expected = self.world.siblings(key)
        with self.sessions.begin() as tx:
            assert claims.siblings(tx, key, queues=["default"]) == len(expected)
            found = claims.claim_siblings(
                tx, key, worker=worker, queues=["default"], lease=LEASE, limit=limit
            )
        self._taken(found, expected[:limit], worker)

    def _taken(self, found: list[claims.Claimed], expected: list[model.Job], worker: str) -> None:
        assert [job.id for job, _ in found] == [job.id for job in expected]
        self.world.claim(expected, worker)
        for (job, lease), known in zip(found, expected, strict=True):
            assert job.iteration == (job.checkpoint or 0)
            at = job.checkpoint or known.start
            self.holders.append(Holder(lease, at, known.start, job.checkpoint or 0))

    @precondition(lambda self: self.holders)
    @rule(holder=HOLDER)
    def plan(self, holder: Holder) -> None:
        def expected() -> None:
            job = self.world.owned(holder.lease)
            job.iteration = max(job.iteration, job.start)

        self.both(
            expected,
            lambda tx: leases.plan(
                tx, holder.lease, start=holder.first, iterations=99, resolved={}
            ),
        )

    @precondition(lambda self: self.holders)
    @rule(chosen=HOLDERS)
    def renew(self, chosen: list[Holder]) -> None:
        with self.sessions.begin() as tx:
            renewal = leases.renew(tx, [each.lease for each in chosen], extend=LEASE)
        self._heard(chosen, renewal)
        for each in chosen:
            if job := self.world.held(each.lease):
                job.ran_out = False

    @precondition(lambda self: self.holders)
    @rule(holder=HOLDER, segments=SEGMENTS, answered=st.booleans())
    def record(
        self, holder: Holder, segments: list[tuple[int, bool | None]], *, answered: bool
    ) -> None:
        self._record([holder], segments, answered=answered)

    @precondition(lambda self: self.holders)
    @rule(chosen=HOLDERS, segments=SEGMENTS)
    def record_together(
        self, chosen: list[Holder], segments: list[tuple[int, bool | None]]
    ) -> None:
        # of two leases of one job one is lost, and its worker has only that one
        alone = {each.lease.job_id: each for each in chosen}
        self._record(list(alone.values()), segments, answered=True)

    def _record(
        self, chosen: list[Holder], segments: list[tuple[int, bool | None]], *, answered: bool
    ) -> None:
        """Without an answer the worker keeps what it has sent, and sends it again with more."""
        for each in chosen:
            each.train(segments)
            self.files |= {cut.file for cut in each.cuts}
        with self.sessions.begin() as tx:
            renewal = leases.record(tx, [each.progress() for each in chosen], extend=LEASE)
        self._heard(chosen, renewal)
        gone = [
            file
            for each in chosen
            if self.world.held(each.lease)
            for file in self.world.record(each.lease, each.at, each.rows(), each.cuts)
        ]
        assert sorted(renewal.superseded) == sorted(gone)
        if answered:
            self.files -= {*renewal.superseded}
            for each in chosen:
                each.pending, each.cuts = [], []

    def _heard(self, chosen: list[Holder], renewal: leases.Renewal) -> None:
        held = {each.lease: self.world.held(each.lease) for each in chosen}
        assert renewal.kept == {
            lease: leases.Requests(job.cancel, job.pause) for lease, job in held.items() if job
        }
        assert {*renewal.lost} == {lease for lease, job in held.items() if not job}

    @precondition(lambda self: self.holders)
    @rule(holder=HOLDER, which=st.integers(0, 3))
    def fall_back(self, holder: Holder, which: int) -> None:
        lease = holder.lease
        known = sorted(self.world.jobs[lease.job_id].checkpoints)
        to = [None, *known][which % (len(known) + 1)]
        current = self.world.held(lease) is not None
        expected, found = self.both(
            lambda: self.world.fall_back(lease, to),
            lambda tx: leases.fall_back(tx, lease, to=to, detail="damaged"),
        )
        if current:
            assert sorted(found) == sorted(expected)
            self.files -= {*found}
            holder.at, holder.after = to or holder.first, to or 0
            holder.pending, holder.cuts = [], []

    @precondition(lambda self: self.holders)
    @rule(holder=HOLDER, with_rows=st.booleans())
    def succeed(self, holder: Holder, *, with_rows: bool) -> None:
        if with_rows:
            self._record([holder], [(1, True)], answered=True)
        lease = holder.lease
        self.both(
            lambda: self.world.owned(lease).leave(
                State.SUCCEEDED, "succeed", lease.worker, "succeeded"
            ),
            lambda tx: leases.succeed(tx, lease, {}),
        )

    @precondition(lambda self: self.holders)
    @rule(holder=HOLDER, reason=st.sampled_from(Reason))
    def fail(self, holder: Holder, reason: Reason) -> None:
        lease = holder.lease
        self.both(
            lambda: self.world.fail(lease, reason), lambda tx: leases.fail(tx, lease, reason, "")
        )

    @precondition(lambda self: self.holders)
    @rule(holder=HOLDER, alone=st.booleans())
    def hand_back(self, holder: Holder, *, alone: bool) -> None:
        lease = holder.lease
        self.both(
            lambda: self.world.hand_back(lease, alone=alone),
            lambda tx: leases.hand_back(tx, lease, alone=alone),
        )

    @precondition(lambda self: self.holders)
    @rule(holder=HOLDER)
    def confirm_cancel(self, holder: Holder) -> None:
        lease = holder.lease
        self.both(
            lambda: self.world.owned(lease).leave(
                State.CANCELLED, "confirm_cancel", lease.worker, "cancelled"
            ),
            lambda tx: leases.confirm_cancel(tx, lease),
        )

    # -- the reconciler, and time

    @rule(max_crashes=st.integers(1, 3))
    def expire(self, max_crashes: int) -> None:
        expected = self.world.expire(max_crashes)
        with self.sessions.begin() as tx:
            found = recovery.expire(tx, max_crashes=max_crashes)
        assert sorted(job.id for job in found) == sorted(job.id for job in expected)

    @precondition(lambda self: self.holders)
    @rule(holder=HOLDER)
    def lease_runs_out(self, holder: Holder) -> None:
        if job := self.world.held(holder.lease):
            job.ran_out = True
            past = from_now(timedelta(seconds=-1))
            with self.sessions.begin() as tx:
                tx.execute(update(table).where(table.c.id == job.id).values(lease_expires=past))

    @rule()
    def delays_pass(self) -> None:
        for job in self.world.jobs.values():
            job.delayed = False
        with self.sessions.begin() as tx:
            tx.execute(update(table).values(run_after=from_now(timedelta())))

    # -- what must hold after each of them

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        there = {job.id: job for job in self.world.jobs.values() if not job.deleted}
        with self.sessions.read() as tx:
            found = {
                each: _by_job(tx.execute(select(each).order_by(*each.primary_key)).mappings())
                for each in (attempts, history, checkpoint_table, chunks)
            }
            stored = {row.id: jobs.from_row(row) for row in tx.execute(select(*jobs.COLUMNS))}
        assert stored.keys() == there.keys()
        for job_id, job in there.items():
            self._compare(
                stored[job_id], job, {each: found[each].get(job_id, []) for each in found}
            )

    def _compare(self, row: jobs.Job, job: model.Job, of: dict[Table, list[Any]]) -> None:
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
        } == {
            t: (int(cut.file.split("-")[0]), cut.file, cut.lasting)
            for t, cut in job.checkpoints.items()
        }
        assert {cut.file for cut in job.checkpoints.values()} <= self.files
        self._compare_past(row, job, of[history], of[attempts])
        self._compare_series(job, of[chunks])

    def _compare_past(
        self, row: jobs.Job, job: model.Job, told: list[Any], tried: list[Any]
    ) -> None:
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

    def _compare_series(self, job: model.Job, parts: list[Any]) -> None:
        train = [each for each in parts if each["series"] == "train"]
        decoded = [_decoded(each["data"]) for each in train]
        iterations = [t for each in train for t in range(each["start"], each["stop"])]
        # no gap, nothing twice, nothing that the job has not come to
        assert iterations == list(range(job.start, job.start + len(iterations)))
        assert not iterations or iterations[-1] < job.iteration
        by = [int(value) for each in decoded for value in each["by"]]
        assert dict(zip(iterations, by, strict=True)) == job.rows
        for each, columns in zip(train, decoded, strict=True):
            assert columns["loss"].tolist() == loss(np.arange(each["start"], each["stop"])).tolist()
        sparse = [_decoded(each["data"]) for each in parts if each["series"] == "validation"]
        assert [int(t) for each in sparse for t in each["iteration"]] == sorted(job.evaluations)
        assert [int(value) for each in sparse for value in each["by"]] == [
            job.evaluations[t] for t in sorted(job.evaluations)
        ]


def _by_job(found: Any) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = {}
    for row in found:
        grouped.setdefault(row["job_id"], []).append(row)
    return grouped


_decoded = cache(decode)


def test_any_order_of_moves_leaves_what_the_model_says(sessions: Sessions) -> None:
    Life.sessions = sessions
    fast = sessions.engine.dialect.name == "sqlite"
    given = int(os.environ.get("STEPSIZE_TEST_EXAMPLES", "0"))
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=given or (40 if fast else 15),
            stateful_step_count=40,
            derandomize=not given,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
