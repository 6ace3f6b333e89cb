"""Jobs of a sweep end early where they do worse than others, whatever dies meanwhile."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from spec.settings import Settings
from spec.states import State
from store import checkpoints, claims, history, leases, rungs, series
from store.database import Sessions
from store.files import opened
from store.jobs import Job
from store.tables import jobs as jobs_table
from store.tables import rungs as table
from tests.factories import LEASE, expired, queued, run_out, stored, swept
from worker import engine
from worker import job as jobs_of_workers
from worker.drain import Drain

ASHA: dict[str, Any] = {"stopping": {"name": "asha", "eta": 2}}
RUNG, LENGTH = 40, 100  # after its first cycle each is compared, and after its second


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(
        database_url=database_url, broker_url="redis://unused", data_dir=tmp_path / "data"
    )


@pytest.fixture
def work(sessions: Sessions, settings: Settings) -> Callable[[], Job | None]:
    """Claims a job and runs it, with what it is trained with."""

    def work() -> Job | None:
        with sessions.begin() as tx:
            found = claims.claim(tx, worker="w", queues=["default"], lease=LEASE)
        if found is None:
            return None
        jobs_of_workers.run(
            *found,
            sessions=sessions,
            settings=settings,
            device=torch.device("cpu"),
            drain=Drain(),
            files=opened(settings.checkpoints),
        )
        return stored(sessions, found[0].id)

    return work


def jobs_of(sessions: Sessions, sweep_id: str) -> list[Job]:
    query = select(jobs_table.c.id).where(jobs_table.c.sweep == sweep_id)
    with sessions.read() as tx:
        ids = list(tx.execute(query.order_by(jobs_table.c.id)).scalars())
    return [stored(sessions, job_id) for job_id in ids]


def stood(sessions: Sessions, iteration: int = RUNG) -> dict[str, Any]:
    query = select(table).where(table.c.iteration == iteration).order_by(table.c.job_id)
    with sessions.read() as tx:
        return {row.job_id: row for row in tx.execute(query)}


def losses(sessions: Sessions, job: Job) -> list[float]:
    with sessions.read() as tx:
        found = series.read(
            tx, job.id, ["loss"], series="train", repeat=0, start=0, stop=None, points=None
        )
    values: list[float] = found.columns["loss"].tolist()
    return values


def remarks(sessions: Sessions, job: Job) -> list[tuple[str, str | None]]:
    with sessions.read() as tx:
        found = history.changes(tx, job.id, limit=100)
    return [
        (each.verb, each.detail) for each in found if each.verb in {"stopped", "compare_failed"}
    ]


def assert_stopped(sessions: Sessions, job: Job, at: int) -> None:
    """All that a job has which was ended there."""
    assert (job.state, job.iteration, job.iterations) == (State.SUCCEEDED, at, LENGTH)
    result = job.result or {}
    why = stood(sessions, at)[job.id].why
    assert why.startswith("stopped after ")
    assert result["stopped"] == {"iteration": at, "why": why}
    assert result["iterations"] == at
    assert result["val_loss"] == stood(sessions, at)[job.id].value
    assert remarks(sessions, job) == [("stopped", why)]
    assert len(losses(sessions, job)) == at
    with sessions.read() as tx:
        latest = checkpoints.get(tx, job.id)
    assert (latest.iteration, latest.lasting) == (at, True)


def test_those_that_do_worse_end_at_a_rung(
    sessions: Sessions, work: Callable[[], Job | None]
) -> None:
    sweep = swept(sessions, 5, **ASHA)
    while work():
        pass
    done = jobs_of(sessions, sweep.id)
    first = stood(sessions)
    assert [row.job_id for row in first.values()] == [job.id for job in done]
    values = [row.value for row in first.values()]
    for i, (job, row) in enumerate(zip(done, first.values(), strict=True)):
        rank = 1 + sum(each < row.value for each in values[:i])
        assert row.stop == (i > 0 and rank > (i + 1) // 2)
        if row.stop:
            assert_stopped(sessions, job, RUNG)
        else:
            assert stored(sessions, job.id).state is State.SUCCEEDED
    assert 0 < sum(row.stop for row in first.values()) < 5
    best = done[values.index(min(values))]
    assert (best.result or {})["iterations"] in {80, LENGTH}
    assert not first[best.id].stop
    whole = [job for job in done if job.iteration == LENGTH]
    assert whole
    assert all("stopped" not in (job.result or {}) for job in whole)


def test_a_job_of_no_sweep_and_one_of_a_sweep_that_stops_none_run_to_their_end(
    sessions: Sessions, work: Callable[[], Job | None]
) -> None:
    swept(sessions, 1)
    queued(sessions)
    ended = [work(), work()]
    assert [each and each.iteration for each in ended] == [LENGTH, LENGTH]
    assert stood(sessions) == {}


def test_one_that_was_stopped_and_died_before_it_said_so_is_stopped_again(
    sessions: Sessions, work: Callable[[], Job | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = swept(sessions, 5, **ASHA)
    real = leases.succeed

    def die(tx: Any, lease: Any, result: Any) -> None:
        if "stopped" in result:
            raise KeyboardInterrupt
        real(tx, lease, result)

    monkeypatch.setattr(leases, "succeed", die)
    with pytest.raises(KeyboardInterrupt):
        all(iter(work, None))
    monkeypatch.setattr(leases, "succeed", real)
    (lost,) = [job for job in jobs_of(sessions, sweep.id) if job.state is State.RUNNING]
    assert lost.checkpoint == RUNG
    before = stood(sessions)
    run_out(sessions, lost.id)
    expired(sessions)
    again = work()
    assert again is not None
    assert (again.id, again.attempt) == (lost.id, 2)
    assert_stopped(sessions, again, RUNG)
    assert stood(sessions) == before


@pytest.mark.parametrize("step", ["stand", "settle"])
def test_while_the_database_is_away_a_job_goes_on(
    sessions: Sessions,
    work: Callable[[], Job | None],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("SELECT 1", None, Exception("the server has gone"))

    monkeypatch.setattr(rungs, step, away)
    sweep = swept(sessions, 3, **ASHA)
    while work():
        pass
    for job in jobs_of(sessions, sweep.id):
        assert (job.state, job.iteration, job.attempt) == (State.SUCCEEDED, LENGTH, 1)
        assert remarks(sessions, job) == [
            (
                "compare_failed",
                "it went on after 1 cycle without being compared: the server has gone",
            )
        ]


def test_who_loses_its_lease_there_writes_nothing_more(
    sessions: Sessions, work: Callable[[], Job | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    swept(sessions, 1, **ASHA)
    real = rungs.settle

    def late(tx: Any, lease: Any, *rest: Any) -> Any:
        return real(tx, leases.Lease(lease.job_id, lease.attempt + 1, lease.worker), *rest)

    monkeypatch.setattr(rungs, "settle", late)
    job = work()
    assert job is not None
    assert (job.state, job.result, job.checkpoint) == (State.RUNNING, None, None)
    assert [row.stop for row in stood(sessions).values()] == [None]


def test_one_that_diverges_is_stopped_at_once(
    sessions: Sessions, work: Callable[[], Job | None]
) -> None:
    """By its losses, within a few iterations; it never comes to a rung."""
    optimizer = {"name": "sgd", "params": {"weight_decay": 1000.0}}
    schedule = {"policy": "triangular", "base_lr": 0.01, "max_lr": 0.1, "step_size": 1000}
    swept(
        sessions,
        1,
        job={"optimizer": optimizer, "schedule": schedule, "length": {"cycles": 2}},
        **ASHA,
    )
    job = work()
    assert job is not None
    result = job.result or {}
    assert job.iteration == result["diverged_at"] + 10 < 200
    assert len(losses(sessions, job)) == job.iteration
    assert stood(sessions, 2000) == {}


def test_members_of_a_population_are_compared_with_each_other(
    sessions: Sessions, work: Callable[[], Job | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "population_size", lambda *_, most, **__: most)
    sweep = swept(sessions, 4, job={"population": True}, **ASHA)
    assert work()
    assert work() is None
    done = jobs_of(sessions, sweep.id)
    assert [(job.resolved or {})["population"] for job in done] == [4] * 4
    found = stood(sessions)
    ranked = sorted(done, key=lambda job: found[job.id].value)
    assert [found[job.id].stop for job in ranked] == [False, False, True, True]
    for job in ranked[2:]:
        assert_stopped(sessions, job, RUNG)
    second = stood(sessions, 80)
    last, best = sorted(ranked[:2], key=lambda job: -second[job.id].value)
    assert_stopped(sessions, last, 80)
    assert (best.iteration, remarks(sessions, best)) == (LENGTH, [])
