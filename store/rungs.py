"""Where jobs of a sweep are compared: each says how it stands, and is told once whether it goes on.

Saying so and being told are two transactions, so that of two jobs that come at the same moment at
least one sees the other. Both carry the lease, as all that a worker writes.
"""

from dataclasses import dataclass

from sqlalchemy import select, update

from spec.sweeps import Objective, Stopping, SweepSpec
from spec.values import JobId
from store import leases, sweeps
from store.database import ReadTx, WriteTx
from store.leases import Lease
from store.tables import rungs, trials
from store.upserts import insert_new
from sweeps.stopping import Decision, Rung, Score, decide, score


@dataclass(frozen=True)
class Contest:
    """What a job needs to know of the sweep in which it is compared with others.

    Attributes:
        trial: the number of the job's.
    """

    sweep: str
    trial: int
    stopping: Stopping
    objective: Objective


def contest(tx: ReadTx, sweep_id: str, job_id: JobId) -> Contest | None:
    """That of a job; None where it is not compared, as the short runs of coarse_to_fine are not.

    Raises:
        UnreadableSpecError: the sweep was stored by another version.
    """
    mine = (trials.c.sweep_id == sweep_id) & (trials.c.job_id == job_id)
    trial = tx.execute(select(trials.c.number, trials.c.memory).where(mine)).one_or_none()
    if trial is None or trial.memory.get("stage") == "coarse":
        return None
    spec = sweeps.spec_of(sweeps.get(tx, sweep_id))
    if not isinstance(spec, SweepSpec) or spec.stopping is None:
        return None
    return Contest(sweep_id, trial.number, spec.stopping, spec.objective)


def stand(tx: WriteTx, lease: Lease, here: Contest, rung: Rung, value: float | None) -> None:
    """Says how a job stands at a rung; whoever comes there again stands as before.

    Raises:
        LeaseLostError: the job is no longer this worker's.
    """
    leases.hold(tx, lease)
    earlier = (
        select(rungs.c.value)
        .where(rungs.c.job_id == lease.job_id, rungs.c.sweep_id == here.sweep)
        .where(rungs.c.iteration < rung.iteration)
    )
    found = score([*tx.execute(earlier).scalars(), value], here.objective.direction)
    insert_new(
        tx,
        rungs,
        {
            "sweep_id": here.sweep,
            "place": rung.place,
            "job_id": lease.job_id,
            "iteration": rung.iteration,
            "value": found.value,
            "best": found.best,
            "mean": found.mean,
        },
    )


def settle(tx: WriteTx, lease: Lease, here: Contest, rung: Rung) -> Decision:
    """What becomes of a job that stands at a rung; once decided it stays so.

    That it is stopped goes into its history.

    Raises:
        LeaseLostError: the job is no longer this worker's.
    """
    leases.hold(tx, lease)
    there = (rungs.c.sweep_id == here.sweep) & (rungs.c.place == rung.place)
    own = there & (rungs.c.job_id == lease.job_id)
    numbers = (rungs.c.value, rungs.c.best, rungs.c.mean)
    row = tx.execute(select(rungs.c.stop, rungs.c.why, *numbers).where(own)).one()
    if row.stop is not None:
        return Decision(row.stop, row.why)
    rows = tx.execute(select(*numbers).where(there, rungs.c.job_id != lease.job_id))
    others = [Score(*each) for each in rows]
    decision = decide(here.stopping, rung, Score(*row[2:]), others, here.objective.direction)
    tx.execute(update(rungs).where(own).values(stop=decision.stop, why=decision.why))
    if decision.stop:
        leases.remark(tx, lease, "stopped", decision.why)
    return decision
