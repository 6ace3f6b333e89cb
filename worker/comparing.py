"""A job among the others of its sweep: where they are compared, how it stands, if it goes on."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial

from pydantic import JsonValue

from schedules import Schedule
from store import leases, rungs
from store.database import Sessions, Unavailable, WriteTx, describe
from store.jobs import Job
from store.leases import Lease, LeaseLostError
from store.rungs import Contest
from store.sweeps import UnreadableSpecError
from sweeps import stopping
from sweeps.stopping import Rung
from worker.engine import ALONE, Comparing, Standing
from worker.pulse import Pulse

log = logging.getLogger(__name__)


class Contestant:
    """One job, which is compared if its sweep says so.

    While the database is away it goes on: a training is worth more than what stopping it saves.
    """

    def __init__(self, job: Job, lease: Lease, *, sessions: Sessions, pulse: Pulse) -> None:
        self._job = job
        self._lease = lease
        self._sessions = sessions
        self._pulse = pulse
        self._contest: Contest | None = None
        self._missed: str | None = None  # what kept it from being compared, the first time
        self._rungs: dict[int, Rung] = {}
        self._here: Rung | None = None

    def begin(self) -> None:
        """Learn of the sweep, once."""
        if self._job.sweep is not None:
            try:
                with self._sessions.read() as tx:
                    self._contest = rungs.contest(tx, self._job.sweep, self._job.id)
            except UnreadableSpecError as error:  # the job's own can be read, and says all else
                log.warning("job.compare_failed job=%s %s", self._job.id, error)
                self._missed = f"it is not compared with the others: {error}"

    @property
    def comparing(self) -> Comparing:
        """What the engine asks, once the job has begun."""
        if self._contest is None:
            return ALONE
        return Comparing(
            partial(self._planned, self._contest), partial(self._enough, self._contest)
        )

    def stand(self, event: Standing) -> None:
        """Say how the job stands, before it is asked whether it goes on."""
        contest, self._here = self._contest, None
        if contest is None or self._pulse.lost:
            return
        rung, value = self._rungs[event.iteration], contest.objective.value_in(event.result)
        try:
            with self._sessions.begin() as tx:
                rungs.stand(tx, self._lease, contest, rung, value)
        except Unavailable as error:
            self._miss(rung, error)
        except LeaseLostError:
            self._pulse.lose()
        else:
            self._here = rung

    def succeed(self, tx: WriteTx, *, result: Mapping[str, JsonValue]) -> None:
        """End the job with its result; its history says if it was not compared as it should be."""
        if self._missed is not None:
            leases.remark(tx, self._lease, "compare_failed", self._missed)
        leases.succeed(tx, self._lease, result)

    def _planned(
        self, contest: Contest, schedule: Schedule, iterations: int, iterations_per_epoch: int
    ) -> Sequence[int]:
        found = stopping.rungs(
            schedule,
            iterations,
            contest.stopping,
            iterations_per_epoch,
            trial=contest.trial,
        )
        self._rungs = {each.iteration: each for each in found}
        return list(self._rungs)

    def _enough(self, contest: Contest) -> str | None:
        """Why the job ends where it stands, or None."""
        if self._here is None:
            return None
        try:
            with self._sessions.begin() as tx:
                decision = rungs.settle(tx, self._lease, contest, self._here)
        except Unavailable as error:
            self._miss(self._here, error)
        except LeaseLostError:
            self._pulse.lose()
        else:
            log.info("job.compared job=%s %s", self._lease.job_id, decision.why)
            return decision.why if decision.stop else None
        return None

    def _miss(self, rung: Rung, error: Exception) -> None:
        why = f"it went on {rung.after} without being compared: {describe(error)}"
        log.warning("job.compare_failed job=%s %s", self._lease.job_id, why)
        self._missed = self._missed or why
