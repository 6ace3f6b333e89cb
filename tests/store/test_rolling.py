"""Old and new side by side: what code of the schema before needs sends, after the migration."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import MetaData, Table, insert, select, update

from migrations.run import downgrade, upgrade
from spec.needs import Offer
from store import claims, jobs, leases, recovery, workers
from store.database import Sessions
from store.jobs import Job
from store.leases import Lease
from store.upserts import upsert
from store.waiting import waiting
from tests.factories import LEASE, queued, run_out

BEFORE_NEEDS = "0008"

NOW = int(datetime.now(UTC).timestamp()) * 1_000_000


@pytest.fixture
def old(sessions: Sessions) -> dict[str, Table]:
    """The tables as the older code knows them; the database is at the newest schema."""
    downgrade(sessions, BEFORE_NEEDS)
    known = MetaData()
    with sessions.read() as tx:
        known.reflect(tx, only=["jobs", "workers", "attempts", "job_tags"], resolve_fks=False)
    upgrade(sessions)
    assert "needs" not in known.tables["jobs"].c
    return dict(known.tables)


def submitted(sessions: Sessions, old: dict[str, Table], job_id: str) -> Job:
    """A job that an older API has queued: with all columns that it knows, and no others."""
    like = queued(sessions)
    table = old["jobs"]
    with sessions.begin() as tx:
        row = tx.execute(select(table).where(table.c.id == like.id)).one()
        known = {name: value for name, value in row._mapping.items() if value is not None}
        tx.execute(insert(table).values({**known, "id": job_id}))
        tx.execute(table.delete().where(table.c.id == like.id))
        return jobs.get(tx, job_id)


def reported(sessions: Sessions, old: dict[str, Table], name: str) -> None:
    row: dict[str, Any] = {
        "name": name,
        "device": "cpu",
        "state": "idle",
        "job_id": None,
        "queues": ["default"],
        "versions": {"stepsize": "0.0.9"},
        "started_at": NOW,
        "seen_at": int(datetime.now(UTC).timestamp() * 1_000_000),
    }
    with sessions.begin() as tx:
        upsert(tx, old["workers"], [row])


def claimed_by_an_older(sessions: Sessions, old: dict[str, Table], job: Job, name: str) -> Lease:
    table = old["jobs"]
    taken = {"state": "running", "attempt": job.attempt + 1, "lease_owner": name}
    times = {"lease_expires": NOW + 60_000_000, "started_at": NOW}
    attempt = {"job_id": job.id, "attempt": job.attempt + 1, "worker": name, "started_at": NOW}
    with sessions.begin() as tx:
        tx.execute(update(table).where(table.c.id == job.id).values(**taken, **times))
        tx.execute(insert(old["attempts"]).values(**attempt, began=0))
    return Lease(job.id, job.attempt + 1, name)


def test_a_job_of_an_older_api_is_any_workers(sessions: Sessions, old: dict[str, Table]) -> None:
    job = submitted(sessions, old, "job_1")
    assert job.needs == ""
    with sessions.begin() as tx:
        claimed = claims.claim(tx, worker="w", queues=["default"], lease=LEASE, unit="GPU-1")
    assert claimed is not None
    assert claimed[0].id == "job_1"


def test_an_older_worker_is_listed_and_counted_on_for_any_job(
    sessions: Sessions, old: dict[str, Table]
) -> None:
    reported(sessions, old, "cpu-1@a")
    reported(sessions, old, "cpu-1@a")
    job = submitted(sessions, old, "job_1")
    with sessions.read() as tx:
        (found,) = workers.find(tx, lost_after=LEASE)
        why = waiting(tx, job, lost_after=LEASE)
        assert workers.idle(tx, queue="default", besides="w", lost_after=LEASE) == 1
    assert (found.state, found.offer, found.quarantine) == ("idle", None, None)
    assert why is not None
    assert why.why == "soon"


def test_what_an_older_worker_loses_counts_against_nobody(
    sessions: Sessions, old: dict[str, Table]
) -> None:
    reported(sessions, old, "cpu-1@a")
    for number in range(4):
        job = submitted(sessions, old, f"job_{number}")
        claimed_by_an_older(sessions, old, job, "cpu-1@a")
        run_out(sessions, job.id)
        with sessions.begin() as tx:
            assert [each.state for each in recovery.expire(tx, max_crashes=9)] == ["queued"]
    with sessions.read() as tx:
        (found,) = workers.find(tx, lost_after=LEASE)
    assert found.state == "idle"


def test_a_job_goes_from_an_older_worker_to_a_newer(
    sessions: Sessions, old: dict[str, Table]
) -> None:
    lease = claimed_by_an_older(sessions, old, submitted(sessions, old, "job_1"), "cpu-1@a")
    with sessions.begin() as tx:
        leases.hand_back(tx, lease)
        claimed = claims.claim(tx, worker="w", queues=["default"], lease=LEASE)
    assert claimed is not None
    assert claimed[0].attempt == 2
    with sessions.begin() as tx:
        leases.succeed(tx, claimed[1], {})


def test_a_worker_that_is_upgraded_says_what_it_offers(
    sessions: Sessions, old: dict[str, Table]
) -> None:
    reported(sessions, old, "cpu-1@a")
    with sessions.begin() as tx:
        workers.report(
            tx,
            name="cpu-1@a",
            device="cpu",
            state="idle",
            job_id=None,
            queues=["default"],
            versions={},
            started_at=datetime.now(UTC),
            offer=Offer(labels=("nvme",)),
            unit="cpu-1@a",
        )
    reported(sessions, old, "cpu-1@a")  # and back again: what it said then stays until it leaves
    with sessions.read() as tx:
        (found,) = workers.find(tx, lost_after=LEASE)
    assert found.offer == Offer(labels=("nvme",))
