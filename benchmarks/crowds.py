"""Tables of many jobs, and what a claim or a list costs in them."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from statistics import median, quantiles
from time import perf_counter

from sqlalchemy import text

from spec.jobs import RangeTestSpec, TrainingSpec
from spec.states import State
from store import claims, jobs, leases, pages, recovery
from store.database import ReadTx, Sessions, WriteTx
from store.instants import now
from store.tables import jobs as table

LEASE = timedelta(hours=1)
WAITING = 100
"""One job in so many is queued, the others have succeeded."""

NUMBERS = {
    "sqlite": "WITH RECURSIVE c(i) AS (SELECT :start UNION ALL SELECT i + 1 FROM c"
    " WHERE i + 1 < :stop) SELECT i, printf('job_%032x', i) AS id FROM c",
    "postgresql": "SELECT i, 'job_' || lpad(to_hex(i), 32, '0') AS id"
    " FROM generate_series(CAST(:start AS INTEGER), CAST(:stop AS INTEGER) - 1) AS i",
}
"""Rows of a number and the id of a job that is older than any real one."""


def fill(sessions: Sessions, spec: RangeTestSpec | TrainingSpec, start: int, stop: int) -> None:
    """Adds the jobs numbered `[start, stop)`."""
    columns = [column.name for column in table.columns if column.name != "id"]
    with sessions.begin() as tx:
        done, waits = jobs.add(tx, spec), jobs.add(tx, spec)
        ended = {"state": State.SUCCEEDED, "result": {"iterations": 200}, "finished_at": now()}
        tx.execute(table.update().where(table.c.id == done.id).values(attempt=1, **ended))
        statement = (
            f"INSERT INTO jobs (id, {', '.join(columns)})"  # noqa: S608 - names of columns
            f" SELECT n.id, {', '.join(f'jobs.{name}' for name in columns)}"
            f" FROM ({NUMBERS[tx.dialect.name]}) AS n JOIN jobs"
            " ON jobs.id = CASE WHEN n.i % :waiting = 0 THEN :waits ELSE :done END"
        )
        values = {
            "start": start, "stop": stop, "waiting": WAITING, "waits": waits.id, "done": done.id,
        }  # fmt: skip
        tx.execute(text(statement), values)
        tx.execute(table.delete().where(table.c.id.in_([done.id, waits.id])))
        if tx.dialect.name == "postgresql":  # as its autovacuum would, some time later
            tx.exec_driver_sql("ANALYZE jobs")


def claim(sessions: Sessions) -> float:
    """Seconds of a claim; the job is handed back."""
    began = perf_counter()
    with sessions.begin() as tx:
        found = claims.claim(tx, worker="w", queues=["default"], lease=LEASE)
    took = perf_counter() - began
    if found is None:
        raise RuntimeError("nothing to claim")
    with sessions.begin() as tx:
        leases.hand_back(tx, found[1])
    return took


def writing(move: Callable[[WriteTx], object], sessions: Sessions) -> float:
    """Seconds of a transaction that writes."""
    began = perf_counter()
    with sessions.begin() as tx:
        move(tx)
    return perf_counter() - began


def reading(query: Callable[[ReadTx], object], sessions: Sessions) -> float:
    """Seconds of a transaction that reads."""
    began = perf_counter()
    with sessions.read() as tx:
        query(tx)
    return perf_counter() - began


def listing(*states: State) -> Callable[[Sessions], float]:
    """Of the newest 50 jobs in these states, or in any."""
    return partial(reading, lambda tx: pages.find(tx, states=states, limit=50))


ASKED: dict[str, Callable[[Sessions], float]] = {
    "claim": claim,
    "expire": partial(writing, lambda tx: recovery.expire(tx, max_crashes=3)),
    "count ready": partial(reading, recovery.ready),
    "newest 50": listing(),
    "50 queued": listing(State.QUEUED),
    "50 queued or running": listing(State.QUEUED, State.RUNNING),
    "50 queued or succeeded": listing(State.QUEUED, State.SUCCEEDED),
    "50 failed (none)": listing(State.FAILED),
}


def spread(seconds: Sequence[float]) -> str:
    """In milliseconds: the median, and what 80 % are within."""
    cuts = quantiles(seconds, n=10, method="inclusive")
    return f"{1e3 * median(seconds):.3g} ({1e3 * cuts[0]:.3g} to {1e3 * cuts[-1]:.3g})"
