"""Whether jobs have changed: the versions of many with one statement."""

from collections.abc import Sequence

from sqlalchemy import select

from store.database import ReadTx
from store.tables import jobs


def of(tx: ReadTx, ids: Sequence[str]) -> dict[str, int]:
    """Id -> version, of the jobs that there are."""
    rows = tx.execute(select(jobs.c.id, jobs.c.version).where(jobs.c.id.in_(ids)))
    return {job_id: version for job_id, version in rows}  # noqa: C416 - dict(rows) hides the types
