"""Jobs trained as one program: each has its own rows, lease, cancel and end."""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sqlalchemy import select, update

from spec.jobs import TrainingSpec
from spec.settings import Settings
from spec.states import Reason, State
from store import claims, leases, moves, recovery, series, workers
from store.database import Sessions
from store.files import opened
from store.instants import from_now
from store.jobs import Job
from store.leases import Progress
from store.tables import attempts
from store.tables import jobs as table
from tests.factories import LEASE, claimed, queued, stored
from worker import engine
from worker import job as jobs_of_workers
from worker import recorder as recorders
from worker.drain import Drain
from worker.engine import STATE_VERSION, Block, Checkpoint, EngineError, Event, Finished, Plan
from worker.population import share

CPU = torch.device("cpu")
ROUNDS, ROWS = 4, 5


def rows_of(seed: int, number: int) -> Block:
    """The rows of a round: as the seed of their job wants them."""
    values = np.arange(number * ROWS, (number + 1) * ROWS)
    columns = {"loss": (values + 1000 * seed).astype(np.float32), "lr": values / 10}
    return Block("train", 0, number * ROWS, columns)


@dataclass
class Program:
    """Stands in for the engine: `ROUNDS` blocks for each job, and what a test lets happen.

    `before` is called with the number of each round; what it returns happens to single members.
    """

    size: int = 100
    before: Callable[[int], dict[int, EngineError | Finished]] = lambda _: {}
    asked: list[int] = field(default_factory=list)
    together: list[list[int]] = field(default_factory=list)
    alone: list[int] = field(default_factory=list)
    served: list[tuple[int, int]] = field(default_factory=list)

    def population_size(self, _: TrainingSpec, *, most: int, **__: Any) -> int:
        self.asked.append(most)
        return min(self.size, most)

    def run_population(
        self,
        specs: Sequence[TrainingSpec],
        *,
        left: Container[int],
        due: Callable[[int], bool],
        resume: Sequence[dict[str, Any]],
        **_: Any,
    ) -> Iterator[tuple[int, Event | EngineError]]:
        self.together.append([spec.seed for spec in specs])
        notes = {"population": len(specs)}
        first = resume[0]["number"] + 1 if resume else 0
        for index in range(len(specs)):
            yield index, Plan(ROUNDS * ROWS, 10, None, dict(notes), start=first * ROWS)
        live = set(range(len(specs)))
        for number in range(first, ROUNDS):
            for index, event in self.before(number).items():
                live.discard(index)
                yield index, event
            for index in sorted(live):
                if index not in left:
                    self.served.append((index, number))
                    yield index, rows_of(specs[index].seed, number)
                if index not in left and due(index):
                    yield (
                        index,
                        Checkpoint(
                            (number + 1) * ROWS, False, {"version": STATE_VERSION, "number": number}
                        ),
                    )
        for index in sorted(live):
            if index not in left:
                yield index, Finished({"seed": specs[index].seed})

    def run(
        self, spec: TrainingSpec, *, resume: dict[str, Any] | None, **_: Any
    ) -> Iterator[Event]:
        self.alone.append(spec.seed)
        first = resume["number"] + 1 if resume else 0
        yield Plan(ROUNDS * ROWS, 10, None, {}, start=first * ROWS)
        for number in range(first, ROUNDS):
            yield rows_of(spec.seed, number)
        yield Finished({"seed": spec.seed})


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    """The engine of the worker; every block is stored as soon as it is there."""
    fake = Program()
    for name in ("population_size", "run_population", "run"):
        monkeypatch.setattr(engine, name, getattr(fake, name))
    monkeypatch.setattr(recorders, "FIRST_INTERVAL", 0.0)
    return fake


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(database_url=database_url, broker_url="redis://unused", data_dir=tmp_path)


@pytest.fixture
def drain() -> Drain:
    return Drain()


