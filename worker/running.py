"""A claimed job while it runs, alone or with others: what each event does to it, and its end."""

import logging
import math
import time
from datetime import timedelta
from functools import partial
from typing import Any, cast

from pydantic import ValidationError

from spec.settings import Settings
from spec.states import Reason
from store import history, leases
from store.database import Sessions, Unavailable, describe
from store.files import Files
from store.jobs import Job
from store.leases import Lease, LeaseLostError
from worker import checkpoints, snapshots
from worker.beginning import Beginning, StorageError, beginning, resolved
from worker.comparing import Contestant
from worker.engine import Block, Checkpoint, EngineError, Event, Finished, Plan, Snapshot, Standing
from worker.pulse import PLANNED, Heartbeat, Pulse
from worker.recorder import End, Recorder
from worker.watching import Watched

log = logging.getLogger(__name__)

_DETAIL_LENGTH = 2000

AFTER_TROUBLE = timedelta(seconds=10)
"""For so long a job is left alone that was handed back for what was wrong around it."""


class Running:
    """One job of this worker; `ended` once nothing more is to be done for it here."""

    def __init__(
        self,
        job: Job,
        lease: Lease,
        *,
        sessions: Sessions,
        settings: Settings,
        heartbeat: Heartbeat,
        recorder: Recorder,
        files: Files,
    ) -> None:
        self.job = job
        self.lease = lease
        self.ended = False
        self._sessions = sessions
        self._settings = settings
        self._heartbeat = heartbeat
        self._recorder = recorder
        self._files = files
        self._pulse = heartbeat.keep(lease)
        self._watched = Watched(job, lease, recorder.tallies)
        self.contestant = Contestant(job, lease, sessions=sessions, pulse=self._pulse)
        self._deadline = math.inf
        self._checkpoint = 0  # the iteration of the last
        self._checkpointed_at = time.monotonic()
        self._iterations: int | None = None  # of the whole job, once they are known
        self._recorded = self._stopping = self._told = False
        # iteration -> where its snapshot is, from the data directory; None where it was not kept
        self._snapshots: dict[int, str | None] = {}

    def begin(self) -> Beginning:
        """What the engine begins with; from now on its events are to be followed."""
        with self._watched.doing("job.begin") as span:
            found = beginning(self.job, self.lease, sessions=self._sessions, files=self._files)
            span.note({"iteration": found.after})
        self._checkpoint, self._snapshots = found.after, dict(found.snapshots)
        self._recorder.begin(self._pulse, iteration=found.after, after=found.after)
        if limit := self.job.spec.get("max_seconds"):
            with self._sessions.read() as tx:
                left = cast("float", limit) - history.spent(tx, self.job.id).total_seconds()
            self._deadline = time.monotonic() + left
        self.contestant.begin()
        return found

    def due(self) -> bool:
        """Whether it is time for a checkpoint: for a planned stop, or since the last is old."""
        if self.ended:
            return False
        if self._pulse.stop in PLANNED or self._is_late:
            return True
        return time.monotonic() - self._checkpointed_at >= self._settings.checkpoint_seconds

    def follow(self, event: Event | EngineError) -> None:
        """Does what an event asks for, and ends the job where it has come to an end."""
        with self._watched.about():
            try:
                self._pulse.moved()
                if self._pulse.overdue:
                    self._heartbeat.reassure(self._pulse)
                self._take(event)
                if not self.ended:
                    self._heed(event)
            except Exception as error:  # noqa: BLE001 - failing logs it
                self.fail(error)

    def success(self, event: Finished) -> tuple[Pulse, End]:
        """What ends it with its result, for the recorder to make together with others' ends."""
        self._pulse.moved()
        result = snapshots.with_files(event.result, self._snapshots)
        return self._pulse, partial(self.contestant.succeed, result=result)

    def succeeded(self) -> None:
        """Its `success` has been made."""
        log.info("job.succeeded job=%s", self.job.id)
        self._close("succeeded")

    def fail(self, error: Exception) -> None:
        """Ends the job with what is wrong."""
        match error:
            case ValidationError():
                reason, detail = Reason.INVALID, f"this version cannot read the spec: {error}"
            case EngineError():
                reason, detail = error.reason, error.detail
            case LeaseLostError():
                self._lose(str(error))
                return
            case StorageError():
                self.hand_back(str(error))
                return
            case exc if isinstance(exc, Unavailable):
                self.hand_back(describe(error))
                return
            case _:
                reason, detail = Reason.CODE, f"{type(error).__name__}: {error}"
        trace = error if reason is Reason.CODE else None
        with self._watched.about():
            log.warning(
                "job.failing job=%s reason=%s %s", self.job.id, reason, detail, exc_info=trace
            )
        # PostgreSQL takes no NUL in a text
        text = detail.replace("\x00", "")[:_DETAIL_LENGTH]
        move = partial(leases.fail, lease=self.lease, reason=reason, detail=text)
        self._end("failed", move, reason)

    def hand_back(self, why: str, *, broken: bool = False) -> None:
        """Returns the job to the queue for what is wrong here, say with the device."""
        log.warning("job.interrupted job=%s %s", self.job.id, why)
        detail = why.replace("\x00", "")[:_DETAIL_LENGTH]
        self._hand_back(detail=detail, delay=AFTER_TROUBLE, broken=broken)

    def hand_back_alone(self) -> None:
        """Returns the job to the queue, from which it will be claimed to train alone."""
        self._hand_back(alone=True)

    def _take(self, event: Event | EngineError) -> None:
        match event:
            case Plan():
                self._plan(event)
            case Block():
                self._recorded = True
                self._recorder.add(self._pulse, event)
            case Snapshot() if not self._pulse.lost:  # a deleted job's folder must not come back
                self._snapshots[event.iteration] = snapshots.kept(
                    self._settings, self.job.id, event
                )
            case Checkpoint() if not self._pulse.lost:
                self._save(event)
            case Standing():
                self.contestant.stand(event)
            case Finished():
                self._end("succeeded", self.success(event)[1])
            case EngineError():
                self.fail(event)

    def _heed(self, event: Event | EngineError) -> None:
        match self._pulse.stop:
            case "lost":
                self._lose("the lease was not renewed in time")
            case "cancelled":
                self._end("cancelled", partial(leases.confirm_cancel, lease=self.lease))
            case "draining" | "paused":
                if self._may_stop(event):
                    self._hand_back()
            case None if self._is_late:
                if self._may_stop(event):
                    self.fail(EngineError(Reason.TIMEOUT, self._too_long()))
            case None:
                self._stopping = False

    def _may_stop(self, event: Event | EngineError) -> bool:
        """Whether a planned stop is now: with a checkpoint, or where the engine has none to give.

        It has been asked for one after the first block of updates that met the request.
        """
        match event:
            case Checkpoint():
                # while it cannot be written, a pause goes on trying; what else stops a job cannot
                self._stopping = False
                return event.iteration == self._checkpoint or self._pulse.stop != "paused"
            case Plan():
                return not self._recorded
            case Block() if event.series != "validation":
                before, self._stopping = self._stopping, True
                return before
        return False

    @property
    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline

    def _hand_back(self, **told: Any) -> None:
        self._end("handed_back", partial(leases.hand_back, lease=self.lease, **told))

    def _end(self, verb: str, move: End, reason: Reason | None = None) -> None:
        with self._watched.doing("job.finish"):
            try:
                self._recorder.finish(self._pulse, move)
            except LeaseLostError as error:
                self._lose(str(error))
            else:
                log.info("job.%s job=%s", verb, self.job.id)
                self._close(verb, reason)

    def _lose(self, why: str) -> None:
        log.warning("job.lost job=%s attempt=%s %s", self.job.id, self.lease.attempt, why)
        self._close("lost")

    def _close(self, outcome: str, reason: Reason | None = None) -> None:
        self.ended = True
        self._watched.ended(outcome, reason)
        self._recorder.forget(self._pulse)
        self._heartbeat.release(self._pulse)
        if self._checkpoint or self.lease.attempt > 1:
            checkpoints.tidy(self._files, self._sessions, self.lease)

    def _save(self, event: Checkpoint) -> None:
        """Keep a checkpoint; a training is worth more than its checkpoints."""
        self._checkpointed_at = time.monotonic()
        if event.iteration == self._checkpoint:
            return
        content = checkpoints.Content(event.state, self._snapshots)
        try:
            with self._watched.doing("job.checkpoint", {"iteration": event.iteration}) as span:
                saved = checkpoints.save(
                    self._files,
                    self.lease,
                    content,
                    iteration=event.iteration,
                    lasting=event.lasting,
                )
                span.note({"bytes": saved.bytes})
        except (OSError, MemoryError, RuntimeError) as error:  # torch has no errors of its own
            self._watched.checkpoint_failed()
            log.warning("job.checkpoint_failed job=%s %s", self.job.id, error)
            self._tell("checkpoint_failed", f"the job goes on without this checkpoint: {error}")
        else:
            self._watched.checkpointed(saved.bytes)
            log.info("job.checkpointed job=%s at=%s", self.job.id, event.iteration)
            self._checkpoint = event.iteration
            self._recorder.checkpoint(self._pulse, saved, last=event.iteration == self._iterations)

    def _tell(self, verb: str, detail: str) -> None:
        """Put what went wrong into the job's history, the first time in this attempt."""
        if self._told:
            return
        try:
            with self._sessions.begin() as tx:
                leases.remark(tx, self.lease, verb, detail[:_DETAIL_LENGTH])
        except Unavailable as error:
            log.warning("job.remark_failed job=%s %s", self.job.id, describe(error))
        except LeaseLostError:
            self._pulse.lose()
        else:
            self._told = True

    def _too_long(self) -> str:
        return (
            f"/max_seconds: the job ran for more than {self.job.spec['max_seconds']} s; a retry"
            " goes on from its last checkpoint with as much time again"
        )

    def _plan(self, plan: Plan) -> None:
        self._iterations = plan.iterations
        if not self._recorded:
            self._recorder.begin(self._pulse, iteration=plan.start, after=self._checkpoint)
        try:
            with self._sessions.begin() as tx:
                leases.plan(
                    tx,
                    self.lease,
                    start=plan.start,
                    iterations=plan.iterations,
                    resolved=resolved(self.job, plan),
                )
        except Unavailable as error:  # the job can do without; its rows will be tried again
            log.warning("job.plan_failed job=%s %s", self.job.id, describe(error))
        except LeaseLostError:
            self._pulse.lose()
