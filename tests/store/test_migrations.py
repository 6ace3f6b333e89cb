"""The migrations make the tables that the code expects, on both databases."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, inspect, select
from sqlalchemy.exc import SAWarning

from migrations import versions
from migrations.run import downgrade, newest, upgrade
from spec.access import ANYONE, Scope
from spec.catalogue import Offered
from spec.states import State
from spec.sweeps import Objective, Stopping
from store import (
    audit,
    checkpoints,
    components,
    deliveries,
    history,
    idempotency,
    jobs,
    keys,
    leases,
    moves,
    recovery,
    retention,
    rungs,
    series,
    summaries,
    sweeps,
    tallies,
    webhooks,
    workers,
)
from store import owners as holdings
from store.chunks import Chunk
from store.database import Sessions
from store.idempotency import Answer
from store.instants import now
from store.jobs import Job, Submission
from store.leases import Lease, Progress
from store.rungs import Contest
from store.summaries import Line
from store.sweeps import NewTrial
from store.tables import metadata, owners, quarantines, strikes
from sweeps.stopping import Rung
from tests.factories import LEASE, claimed, queued, record, rows, saved, spec, stored


def test_schema_and_code_do_not_drift(sessions: Sessions) -> None:
    with sessions.read() as tx:
        options = {
            "compare_type": False,  # Instant is a BigInteger to the database
            # an expression comes back in other words, if at all: its test looks at plans
            "include_name": lambda name, kind, _: (kind, name) != ("index", "ix_jobs_lane"),
            "include_object": lambda _, name, *__: name != "ix_jobs_lane",
        }
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Skipped unsupported reflection", SAWarning)
            warnings.filterwarnings("ignore", "autogenerate skipping metadata-specified")
            found = compare_metadata(MigrationContext.configure(tx, opts=options), metadata)
            indexes = {index["name"] for index in inspect(tx).get_indexes("jobs")}
    assert found == []
    assert {"ix_jobs_running", "ix_jobs_expiry", "ix_jobs_siblings"} <= indexes


def test_check_constraints_are_in_the_database(sessions: Sessions) -> None:
    with sessions.read() as tx:
        found = {each["name"] for each in inspect(tx).get_check_constraints("jobs")}
    expected = {each.name for each in metadata.tables["jobs"].constraints if each.name}
    assert {name for name in expected if str(name).startswith("ck_")} <= found


def test_down_and_up_again(sessions: Sessions) -> None:
    downgrade(sessions, "base")
    with sessions.read() as tx:
        assert set(inspect(tx).get_table_names()) <= {"alembic_version"}
    assert upgrade(sessions) == newest()


def test_jobs_and_what_they_recorded_survive_a_step_down_and_up(sessions: Sessions) -> None:
    job = queued(sessions, population=True)
    lease = claimed(sessions)
    chunk = Chunk("train", 0, 0, {"loss": np.ones(3, np.float32)})
    with sessions.begin() as tx:
        leases.record(tx, [Progress(lease, 3, [chunk])], extend=LEASE)
    downgrade(sessions, "0001")
    with sessions.read() as tx:
        assert "population" not in {each["name"] for each in inspect(tx).get_columns("jobs")}
    assert upgrade(sessions) == newest()
    after = stored(sessions, job.id)
    assert (after.state, after.iteration, after.population) == (State.RUNNING, 3, None)
    with sessions.read() as tx:
        figures, _ = series.summary(tx, job.id)
    assert [each.count for each in figures] == [3]


def test_what_the_third_schema_added_is_left_behind_by_a_step_down(sessions: Sessions) -> None:
    lease, held, child = everything(sessions)
    downgrade(sessions, "0002")
    with sessions.read() as tx:
        assert not {"checkpoints", "history"} & set(inspect(tx).get_table_names())
        states: dict[str, str] = dict(tx.exec_driver_sql("SELECT id, state FROM jobs").all())
        outcomes = tx.exec_driver_sql("SELECT outcome FROM attempts ORDER BY attempt").all()
        told = inspect(tx).get_check_constraints("jobs")
    # a paused job waits in the queue: nobody could resume it
    assert states == {lease.job_id: "running", held.job_id: "queued", child.id: "queued"}
    assert sorted(str(outcome) for (outcome,) in outcomes) == ["None", "handed_back"]
    (state,) = (each["sqltext"] for each in told if each["name"] == "ck_jobs_state")
    assert "paused" not in state
    assert upgrade(sessions) == newest()
    running, back, again = (
        stored(sessions, each) for each in (lease.job_id, held.job_id, child.id)
    )
    assert (running.state, running.iteration, running.checkpoint) == (State.RUNNING, 9, None)
    assert (back.state, back.failures, back.pause_requested) == (State.QUEUED, 0, False)
    assert (again.parent, again.parent_iteration) == (None, None)
    with sessions.read() as tx:
        assert [each.count for each in series.summary(tx, lease.job_id)[0]] == [9, 9]
        assert history.changes(tx, lease.job_id, limit=9) == []
        assert [each.state for each in workers.find(tx, lost_after=LEASE)] == ["idle"]


def test_a_job_of_an_older_schema_starts_over_once_and_lives_on(sessions: Sessions) -> None:
    lease, _, _ = everything(sessions)
    downgrade(sessions, "0002")
    upgrade(sessions)
    with sessions.begin() as tx:
        leases.hand_back(tx, lease)
    again = claimed(sessions)
    assert again.job_id == lease.job_id
    with sessions.read() as tx:
        assert series.summary(tx, lease.job_id) == ([], [])
    record(sessions, again, 4, rows(0, 4), checkpoints=[saved(4)])
    with sessions.begin() as tx:
        moves.pause(tx, again.job_id)
    with sessions.begin() as tx:
        leases.hand_back(tx, again)
    with sessions.read() as tx:
        told = [each.verb for each in history.changes(tx, lease.job_id, limit=9)]
    assert told == ["hand_back", "claim", "pause", "hand_back"]
    assert stored(sessions, lease.job_id).state == State.PAUSED


def everything(sessions: Sessions) -> tuple[Lease, Lease, Job]:
    """Rows in every table: a job that runs, a paused one, and one that is to go on from that."""
    queued(sessions, tags={"project": "demo"})
    lease = claimed(sessions)
    record(sessions, lease, 9, rows(0, 5), rows(5, 9, after=5), checkpoints=[saved(5)])
    queued(sessions)
    held = claimed(sessions)
    record(sessions, held, 3, checkpoints=[saved(3)])
    with sessions.begin() as tx:
        moves.pause(tx, held.job_id)
    with sessions.begin() as tx:
        leases.hand_back(tx, held)
        child = jobs.add(tx, Submission(spec(), origin=checkpoints.get(tx, held.job_id)))
        workers.report(
            tx,
            name="w",
            device="cpu",
            state="idle",
            job_id=None,
            queues=["default"],
            versions={},
            started_at=child.created_at,
        )
        workers.drain(tx, "w", asked=True)
        tallies.add(tx, {"iterations": 9})
        recovery.lead(tx, name="reconciler", holder="a", lease=LEASE)
        idempotency.keep(tx, Answer("0" * 64, 201, None, b"{}"), caller="a", key="k")
        keys.issue(tx, name="a", owner="a", scopes={Scope.READ})
        audit.note(tx, ANYONE, "cancel", held.job_id)
        retention.add(tx, "a", what="series", after_days=1)
        holdings.remember(tx, holdings.count(tx))
        tx.execute(insert(owners).values(owner="a", max_running=1, changed_at=now()))
        webhook = webhooks.add(tx, owner="a", url="https://a.example/hook")
        deliveries.ping(tx, webhook)
        tx.execute(insert(strikes).values(unit="GPU-1", job_id=held.job_id, at=now()))
        left_out = {"unit": "GPU-1", "level": 1, "reason": "lost", "until": now()}
        tx.execute(insert(quarantines).values(left_out))
        sweep = sweeps.add(
            tx,
            {},
            by=ANYONE,
            name=None,
            promised=1,
            parallel=None,
            one_for_one=False,
            ending=None,
        )
        sweeps.add_trials(tx, sweep.id, [NewTrial(held.job_id, {}, {}, None, "0" * 64)], first=0)
        contest = Contest(sweep.id, 0, Stopping(name="asha"), Objective())
        rungs.stand(tx, lease, contest, Rung(5, 1, "cycle"), 0.5)
        net = {"kind": "model", "name": "net", "package": "lab", "version": "1", "parameters": {}}
        components.publish(tx, [Offered.model_validate({**net, "description": ""})])
        line = Line(lease.job_id, "train", 0)
        summaries.write(tx, line, 0, [rows(0, 5)], stop=summaries.BLOCK, merged=False)
    with sessions.read() as tx:
        for table in metadata.sorted_tables:
            assert tx.execute(select(table)).first(), table.name
    return lease, held, child


def test_upgrade_twice_is_harmless(sessions: Sessions) -> None:
    assert upgrade(sessions) == newest()


REVISIONS = sorted(
    path.name[1:5] for path in Path(versions.__file__).parent.glob("m[0-9][0-9][0-9][0-9]_*.py")
)


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_running_job_outlives_a_step_back_to_any_schema(
    sessions: Sessions, revision: str
) -> None:
    """Its worker keeps its lease through the change, and goes on where it was."""
    lease, _, _ = everything(sessions)
    downgrade(sessions, revision)
    assert upgrade(sessions) == newest() == REVISIONS[-1]
    record(sessions, lease, 12, rows(9, 12, after=5 if revision >= "0003" else 0))
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {"iterations": 12})
    with sessions.read() as tx:
        figures, _ = series.summary(tx, lease.job_id)
    assert {each.count for each in figures} == {12}
    assert stored(sessions, lease.job_id).state == State.SUCCEEDED
    assert claimed(sessions).job_id != lease.job_id
