"""Any order of moves, by clients, workers and the reconciler, leaves what the model says.

Workers that have lost their lease go on and try everything. `STEPSIZE_TEST_EXAMPLES=5000` looks
that many times for an order of moves that is wrong, each time elsewhere.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import SearchStrategy
from sqlalchemy import select, update

from spec.states import Reason, State
from store import checkpoints, claims, compaction, jobs, leases, moves, recovery, summaries
from store.database import Sessions, WriteTx
from store.instants import from_now
from store.jobs import Submission
from store.leases import LeaseLostError
from store.tables import attempts, chunks, history
from store.tables import checkpoints as checkpoint_table
from store.tables import jobs as table
from tests.factories import LEASE, spec
from tests.store import model
from tests.store.holders import Holder, compare
from tests.store.model import GoneError, LostError, NeededError, RefusedError, World

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
JOB = st.runner().flatmap(lambda life: st.sampled_from([*life.world.jobs]))

ASKED = ["pause", "resume", "retry", "resume", "retry", "cancel", "remove"]
MOST = 3

Able = Callable[["Life"], object]
Method = Callable[..., None]
MOVES: dict[str, tuple[Method, Able, dict[str, SearchStrategy[Any]]]] = {}
OFTEN = {
    "claim": 12,
    "record": 12,
    "ask": 6,
    "hand_back": 3,
    "lease_runs_out": 3,
    "expire": 3,
    "make_compact": 2,
}


def move(
    when: Able = lambda _: True, **arguments: SearchStrategy[Any]
) -> Callable[[Method], Method]:
    """Something that happens to the jobs, with what is to be drawn for it.

    It is no rule of its own, since in each example Hypothesis leaves out a random share of the
    rules: without a claim, say, nothing happens at all.
    """

    def remember(method: Method) -> Method:
        MOVES[method.__name__] = (method, when, arguments)
        return method

    return remember


# updates, and whether a checkpoint follows them that is lasting
SEGMENTS = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from([None, False, True])), min_size=1, max_size=3
)


class Life(RuleBasedStateMachine):
    """The store and its model, side by side."""

    sessions: ClassVar[Sessions]

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

    def both(self, expected: Callable[[], None], action: Callable[[WriteTx], object]) -> None:
        """A move of the model and of the store; where one refuses, so does the other."""
        try:
            expected()
        except tuple(REFUSALS) as refusal:
            try:
                with self.sessions.begin() as tx:
                    action(tx)
            except REFUSALS[type(refusal)]:
                return
            raise AssertionError(f"not refused: {refusal!r}") from refusal
        with self.sessions.begin() as tx:
            action(tx)

    @initialize(population=st.booleans())
    def begin(self, *, population: bool) -> None:
        for _ in range(2):
            self.submit(0, population=population)

    @rule(data=st.data())
    def happens(self, data: st.DataObject) -> None:
        able = [name for name, (_, when, _) in MOVES.items() if when(self)]
        weighted = [name for name in able for _ in range(OFTEN.get(name, 1))]
        method, _, arguments = MOVES[data.draw(st.sampled_from(weighted), "move")]
        method(self, **{name: data.draw(each, name) for name, each in arguments.items()})

    # -- workers

    @move(
        when=lambda self: any(job.state == State.QUEUED for job in self.world.jobs.values()),
        worker=WORKERS,
    )
    def claim(self, worker: str) -> None:
        with self.sessions.begin() as tx:
            found = claims.claim(tx, worker=worker, queues=["default"], lease=LEASE)
        self._taken([found] if found else [], self.world.ready()[:1], worker)

    @move(
        when=lambda self: any(job.population for job in self.world.ready()),
        worker=WORKERS,
        limit=st.integers(1, 3),
    )
    def claim_siblings(self, worker: str, limit: int) -> None:
        (key,) = {job.population for job in self.world.ready() if job.population}
        expected = self.world.siblings(key)
        (one, *_) = (job for job in self.world.ready() if job.population == key)
        with self.sessions.begin() as tx:
            job = replace(jobs.get(tx, one.id), checkpoint=None)
            assert claims.siblings(tx, job) == len(expected)
            found = claims.claim_siblings(tx, job, worker=worker, lease=LEASE, limit=limit)
        self._taken(found, expected[:limit], worker)

    def _taken(self, found: list[claims.Claimed], expected: list[model.Job], worker: str) -> None:
        assert [job.id for job, _ in found] == [job.id for job in expected]
        self.world.claim(expected, worker)
        for (job, lease), known in zip(found, expected, strict=True):
            assert job.iteration == (job.checkpoint or 0)
            at = job.checkpoint or known.start
            self.holders.append(Holder(lease, at, at, job.checkpoint or 0))

    @move(when=lambda self: self.holders, holder=HOLDER)
    def plan(self, holder: Holder) -> None:
        lease, start = holder.lease, holder.first
        self.both(
            lambda: self.world.plan(lease, start),
            lambda tx: leases.plan(tx, lease, start=start, iterations=99, resolved={}),
        )

    @move(when=lambda self: self.holders, chosen=HOLDERS)
    def renew(self, chosen: list[Holder]) -> None:
        with self.sessions.begin() as tx:
            renewal = leases.renew(tx, [each.lease for each in chosen], extend=LEASE)
        self._heard(chosen, renewal)
        for each in chosen:
            if job := self.world.held(each.lease):
                job.ran_out = False

    @move(when=lambda self: self.holders, holder=HOLDER, segments=SEGMENTS, answered=st.booleans())
    def record(
        self, holder: Holder, segments: list[tuple[int, bool | None]], *, answered: bool
    ) -> None:
        self._record([holder], segments, answered=answered)

    @move(when=lambda self: self.holders, chosen=HOLDERS, segments=SEGMENTS)
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

    @move(when=lambda self: self.holders, holder=HOLDER, which=st.integers(0, 3))
    def fall_back(self, holder: Holder, which: int) -> None:
        lease = holder.lease
        known = sorted(self.world.jobs[lease.job_id].checkpoints)
        to = [None, *known][which % (len(known) + 1)]
        current = self.world.held(lease) is not None
        self.both(
            lambda: self.world.fall_back(lease, to),
            lambda tx: leases.fall_back(tx, lease, to=to, detail="damaged"),
        )
        if current:
            holder.first = holder.at = to or self.world.jobs[lease.job_id].start
            holder.after = to or 0
            holder.pending, holder.cuts = [], []

    @move(when=lambda self: self.holders, holder=HOLDER, with_rows=st.booleans())
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

    @move(when=lambda self: self.holders, holder=HOLDER)
    def remark(self, holder: Holder) -> None:
        lease = holder.lease
        self.both(
            lambda: self.world.owned(lease).note("checkpoint_failed", lease.worker),
            lambda tx: leases.remark(tx, lease, "checkpoint_failed", "the disk is full"),
        )

    @move(when=lambda self: self.holders, holder=HOLDER, reason=st.sampled_from(Reason))
    def fail(self, holder: Holder, reason: Reason) -> None:
        lease = holder.lease
        self.both(
            lambda: self.world.fail(lease, reason), lambda tx: leases.fail(tx, lease, reason, "")
        )

    @move(
        when=lambda self: self.holders,
        holder=HOLDER,
        alone=st.booleans(),
        delay=st.sampled_from([timedelta(), LEASE]),
    )
    def hand_back(self, holder: Holder, *, alone: bool, delay: timedelta) -> None:
        lease = holder.lease
        self.both(
            lambda: self.world.hand_back(lease, alone=alone, delayed=bool(delay)),
            lambda tx: leases.hand_back(tx, lease, alone=alone, delay=delay),
        )

    @move(when=lambda self: self.holding(), worker=WORKERS)
    def hand_back_all(self, worker: str) -> None:
        for each in self.holding():
            if each.lease.worker == worker:
                self.world.hand_back(each.lease, alone=False, delayed=False)
        with self.sessions.begin() as tx:
            claims.unclaim(tx, worker)

    @move(when=lambda self: self.holders, holder=HOLDER)
    def confirm_cancel(self, holder: Holder) -> None:
        lease = holder.lease
        self.both(
            lambda: self.world.owned(lease).leave(
                State.CANCELLED, "confirm_cancel", lease.worker, "cancelled"
            ),
            lambda tx: leases.confirm_cancel(tx, lease),
        )

    # -- clients

    @move(
        when=lambda self: self.world.unfinished() < MOST,
        priority=st.integers(0, 1),
        population=st.booleans(),
    )
    def submit(self, priority: int, *, population: bool) -> None:
        with self.sessions.begin() as tx:
            job = jobs.add(tx, spec(priority=priority, population=population))
        assert (job.population is not None) == population
        self.world.submit(job.id, priority, job.population, None)

    @move(when=lambda self: self.world.unfinished() < MOST, job_id=JOB, which=st.integers(0, 3))
    def go_on_from(self, job_id: str, which: int) -> None:
        with self.sessions.begin() as tx:
            if found := checkpoints.find(tx, job_id):
                origin = found[which % len(found)]
                job = jobs.add(tx, Submission(spec(), origin=origin))
                self.world.submit(job.id, 0, None, (job_id, origin.iteration))

    @move(job_id=JOB, verb=st.sampled_from(ASKED))
    def ask(self, job_id: str, verb: str) -> None:
        expected, action = (
            getattr(self.world, verb),
            getattr(jobs if verb == "remove" else moves, verb),
        )
        self.both(lambda: expected(self.world.jobs[job_id]), lambda tx: action(tx, job_id))

    # -- the reconciler, and time

    @move(max_crashes=st.integers(1, 3))
    def expire(self, max_crashes: int) -> None:
        expected = self.world.expire(max_crashes)
        with self.sessions.begin() as tx:
            found = recovery.expire(tx, max_crashes=max_crashes)
        assert sorted(job.id for job in found) == sorted(job.id for job in expected)

    @move()
    def make_compact(self) -> None:
        """Changes nothing that can be seen."""
        with self.sessions.read() as tx:
            found = compaction.due(tx)
        for job in found:
            with self.sessions.read() as tx:
                blocks = compaction.pending(tx, job)
            for block in blocks:
                with self.sessions.begin() as tx:
                    assert compaction.compact(tx, job, block)
            with self.sessions.begin() as tx:
                compaction.settle(tx, job)

    @move(when=lambda self: self.holders, holder=HOLDER)
    def lease_runs_out(self, holder: Holder) -> None:
        if job := self.world.held(holder.lease):
            job.ran_out = True
            past = from_now(timedelta(seconds=-1))
            with self.sessions.begin() as tx:
                tx.execute(update(table).where(table.c.id == job.id).values(lease_expires=past))

    @move(when=lambda self: any(job.delayed for job in self.world.jobs.values()))
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
            rows = {each: found[each].get(job_id, []) for each in found}
            compare(stored[job_id], job, rows, files=self.files)


def _by_job(found: Any) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = {}
    for row in found:
        grouped.setdefault(row["job_id"], []).append(row)
    return grouped


@pytest.mark.timeout(0)  # it takes minutes to make an order that is wrong shorter
def test_any_order_of_moves_leaves_what_the_model_says(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    # so few rows are several blocks, and many chunks
    monkeypatch.setattr(summaries, "BLOCK", 4)
    monkeypatch.setattr(compaction, "CROWD", 2)
    Life.sessions = sessions
    fast = sessions.engine.dialect.name == "sqlite"
    given = int(os.environ.get("STEPSIZE_TEST_EXAMPLES", "0"))
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=given or (80 if fast else 25),
            stateful_step_count=40,
            derandomize=not given,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
