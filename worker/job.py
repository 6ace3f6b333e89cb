"""One claimed job from its claim to its end, with those that are trained together with it."""

import torch

from spec.settings import Settings
from store.database import Sessions
from store.files import Files
from store.jobs import Job
from store.leases import Lease
from worker import engine, population
from worker.beginning import specified
from worker.devices import is_usable
from worker.drain import Drain
from worker.pulse import beating
from worker.recorder import Recorder
from worker.running import Running
from worker.tallies import Tallies


def run(
    job: Job,
    lease: Lease,
    *,
    sessions: Sessions,
    settings: Settings,
    device: torch.device,
    drain: Drain,
    files: Files,
    tallies: Tallies | None = None,
) -> None:
    """Runs a claimed job to one of its ends."""
    with beating(sessions, settings, drain) as heartbeat:
        recorder = Recorder(sessions, settings, files, tallies)

        def running(job: Job, lease: Lease) -> Running:
            return Running(
                job,
                lease,
                sessions=sessions,
                settings=settings,
                heartbeat=heartbeat,
                recorder=recorder,
                files=files,
            )

        first = running(job, lease)
        siblings = population.recruit(
            job, lease, sessions=sessions, settings=settings, device=device
        )
        if siblings:
            members = [first, *(running(*claimed) for claimed in siblings)]
            population.train(members, recorder, device=device, data_dir=settings.data_dir)
        else:
            _alone(first, device=device, settings=settings)


def _alone(this: Running, *, device: torch.device, settings: Settings) -> None:
    try:
        spec = specified(this.job)
        begun = this.begin()
        events = engine.run(
            spec,
            device=device,
            data_dir=settings.data_dir,
            due=this.due,
            resume=begun.resume,
            extend=begun.extend,
            comparing=this.contestant.comparing,
        )
        for event in events:
            this.follow(event)
            if this.ended:
                break
    except Exception as error:  # noqa: BLE001 - failing logs it
        if is_usable(device):
            this.fail(error)
        else:
            this.hand_back(f"{device} can no longer be used: {error}", broken=True)
    else:
        if not this.ended:
            this.fail(RuntimeError("the engine ended without a result"))
