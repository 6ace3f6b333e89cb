"""How sweeps stand at a glance: their jobs by state, and whether anything about them is new."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import func, select

from spec.states import State
from store.database import ReadTx
from store.tables import jobs, sweeps


@dataclass(frozen=True)
class Standing:
    """A sweep at one moment.

    Attributes:
        version: of its row.
        counts: how many of its jobs are in each state that any is in.
        newest: the id of its last job.
    """

    version: int
    counts: Mapping[State, int]
    newest: str

    @property
    def tag(self) -> int:
        """Another one whenever what a client sees of the sweep is, its best job included.

        That is one of those that succeeded and never changes; where one comes and another is
        deleted, there is one job less, or a newer one.
        """
        counts = sorted((str(state), count) for state, count in self.counts.items())
        return int(sha256(f"{self.version};{counts};{self.newest}".encode()).hexdigest()[:15], 16)


def of(tx: ReadTx, ids: Sequence[str]) -> dict[str, Standing]:
    """Id -> standing, of the sweeps that there are; reads an index of their jobs, and no job."""
    versions = tx.execute(select(sweeps.c.id, sweeps.c.version).where(sweeps.c.id.in_(ids))).all()
    counts: dict[str, dict[State, int]] = {row.id: {} for row in versions}
    newest = dict.fromkeys(counts, "")
    grouped = (
        select(jobs.c.sweep, jobs.c.state, func.count(), func.max(jobs.c.id))
        .where(jobs.c.sweep.in_(ids))
        .group_by(jobs.c.sweep, jobs.c.state)
    )
    for sweep_id, state, count, last in tx.execute(grouped):
        if sweep_id in counts:
            counts[sweep_id][State(state)] = count
            newest[sweep_id] = max(newest[sweep_id], last)
    return {row.id: Standing(row.version, counts[row.id], newest[row.id]) for row in versions}
