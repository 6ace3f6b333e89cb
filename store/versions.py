"""Whether jobs and sweeps have changed: the versions of many with one statement."""

from collections.abc import Sequence

from sqlalchemy import select

from store import standings
from store.database import ReadTx
from store.tables import jobs


def of(tx: ReadTx, ids: Sequence[str]) -> dict[str, int]:
    """Id -> version, another one after every change, of the jobs and sweeps that there are."""
    rows = tx.execute(select(jobs.c.id, jobs.c.version).where(jobs.c.id.in_(ids)))
    found = {job_id: version for job_id, version in rows}  # noqa: C416 - dict(rows) hides the types
    if of_sweeps := [each for each in ids if each.startswith("swp_")]:
        found |= {each: now.tag for each, now in standings.of(tx, of_sweeps).items()}
    return found