@pytest.fixture
def work(sessions: Sessions, settings: Settings, drain: Drain) -> Callable[[], bool]:
    """Claims a job and runs it, with what it is trained with; False when there is none."""

    def work() -> bool:
        with sessions.begin() as tx:
            found = claims.claim(tx, worker="w", queues=settings.queues, lease=LEASE)
        if found is None:
            return False
        jobs_of_workers.run(
            *found,
            sessions=sessions,
            settings=settings,
            device=CPU,
            drain=drain,
            files=opened(settings.checkpoints),
        )
        return True

    return work


def submitted(sessions: Sessions, count: int = 4) -> list[str]:
    return [queued(sessions, population=True, seed=seed).id for seed in range(count)]


def all_of(sessions: Sessions, ids: Sequence[str]) -> list[Job]:
    return [stored(sessions, job_id) for job_id in ids]


def losses(sessions: Sessions, job_id: str) -> list[float]:
    with sessions.read() as tx:
        found = series.read(
            tx, job_id, ["loss"], series="train", repeat=0, start=0, stop=None, points=None
        )
    values: list[float] = found.columns["loss"].tolist()
    return values


def expected(seed: int, rounds: int = ROUNDS) -> list[float]:
    return [1000.0 * seed + row for row in range(rounds * ROWS)]


def history(sessions: Sessions, job_id: str) -> list[tuple[int, str | None, int | None]]:
    query = (
        select(attempts.c.attempt, attempts.c.outcome, attempts.c.iterations)
        .where(attempts.c.job_id == job_id)
        .order_by(attempts.c.attempt)
    )
    with sessions.read() as tx:
        return [tuple(row) for row in tx.execute(query)]


def run_out(sessions: Sessions, job_id: str) -> None:
    with sessions.begin() as tx:
        past = from_now(timedelta(seconds=-1))
        tx.execute(update(table).where(table.c.id == job_id).values(lease_expires=past))
    with sessions.begin() as tx:
        assert recovery.expire(tx, max_crashes=3)


def once(number: int, action: Callable[[], object]) -> Callable[[int], dict[int, Any]]:
    """`before` that does something ahead of one round."""

    def before(now: int) -> dict[int, Any]:
        if now == number:
            action()
        return {}

    return before


def assert_succeeded(sessions: Sessions, job_id: str, seed: int) -> None:
    job = stored(sessions, job_id)
    assert (job.state, job.result) == (State.SUCCEEDED, {"seed": seed}), job.detail
    assert job.iteration == job.iterations == ROUNDS * ROWS
    assert losses(sessions, job_id) == expected(seed)


def test_each_job_has_its_own_plan_rows_and_end(
    sessions: Sessions, program: Program, work: Callable[[], bool]
) -> None:
    ids = submitted(sessions)
    assert work()
    assert program.together == [[0, 1, 2, 3]]
    assert program.asked == [4]
    for seed, job in enumerate(all_of(sessions, ids)):
        assert_succeeded(sessions, job.id, seed)
        assert (job.resolved or {})["population"] == 4
        assert history(sessions, job.id) == [(1, "succeeded", ROUNDS * ROWS)]
    assert not work()


def test_where_it_does_not_pay_jobs_run_one_by_one(
    sessions: Sessions, program: Program, work: Callable[[], bool]
) -> None:
    ids = submitted(sessions, 3)
    program.size = 1
    assert work()
    assert [job.state for job in all_of(sessions, ids)] == [
        State.SUCCEEDED,
        State.QUEUED,
        State.QUEUED,
    ]
    assert work()
    assert work()
    assert (program.together, program.alone) == ([], [0, 1, 2])
    assert program.asked == [3, 2]  # the last one had no siblings left


def test_no_more_run_together_than_is_best(
    sessions: Sessions, program: Program, work: Callable[[], bool]
) -> None:
    submitted(sessions, 5)
    program.size = 3
    while work():
        pass
    assert program.together == [[0, 1, 2], [3, 4]]


