"""Hundreds of jobs while everything breaks: each ends as it should, once, with nothing missing.

STEPSIZE_CHAOS_JOBS (50) and STEPSIZE_CHAOS_SEED (0) choose another run; `make chaos` a long one.
"""

import os
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from spec.settings import Settings
from store import checkpoints, history, jobs, series
from store.database import Sessions, connect
from store.files import opened
from store.tables import chunks
from store.tables import jobs as table
from tests.e2e.chaos.faults import SEED, Chaos, orphans
from tests.e2e.chaos.workload import NAMES, ROUNDED, SPECS, drawn
from tests.e2e.service import eventually
from worker.checkpoints import tidy_all

JOBS = int(os.environ.get("STEPSIZE_CHAOS_JOBS", "50"))

Columns = dict[tuple[str, int, str], list[tuple[int, float]]]
"""(series, repeat, name) -> (iteration, value) of each row."""


@pytest.mark.timeout(240 + 3 * JOBS)
def test_every_job_ends_once_and_complete(chaos: Chaos, capsys: pytest.CaptureFixture[str]) -> None:
    reference = references(chaos)
    kinds: dict[str, str] = {}
    planned = [drawn(chaos.random, number) for number in range(JOBS)]
    for kind, spec in planned:
        kinds[chaos.submit(spec)] = kind
        chaos.mend()
        if len(kinds) > 4 and chaos.random.random() < 0.5:
            chaos.strike(list(kinds))
        # as many jobs wait as keep three workers busy: faults find them running
        eventually(lambda: (chaos.mend(), backlog(chaos) < 12)[1], within=120, what="a backlog")
    chaos.calm()
    sessions = connect(chaos.service.database_url)
    check_count(sessions, kinds)
    ended = [finished(chaos, job_id) for job_id in kinds]
    check_jobs(sessions, ended, kinds, reference, chaos.cancelled)
    check_leftovers(sessions, chaos)
    sessions.close()
    survived = ", ".join(f"{count} x {name}" for name, count in chaos.counts.most_common())
    lost = sum(job["attempt"] - 1 for job in ended)
    with capsys.disabled():
        print(  # noqa: T201 - what this is run for
            f"\nseed {SEED}: {len(kinds)} jobs, {chaos.replayed} of them submitted twice,"
            f" {lost} attempts beyond the first; survived {survived}"
        )
    assert sum(chaos.counts.values()) >= JOBS / 4


def check_count(sessions: Sessions, kinds: dict[str, str]) -> None:
    """None was lost, and none was queued twice where its answer got lost and it was sent again."""
    with sessions.read() as tx:
        ids = set(tx.execute(select(table.c.id)).scalars())
    assert kinds.keys() <= ids
    assert len(ids) == len(kinds) + len(SPECS)


def references(chaos: Chaos) -> dict[str, Columns]:
    """What each kind of job records where nothing breaks."""
    ids = {kind: chaos.submit({**spec, "name": kind}) for kind, spec in SPECS.items()}
    for job_id in ids.values():
        job = finished(chaos, job_id)
        assert (job["state"], job["attempt"]) == ("succeeded", 1), job["error"]
    sessions = connect(chaos.service.database_url)
    found = {kind: recorded(sessions, job_id) for kind, job_id in ids.items()}
    sessions.close()
    return found


def finished(chaos: Chaos, job_id: str) -> dict[str, Any]:
    """The job once it has ended."""

    def ended() -> dict[str, Any] | None:
        chaos.mend()
        job: dict[str, Any] = chaos.ask("GET", f"/v1/jobs/{job_id}").json()
        return job if job["finished_at"] else None

    return eventually(ended, within=180, what=f"{job_id} to end")


def backlog(chaos: Chaos) -> int:
    """How many jobs wait or run."""
    query = {"state": ["queued", "running"], "limit": 500}
    return len(chaos.ask("GET", "/v1/jobs", params=query).json()["data"])


def recorded(sessions: Sessions, job_id: str) -> Columns:
    """All rows of the series whose names are in NAMES."""
    found: Columns = {}
    with sessions.read() as tx:
        for each in series.summary(tx, job_id)[0]:
            which = next((kind for kind, names in NAMES.items() if each.name in names), None)
            if which is None:
                continue
            rows = series.read(
                tx,
                job_id,
                [each.name],
                series=which,
                repeat=each.repeat,
                start=0,
                stop=None,
                points=None,
            )
            values = rows.columns[each.name].tolist()
            found[which, each.repeat, each.name] = list(
                zip(rows.iteration.tolist(), values, strict=True)
            )
    return found


def check_jobs(
    sessions: Sessions,
    ended: list[dict[str, Any]],
    kinds: dict[str, str],
    reference: dict[str, Columns],
    cancelled: set[str],
) -> None:
    """Each job in its right state, with what it must have recorded."""
    for job in ended:
        kind = kinds[job["id"]]
        ours, whole = recorded(sessions, job["id"]), reference[kind]
        with sessions.read() as tx:
            stored = jobs.get(tx, job["id"])
            past = history.changes(tx, job["id"], limit=10_000)
            attempts = history.attempts_of(tx, job["id"], limit=10_000)
        assert [each.attempt for each in attempts] == list(range(1, stored.attempt + 1))
        assert all(each.outcome for each in attempts)
        succeeded = [each for each in past if each.verb == "succeed"]
        if job["state"] == "succeeded":
            assert len(succeeded) == 1
            assert [each.outcome for each in attempts].count("succeeded") == 1
            assert ours.keys() == whole.keys()
        else:
            assert (job["state"], job["id"] in cancelled) == ("cancelled", True), job
            assert not succeeded
        for key, rows in ours.items():
            expected = whole[key][: len(rows)]
            if job["state"] == "succeeded":
                assert len(rows) == len(whole[key]), (kind, key)
            check_rows(rows, expected, exact=kind not in ROUNDED)


def check_rows(
    rows: list[tuple[int, float]], expected: list[tuple[int, float]], *, exact: bool
) -> None:
    """No row is missing or twice, and each has the value that it should."""
    assert [row[0] for row in rows] == [row[0] for row in expected]
    ours, theirs = (np.array([row[1] for row in some]) for some in (rows, expected))
    if exact:
        np.testing.assert_array_equal(ours, theirs)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=0.05, atol=0.01)


def check_leftovers(sessions: Sessions, chaos: Chaos) -> None:
    """No file without a row, no row without a file, no chunk of another attempt, no process."""
    settings = Settings(
        database_url=chaos.service.database_url,
        broker_url="redis://unused",
        data_dir=chaos.service.folder,
    )
    for node in chaos.nodes:
        node.terminate()
    for node in chaos.nodes:
        node.wait(timeout=60)
    files = opened(settings.checkpoints)
    tidy_all(files, sessions)  # as a worker does when it starts
    with sessions.read() as tx:
        ids = tx.execute(select(table.c.id)).scalars().all()
        assert set(files.names()) == checkpoints.files(tx, ids)
        beyond = (
            select(func.count())
            .select_from(chunks.join(table, chunks.c.job_id == table.c.id))
            .where(chunks.c.attempt > table.c.attempt)
        )
        assert tx.execute(beyond).scalar_one() == 0
    servers = {chaos.api.pid, chaos.broker.pid}
    left = [each for each in orphans(str(chaos.service.folder)) if each.pid not in servers]
    assert left == []
