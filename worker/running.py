"""A claimed job while it runs, alone or with others: what each event does to it, and its end."""

import logging
from functools import partial

from pydantic import JsonValue, TypeAdapter, ValidationError

from spec.jobs import RangeTestSpec, TrainingSpec
from spec.settings import Settings
from spec.states import Reason
from store import jobs, leases
from store.database import Sessions, Unavailable, describe
from store.jobs import Job
from store.leases import Lease, LeaseLostError
from worker import snapshots
from worker.engine import Block, EngineError, Event, Finished, Plan, Snapshot
from worker.pulse import Heartbeat
from worker.recorder import End, Recorder

log = logging.getLogger(__name__)

_BOUNDS: TypeAdapter[dict[str, float]] = TypeAdapter(dict[str, float])
_DETAIL_LENGTH = 2000


def specified(job: Job) -> RangeTestSpec | TrainingSpec:
    """The job's spec with the bounds that were taken from range tests as numbers.

    Raises:
        pydantic.ValidationError: it was stored by another version.
    """
    spec = jobs.spec_of(job)
    if not isinstance(spec, TrainingSpec) or job.resolved is None:
        return spec
    bounds = _BOUNDS.validate_python(job.resolved.get("bounds", {}))
    return spec.model_copy(update={"schedule": spec.schedule.with_rates(bounds)})


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
    ) -> None:
        self.job = job
        self.lease = lease
        self.ended = False
        self._sessions = sessions
        self._settings = settings
        self._heartbeat = heartbeat
        self._recorder = recorder
        self._pulse = heartbeat.keep(lease)
        # iteration -> where its snapshot is, from the data directory; None where it was not kept
        self._files: dict[int, str | None] = {}

    def follow(self, event: Event | EngineError) -> None:
        """Does what an event asks for, and ends the job where it has come to an end."""
        try:
            self._take(event)
            if not self.ended:
                self._heed()
        except Exception as error:  # noqa: BLE001 - failing logs it
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Ends the job with what is wrong."""
        match error:
            case ValidationError():
                reason, detail = Reason.INVALID, f"this version cannot read the spec: {error}"
            case EngineError():
                reason, detail = error.reason, error.detail
            case _:
                reason, detail = Reason.CODE, f"{type(error).__name__}: {error}"
        trace = error if reason is Reason.CODE else None
        log.warning("job.failing job=%s reason=%s %s", self.job.id, reason, detail, exc_info=trace)
        # PostgreSQL takes no NUL in a text
        text = detail.replace("\x00", "")[:_DETAIL_LENGTH]
        self._end("failed", partial(leases.fail, lease=self.lease, reason=reason, detail=text))

    def hand_back_alone(self) -> None:
        """Returns the job to the queue, from which it will be claimed to train alone."""
        self._end("handed_back", partial(leases.hand_back, lease=self.lease, alone=True))

    def _take(self, event: Event | EngineError) -> None:
        match event:
            case Plan():
                self._plan(event)
            case Block():
                self._recorder.add(self._pulse, event)
            case Snapshot() if not self._pulse.lost:  # a deleted job's folder must not come back
                self._files[event.iteration] = self._kept(event)
            case Finished():
                result = snapshots.with_files(event.result, self._files)
                self._end("succeeded", partial(leases.succeed, lease=self.lease, result=result))
            case EngineError():
                self.fail(event)

    def _heed(self) -> None:
        match self._pulse.stop:
            case "lost":
                self._lose("the lease was not renewed in time")
            case "cancelled":
                self._end("cancelled", partial(leases.confirm_cancel, lease=self.lease))
            case "draining":
                self._end("handed_back", partial(leases.hand_back, lease=self.lease))
            case None:
                pass

    def _end(self, verb: str, move: End) -> None:
        try:
            self._recorder.finish(self._pulse, move)
        except LeaseLostError as error:
            self._lose(str(error))
        else:
            log.info("job.%s job=%s", verb, self.job.id)
            self._close()

    def _lose(self, why: str) -> None:
        log.warning("job.lost job=%s attempt=%s %s", self.job.id, self.lease.attempt, why)
        self._close()

    def _close(self) -> None:
        self.ended = True
        self._recorder.forget(self._pulse)
        self._heartbeat.release(self._pulse)

    def _plan(self, plan: Plan) -> None:
        before = self.job.resolved or {}
        # the bounds were resolved when the job was submitted; all else is of one attempt
        resolved: dict[str, JsonValue] = {
            **{name: before[name] for name in ("bounds",) if name in before},
            "schedule": None if plan.schedule is None else plan.schedule.model_dump(mode="json"),
            "iterations_per_epoch": plan.iterations_per_epoch,
            "warnings": list(plan.warnings),
            **plan.notes,
        }
        try:
            with self._sessions.begin() as tx:
                leases.plan(tx, self.lease, iterations=plan.iterations, resolved=resolved)
        except Unavailable as error:  # the job can do without; its rows will be tried again
            log.warning("job.plan_failed job=%s %s", self.job.id, describe(error))
        except LeaseLostError:
            self._pulse.lose()

    def _kept(self, snapshot: Snapshot) -> str | None:
        """Where the snapshot is now, or None: a training is worth more than its copies."""
        try:
            path = snapshots.save(
                self._settings.snapshots(self.job.id), snapshot.iteration, snapshot.weights
            )
        except OSError as error:
            log.warning("job.snapshot_failed job=%s %s", self.job.id, error)
            return None
        return path.relative_to(self._settings.data_dir).as_posix()
