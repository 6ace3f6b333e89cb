"""Why a job waits, in words and figures."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select, update

from spec.access import ANYONE
from spec.needs import Offer
from spec.states import Reason
from store import claims, jobs, leases, workers
from store.database import Sessions
from store.instants import from_now, now
from store.jobs import Job
from store.tables import jobs as table
from store.tables import owners, quarantines
from store.tables import workers as pool
from store.waiting import Waiting, waiting
from tests.factories import LEASE, spec


def added(sessions: Sessions, **changes: Any) -> Job:
    with sessions.begin() as tx:
        return jobs.add(tx, spec(**changes), by=replace(ANYONE, owner="ada"))


def reported(sessions: Sessions, name: str, offer: Offer, **changes: Any) -> None:
    known: dict[str, Any] = {
        "device": "cpu",
        "state": "idle",
        "job_id": None,
        "queues": ["default"],
        "versions": {},
        "started_at": datetime.now(UTC),
    }
    with sessions.begin() as tx:
        workers.report(tx, name=name, offer=offer, **known | changes)


def why(sessions: Sessions, job: Job) -> Waiting:
    with sessions.read() as tx:
        found = waiting(tx, jobs.get(tx, job.id), lost_after=LEASE)
    assert found is not None
    return found


def test_nobody_serves_its_queue(sessions: Sessions) -> None:
    job = added(sessions, queue="fast")
    reported(sessions, "cpu-1@a", Offer())
    found = why(sessions, job)
    assert (found.why, found.fitting, found.lacking) == ("no_worker", 0, ())
    assert "no live worker serves queue 'fast'" in found.detail


def test_nobody_has_what_it_needs(sessions: Sessions) -> None:
    job = added(sessions, needs={"gpus": 2, "labels": ["nvme"]})
    for name in ("a", "b"):
        reported(sessions, name, Offer(gpus=1, labels=("nvme",)))
    reported(sessions, "c", Offer(gpus=2))
    reported(sessions, "d", Offer(gpus=4, labels=("nvme",)), queues=["other"])
    found = why(sessions, job)
    assert found.why == "no_worker"
    assert [(each.lacks, each.workers) for each in found.lacking] == [
        (("2 GPUs",), 2),
        (("label nvme",), 1),
    ]
    assert found.detail == (
        "no live worker of queue 'default' offers what it needs: 2 lack 2 GPUs; 1 lacks label nvme"
    )


def test_an_older_worker_is_not_counted_on_for_needs(sessions: Sessions) -> None:
    plain, special = added(sessions), added(sessions, needs={"gpus": 1})
    reported(sessions, "a", Offer())
    with sessions.begin() as tx:
        tx.execute(update(pool).values(offer=None))
    assert why(sessions, plain).why == "soon"
    assert why(sessions, special).why == "no_worker"


def test_all_are_busy_and_how_many_are_ahead(sessions: Sessions) -> None:
    first, second, urgent = added(sessions), added(sessions), added(sessions, priority=3)
    reported(sessions, "a", Offer(), state="busy")
    reported(sessions, "b", Offer(), state="busy")
    reported(sessions, "c", Offer(), state="draining")
    assert [why(sessions, each).ahead for each in (urgent, first, second)] == [0, 1, 2]
    found = why(sessions, second)
    assert (found.why, found.fitting) == ("busy", 3)
    assert found.detail == (
        "workers that can run it: 2 busy, 1 draining; 2 of its owner's are ahead of it"
    )


def test_an_idle_one_takes_it_soon(sessions: Sessions) -> None:
    job = added(sessions)
    reported(sessions, "a", Offer())
    assert why(sessions, job).why == "soon"


def test_its_owner_has_enough_running(sessions: Sessions) -> None:
    added(sessions)
    job = added(sessions)
    reported(sessions, "a", Offer())
    with sessions.begin() as tx:
        tx.execute(insert(owners).values(owner="ada", max_running=1, changed_at=now()))
        assert claims.claim(tx, worker="a", queues=["default"], lease=LEASE)
    found = why(sessions, job)
    assert found.why == "owner_limit"
    assert found.detail.startswith("its owner may have 1 jobs running, and has")


def test_it_is_left_alone_after_a_failure(sessions: Sessions) -> None:
    job = added(sessions)
    with sessions.begin() as tx:
        claimed = claims.claim(tx, worker="a", queues=["default"], lease=LEASE)
        assert claimed is not None
        leases.fail(tx, claimed[1], Reason.OOM, "")
    found = why(sessions, job)
    assert found.why == "retry"
    assert found.until is not None
    assert f"{found.until:%H:%M:%S} UTC" in found.detail


def test_its_sweep_holds_it(sessions: Sessions) -> None:
    job = added(sessions)
    with sessions.begin() as tx:
        tx.execute(update(table).values(held=True, sweep="swp_1"))
    assert why(sessions, job).why == "held"


def test_one_that_runs_waits_for_nothing(sessions: Sessions) -> None:
    job = added(sessions)
    with sessions.begin() as tx:
        assert claims.claim(tx, worker="a", queues=["default"], lease=LEASE)
        assert waiting(tx, jobs.get(tx, job.id), lost_after=LEASE) is None


def test_the_only_device_is_left_out_for_a_while(sessions: Sessions) -> None:
    job = added(sessions)
    reported(sessions, "a", Offer(), unit="cpu")
    with sessions.begin() as tx:
        held = {"unit": "cpu", "level": 1, "until": from_now(LEASE), "reason": "3 jobs were lost"}
        tx.execute(insert(quarantines).values(held))
        until = tx.execute(select(quarantines.c.until)).scalar_one()
    assert f"1 quarantined until {until:%H:%M:%S} UTC" in why(sessions, job).detail