def test_a_job_that_does_not_ask_for_it_runs_alone(
    sessions: Sessions, program: Program, work: Callable[[], bool]
) -> None:
    ids = [queued(sessions, seed=seed).id for seed in range(2)]
    assert work()
    assert (program.asked, program.alone) == ([], [0])
    assert_succeeded(sessions, ids[0], 0)


@pytest.mark.parametrize(
    ("ready", "idle", "mine"),
    [(1, 0, 1), (8, 0, 8), (8, 1, 4), (7, 1, 4), (2, 1, 1), (2, 5, 1), (9, 3, 3)],
)
def test_idle_workers_get_as_many(ready: int, idle: int, mine: int) -> None:
    assert share(ready, idle) == mine


def test_siblings_are_left_to_an_idle_worker(
    sessions: Sessions, program: Program, work: Callable[[], bool]
) -> None:
    ids = submitted(sessions, 6)
    with sessions.begin() as tx:
        workers.report(
            tx,
            name="another",
            device="cpu",
            state="idle",
            job_id=None,
            queues=["default"],
            versions={},
            started_at=datetime.now(UTC),
        )
    assert work()
    assert program.together == [[0, 1, 2]]
    assert [job.state for job in all_of(sessions, ids)[3:]] == [State.QUEUED] * 3


def test_a_job_that_is_cancelled_leaves_and_the_others_go_on(
    sessions: Sessions, program: Program, work: Callable[[], bool]
) -> None:
    ids = submitted(sessions)

    def cancel() -> None:
        with sessions.begin() as tx:
            moves.cancel(tx, ids[1])

    program.before = once(2, cancel)
    assert work()
    gone = stored(sessions, ids[1])
    assert gone.state is State.CANCELLED
    assert losses(sessions, ids[1]) == expected(1, rounds=3)  # the round that told of it is kept
    assert history(sessions, ids[1]) == [(1, "cancelled", 3 * ROWS)]
    assert (1, 3) not in program.served
    for seed in (0, 2, 3):
        assert_succeeded(sessions, ids[seed], seed)


def test_a_job_whose_lease_is_lost_is_dropped_and_written_no_more(
    sessions: Sessions, program: Program, work: Callable[[], bool]
) -> None:
    ids = submitted(sessions)

    def lose() -> None:
        run_out(sessions, ids[2])
        taken = claimed(sessions, worker="another")
        assert (taken.job_id, taken.attempt) == (ids[2], 2)
        with sessions.begin() as tx:
            leases.record(tx, [Progress(taken, 7, [])], extend=LEASE)

    program.before = once(2, lose)
    assert work()
    taken = stored(sessions, ids[2])
    assert (taken.state, taken.attempt, taken.iteration) == (State.RUNNING, 2, 7)
    assert losses(sessions, ids[2]) == []
    assert history(sessions, ids[2]) == [(1, "lost", 2 * ROWS), (2, None, None)]
    assert (2, 3) not in program.served
    for seed in (0, 1, 3):
        assert_succeeded(sessions, ids[seed], seed)


def test_when_the_node_ends_every_job_is_handed_back(
    sessions: Sessions, program: Program, work: Callable[[], bool], drain: Drain
) -> None:
    ids = submitted(sessions)
    key = stored(sessions, ids[0]).population
    program.before = once(1, lambda: drain.note(15))
    assert work()
    for job in all_of(sessions, ids):
        assert (job.state, job.attempt, job.crashes) == (State.QUEUED, 1, 0)
        assert (job.population, job.checkpoint) == (key, 2 * ROWS)
        assert history(sessions, job.id) == [(1, "handed_back", 2 * ROWS)]
    drain.asked = False
    program.before = lambda _: {}
    assert work()
    assert (program.together, program.alone) == ([[0, 1, 2, 3]] * 2, [])
    for seed, job in enumerate(all_of(sessions, ids)):
        assert_succeeded(sessions, job.id, seed)
        assert job.attempt == 2


