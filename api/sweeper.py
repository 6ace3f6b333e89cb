"""Leads sweeps on: chooses what comes next, lets held jobs go, and ends what is spent or done."""

import logging
from datetime import timedelta

from api import choosing
from api.problems import InvalidError
from spec.access import Caller
from spec.sweeps import SweepSpec
from store import sweep_moves, sweeps
from store.database import WriteTx
from store.jobs import Job
from store.sweeps import Sweep

log = logging.getLogger(__name__)

SWEEPER = "sweeper"


def advance(tx: WriteTx, sweep_id: str) -> list[Job]:
    """Does whatever is to be done for a sweep now; the jobs that a worker may take from now on.

    Two who do this at once take turns, and the second finds nothing to do.
    """
    sweep = sweeps.lock(tx, sweep_id)
    if sweep is None or sweep.finished_at is not None:
        return []
    spec = SweepSpec.model_validate(sweep.spec)
    by = Caller(owner=sweep.owner, name=SWEEPER)
    seconds = spec.budget.seconds
    if seconds and not sweep.ending and sweeps.age(tx, sweep.id) > timedelta(seconds=seconds):
        detail = f"its budget of {seconds:g} s is spent"
        sweep = sweep_moves.end(tx, sweep, detail, by=by)
    if choosing.learns(spec) and not sweep.ending:
        sweep = _choose(tx, sweep, spec, by)
    freed = sweep_moves.release(tx, sweep, iterations=spec.budget.iterations, by=by)
    sweep_moves.settle(tx, sweep_id)
    return freed


def _choose(tx: WriteTx, sweep: Sweep, spec: SweepSpec, by: Caller) -> Sweep:
    open_now = sweep_moves.open_jobs(tx, sweep.id)
    room = (sweep.parallel or choosing.AHEAD) - open_now
    if room <= 0:
        return sweep
    trials = choosing.told(sweeps.trials_of(tx, sweep.id), spec.objective)
    try:
        choices = choosing.next_of(spec, trials, room)
    except InvalidError as error:
        wrong = "; ".join(f"{each.pointer}: {each.detail}" for each in error.errors)
        log.warning("sweep.ended sweep=%s %s", sweep.id, wrong)
        return sweep_moves.end(tx, sweep, f"a configuration makes no job: {wrong}", by=by)
    if choices:
        choosing.add(tx, sweep, choices, by=by, first=len(trials), held=True)
    elif not open_now:
        return sweep_moves.end(tx, sweep, None, by=by)
    return sweep
