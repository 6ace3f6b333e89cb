"""Jobs that differ in hyperparameters only, trained as one program: finding them, driving them."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from spec.jobs import TrainingSpec
from spec.settings import Settings
from spec.states import Reason
from store import claims, workers
from store.claims import Claimed
from store.database import Sessions
from store.jobs import Job
from store.leases import Lease
from worker import engine
from worker.beginning import Beginning, specified
from worker.engine import Checkpoint, EngineError, Finished
from worker.recorder import Recorder
from worker.running import Running

log = logging.getLogger(__name__)


def recruit(
    job: Job, lease: Lease, *, sessions: Sessions, settings: Settings, device: torch.device
) -> list[Claimed]:
    """Claims what is best trained together with a claimed job: none where that does not pay."""
    if job.population is None:
        return []
    try:
        with sessions.read() as tx:
            ready = claims.siblings(tx, job)
            idle = workers.idle(
                tx, queue=job.queue, besides=lease.worker, lost_after=settings.lease
            )
        most = share(1 + ready, idle)
        spec = specified(job)
        if most == 1 or not isinstance(spec, TrainingSpec):
            return []
        size = engine.population_size(spec, device=device, data_dir=settings.data_dir, most=most)
        if size <= 1:
            return []
        with sessions.begin() as tx:
            claimed = claims.claim_siblings(
                tx, job, worker=lease.worker, lease=settings.lease, limit=size - 1
            )
    except Exception:  # what is wrong with the job itself shows when it runs alone
        log.exception("population.none job=%s", job.id)
        return []
    for each, _ in claimed:
        log.info("job.claimed job=%s attempt=%s with=%s", each.id, each.attempt, job.id)
    return claimed


def share(ready: int, idle: int) -> int:
    """How many of the ready jobs are for one worker when `idle` others get as many."""
    return -(-ready // (1 + idle))


def train(
    members: Sequence[Running], recorder: Recorder, *, device: torch.device, data_dir: Path
) -> None:
    """Runs jobs as one program, each to its own end.

    Where that program cannot be run, what has not ended goes back to the queue, to train alone.
    """
    begun = [found for each in members if (found := _begun(each)) is not None]
    # where a checkpoint could not be read, its job is behind the others
    furthest = max((each.after for _, _, each in begun), default=0)
    parsed = [found for found in begun if found[2].after == furthest]
    try:
        if parsed:
            _follow(parsed, recorder, device=device, data_dir=data_dir)
    except EngineError as error:
        trace = error if error.reason is Reason.CODE else None
        log.warning("population.failed reason=%s %s", error.reason, error.detail, exc_info=trace)
    except Exception:
        log.exception("population.failed")
    for member, _, _ in begun:
        if not member.ended:
            member.hand_back_alone()


def _follow(
    parsed: Sequence[tuple[Running, TrainingSpec, Beginning]],
    recorder: Recorder,
    *,
    device: torch.device,
    data_dir: Path,
) -> None:
    specs = [spec for _, spec, _ in parsed]
    left: set[int] = set()
    events = engine.run_population(
        specs,
        device=device,
        data_dir=data_dir,
        left=left,
        due=lambda index: parsed[index][0].due(),
        resume=[each.resume for _, _, each in parsed if each.resume is not None],
        comparing=[member.contestant.comparing for member, _, _ in parsed],
    )
    finished: list[tuple[Running, Finished]] = []
    try:
        for index, event in events:
            member = parsed[index][0]
            if isinstance(event, Finished) and not member.ended:
                finished.append((member, event))
                left.add(index)
            else:
                # checkpoints of others that end now come in between
                if not isinstance(event, Checkpoint):
                    _succeed(finished, recorder)
                if not member.ended:
                    member.follow(event)
                if member.ended:
                    left.add(index)
            if len(left) == len(parsed):
                _succeed(finished, recorder)
                return
    except Exception:
        _succeed(finished, recorder)  # what goes wrong with the others is too late for them
        raise
    _succeed(finished, recorder)
    raise RuntimeError("the engine ended before its jobs did")


def _succeed(finished: list[tuple[Running, Finished]], recorder: Recorder) -> None:
    """Ends all of them in one transaction; who has to be asked again is, by itself."""
    if not finished:
        return
    ended = recorder.finish_together(dict(member.success(event) for member, event in finished))
    for member, event in finished:
        if member.lease in ended:
            member.succeeded()
        else:
            member.follow(event)
    finished.clear()


def _begun(member: Running) -> tuple[Running, TrainingSpec, Beginning] | None:
    try:
        spec, found = specified(member.job), member.begin()
    except Exception as error:  # noqa: BLE001 - whatever it is, the others can be trained
        member.fail(error)
        return None
    return (member, spec, found) if isinstance(spec, TrainingSpec) else None