def test_a_member_that_fails_fails_alone(
    sessions: Sessions, program: Program, work: Callable[[], bool]
) -> None:
    ids = submitted(sessions)
    error = EngineError(Reason.INVALID, "its rate is \x00 odd")
    program.before = lambda now: {1: error} if now == 2 else {}
    assert work()
    failed = stored(sessions, ids[1])
    assert (failed.state, failed.reason) == (State.FAILED, Reason.INVALID)
    assert failed.detail == "its rate is  odd"
    assert losses(sessions, ids[1]) == expected(1, rounds=2)
    for seed in (0, 2, 3):
        assert_succeeded(sessions, ids[seed], seed)


def test_a_result_that_cannot_be_stored_fails_its_job_alone(
    sessions: Sessions, program: Program, work: Callable[[], bool]
) -> None:
    ids = submitted(sessions)
    odd: Any = {"loss": object()}
    program.before = lambda now: {3: Finished(odd)} if now == 1 else {}
    assert work()
    failed = stored(sessions, ids[3])
    assert (failed.state, failed.reason) == (State.FAILED, Reason.CODE)
    for seed in (0, 1, 2):
        assert_succeeded(sessions, ids[seed], seed)


def test_a_job_of_another_version_fails_and_the_others_train(
    sessions: Sessions, program: Program, work: Callable[[], bool]
) -> None:
    ids = submitted(sessions, 3)
    with sessions.begin() as tx:
        row = table.c.id == ids[1]
        tx.execute(update(table).where(row).values(spec={"kind": "of another version"}))
    assert work()
    failed = stored(sessions, ids[1])
    assert (failed.state, failed.reason) == (State.FAILED, Reason.INVALID)
    assert program.together == [[0, 2]]
    for seed in (0, 2):
        assert_succeeded(sessions, ids[seed], seed)


@pytest.mark.parametrize(
    "error",
    [EngineError(Reason.OOM, "too many"), EngineError(Reason.CODE, "x"), KeyError("of our own")],
)
def test_where_the_program_cannot_be_run_what_is_left_runs_one_by_one(
    sessions: Sessions, program: Program, work: Callable[[], bool], error: Exception
) -> None:
    ids = submitted(sessions)

    def fail(now: int) -> dict[int, Any]:
        if now == 3:
            with sessions.begin() as tx:
                moves.cancel(tx, ids[3])
            raise error
        return {1: Finished({"seed": 1})} if now == 2 else {}

    program.before = fail
    assert work()
    states = [job.state for job in all_of(sessions, ids)]
    assert states == [State.QUEUED, State.SUCCEEDED, State.QUEUED, State.CANCELLED]
    while work():
        pass
    assert (program.together, program.alone) == ([[0, 1, 2, 3]], [0, 2])
    for seed in (0, 2):
        assert_succeeded(sessions, ids[seed], seed)
        job = stored(sessions, ids[seed])
        assert (job.attempt, job.crashes) == (2, 0)
        assert "population" not in (job.resolved or {})
        assert history(sessions, job.id) == [
            (1, "handed_back", 3 * ROWS),
            (2, "succeeded", ROUNDS * ROWS),
        ]


def test_those_that_ended_just_before_it_failed_have_ended(
    sessions: Sessions, program: Program, work: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_population(specs: Sequence[TrainingSpec], **_: Any) -> Iterator[tuple[int, Event]]:
        for index in range(len(specs)):
            yield index, rows_of(specs[index].seed, 0)
        for index in (0, 1):
            yield index, Finished({"seed": specs[index].seed})
        raise EngineError(Reason.OOM, "there is no room for those that stay")

    monkeypatch.setattr(engine, "run_population", run_population)
    ids = submitted(sessions, 3)
    assert work()
    states = [job.state for job in all_of(sessions, ids)]
    assert states == [State.SUCCEEDED, State.SUCCEEDED, State.QUEUED]
    while work():
        pass
    assert program.alone == [2]


def test_a_program_that_ends_early_leaves_no_job_behind(
    sessions: Sessions,
    program: Program,
    work: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = submitted(sessions, 2)
    monkeypatch.setattr(engine, "run_population", lambda *_, **__: iter(()))
    while work():
        pass
    assert program.alone == [0, 1]
    for seed, job_id in enumerate(ids):
        assert_succeeded(sessions, job_id, seed)


def test_where_the_size_cannot_be_told_the_job_runs_alone(
    sessions: Sessions,
    program: Program,
    work: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def population_size(*_: Any, **__: Any) -> int:
        raise EngineError(Reason.INVALID, "no such data")

    monkeypatch.setattr(engine, "population_size", population_size)
    ids = submitted(sessions, 2)
    assert work()
    assert program.alone == [0]
    assert stored(sessions, ids[1]).state is State.QUEUED


def test_after_a_crash_each_job_runs_alone(
    sessions: Sessions, program: Program, work: Callable[[], bool]
) -> None:
    class Killed(BaseException):
        """What no handler may catch, as when the process is killed."""

    def die() -> None:
        raise Killed

    ids = submitted(sessions)
    program.before = once(2, die)
    with pytest.raises(Killed):
        work()
    assert {job.state for job in all_of(sessions, ids)} == {State.RUNNING}
    for job_id in ids:
        run_out(sessions, job_id)
    while work():
        pass
    assert (program.together, program.alone) == ([[0, 1, 2, 3]], [0, 1, 2, 3])
    for seed, job in enumerate(all_of(sessions, ids)):
        assert_succeeded(sessions, job.id, seed)
        assert (job.attempt, job.crashes) == (2, 1)
        assert "population" not in (job.resolved or {})
        assert history(sessions, job.id) == [
            (1, "lost", 2 * ROWS),
            (2, "succeeded", ROUNDS * ROWS),
        ]


def test_what_many_jobs_record_is_stored_in_one_transaction(
    sessions: Sessions,
    program: Program,
    work: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, stored_at_once = leases.record, []

    def record(tx: Any, news: Sequence[Progress], **options: Any) -> leases.Renewal:
        stored_at_once.append(len(news))
        return real(tx, news, **options)

    monkeypatch.setattr(leases, "record", record)
    monkeypatch.setattr(recorders, "FIRST_INTERVAL", 60.0)
    monkeypatch.setattr(recorders, "ENOUGH_ROWS", 2 * ROWS)
    ids = submitted(sessions, 8)
    assert work()
    # the first block of all, then all of them whenever one has enough, then their ends
    assert stored_at_once == [1, *[8] * 3, 8]
    for seed, job_id in enumerate(ids):
        assert_succeeded(sessions, job_id, seed)


def test_one_whose_end_cannot_be_stored_does_not_keep_the_others_from_theirs(
    sessions: Sessions,
    program: Program,
    work: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = leases.succeed

    def succeed(tx: Any, lease: leases.Lease, result: dict[str, Any]) -> None:
        if result["seed"] == 2:
            raise ValueError("no such result")
        real(tx, lease, result)

    monkeypatch.setattr(leases, "succeed", succeed)
    ids = submitted(sessions)
    assert work()
    for seed in (0, 1, 3):
        assert_succeeded(sessions, ids[seed], seed)
    failed = stored(sessions, ids[2])
    assert (failed.state, failed.reason) == (State.FAILED, Reason.CODE)
    assert losses(sessions, ids[2]) == expected(2)


def test_one_that_is_lost_at_the_last_moment_does_not_keep_the_others_from_their_ends(
    sessions: Sessions,
    program: Program,
    work: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorders, "FIRST_INTERVAL", 60.0)
    ids = submitted(sessions)
    program.before = once(ROUNDS - 1, lambda: run_out(sessions, ids[1]))
    assert work()
    for seed in (0, 2, 3):
        assert_succeeded(sessions, ids[seed], seed)
    assert stored(sessions, ids[1]).state == State.QUEUED
    assert [outcome for _, outcome, _ in history(sessions, ids[1])] == ["lost"]
