"""The process that runs jobs, one after the other, on one device."""

import logging
import os
import platform
import socket
import threading
import time
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from spec.settings import Settings
from store import claims, components, workers
from store.database import Sessions, Unavailable, WriteTx, connect, describe
from store.files import Files, opened
from telemetry import context, traces
from worker.drain import Drain, holding_signals
from worker.parent import die_with_parent, offer_to_oom_killer
from worker.tallies import Tallies
from worker.watching import of

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

PUBLISHED_FOR = 3600.0
"""Seconds after which a worker tells again of the components of its packages."""


class Child:
    """Claims and runs jobs, and says that it is there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._presence = threading.Thread(target=self._report, name="presence", daemon=True)
        self._job_id: str | None = None
        self._drain = Drain()
        self._tallies = Tallies()
        self._said: dict[str, int] = {}  # of them, in the last report
        self._unanswered = False  # whether the last claim failed, as far as is known
        self._started_at = datetime.now(UTC)

    def start(self) -> None:
        """Takes the device and announces itself; runs once, before the first job."""
        logging.getLogger("worker").setLevel(logging.INFO)  # the node's own level is a warning
        die_with_parent()
        offer_to_oom_killer()
        # torch takes seconds to import, and what cannot be imported must be known now
        from worker.checkpoints import tidy_all  # noqa: PLC0415 - not in the node
        from worker.devices import describe_device, is_usable, offered, take, unit  # noqa: PLC0415 - as above
        from worker.engine.plugins import ME, installed  # noqa: PLC0415 - as above
        from worker.job import run  # noqa: PLC0415 - as above

        self._run = run
        self._is_usable = is_usable
        self._device: torch.device = take(self._settings.device, sharing=self._settings.per_gpu)
        self._device_name = describe_device(self._device)
        plugins = installed()
        for each in plugins.left_out:
            level = logging.INFO if each.package == ME else logging.WARNING
            log.log(level, "plugin.left_out %s", each)
        self._components = [each.offered() for each in plugins.plugins]
        self._left_out = [str(each) for each in plugins.left_out]
        names = [each.requirement for each in self._components]
        self._offer = offered(
            self._device,
            self._settings.labels,
            names,
            gpus=self._settings.gpus,
            sharing=self._settings.per_gpu,
        )
        # the parent's id: a child that is replaced keeps the name of its node
        self.name = f"{self._device.type}-{os.getppid()}@{socket.gethostname()}"
        context.always(worker=self.name)
        traces.start("stepsize-worker", self._settings.otlp_endpoint)
        self._unit = unit(self._device) or self.name
        self._versions = {
            "python": platform.python_version(),
            "stepsize": version("stepsize"),
            "torch": version("torch"),
        }
        self._sessions: Sessions = connect(self._settings.database_url)
        self._files: Files = opened(self._settings.checkpoints)
        self._presence.start()
        tidying = partial(tidy_all, self._files, self._sessions)
        threading.Thread(target=tidying, name="tidying", daemon=True).start()
        log.info("worker.started name=%s device=%s", self.name, self._device_name)

    def stop(self) -> None:
        """Says goodbye."""
        self._stop.set()
        self._changed.set()
        self._presence.join(timeout=5)
        try:
            with self._sessions.begin() as tx:
                self._tell(tx)
                workers.leave(tx, self.name)
        except Unavailable as error:
            log.warning("worker.leave_failed %s", describe(error))
        traces.stop()
        log.info("worker.stopped name=%s", self.name)

    def work(self, hint: str) -> None:
        """Runs ready jobs until there are none, or the process is asked to end."""
        with holding_signals(self._drain):
            while not self._drain.asked and self._claim_and_run(hint):
                pass
        if self._drain.asked:
            # Celery swallows a SystemExit inside a task; its node starts another child, unless
            # it ends itself
            self.stop()
            logging.shutdown()
            os._exit(0)

    def _claim_and_run(self, hint: str) -> bool:
        """Runs the best ready job; False when there is none."""
        asked_at = time.time_ns()
        try:
            with self._sessions.begin() as tx:
                if self._unanswered:  # that claim may have been made, and nobody runs its job
                    claims.unclaim(tx, self.name)
                claimed = claims.claim(
                    tx,
                    worker=self.name,
                    queues=self._settings.queues,
                    lease=self._settings.lease,
                    offer=self._offer,
                    unit=self._unit,
                )
        except Unavailable as error:
            self._unanswered = True
            log.warning("job.claim_failed hint=%s %s", hint, describe(error))
            return False  # the reconciler wakes a worker again
        self._unanswered = False
        if claimed is None:
            return False
        job, lease = claimed
        self._now(job.id)
        try:
            with of(job):
                log.info("job.claimed job=%s attempt=%s kind=%s", job.id, job.attempt, job.kind)
                traces.begin(
                    "job.claim",
                    parent=job.traceparent,
                    at=asked_at,
                    attributes={"job": job.id, "attempt": job.attempt, "worker": self.name},
                ).end()
                self._run(
                    job,
                    lease,
                    sessions=self._sessions,
                    settings=self._settings,
                    device=self._device,
                    drain=self._drain,
                    files=self._files,
                    tallies=self._tallies,
                )
        finally:
            self._now(None)
        if not self._is_usable(self._device):
            log.error("worker.device_lost name=%s; this process ends", self.name)
            self._drain.note(0)
        return True

    def _now(self, job_id: str | None) -> None:
        self._job_id = job_id
        self._changed.set()

    def _report(self) -> None:
        publish_at = 0.0
        while not self._stop.is_set():
            publishing = time.monotonic() >= publish_at
            try:
                with self._sessions.begin() as tx:
                    if publishing:
                        components.publish(tx, self._components)
                    said = self._tell(tx)
                self._said = said
                if publishing:
                    publish_at = time.monotonic() + PUBLISHED_FOR
            except Unavailable as error:
                log.warning("worker.report_failed %s", describe(error))
            except Exception:
                log.exception("worker.report_failed")
            self._changed.wait(self._settings.heartbeat_seconds)
            self._changed.clear()

    def _tell(self, tx: WriteTx) -> dict[str, int]:
        """Says that it is there; returns what it has counted, as it says."""
        if workers.take_over(tx, self.name, since=self._started_at):
            self._tallies.keep(self._said)
            self._said = {}
        busy = self._job_id is not None
        counted = self._tallies.now()
        workers.report(
            tx,
            name=self.name,
            device=self._device_name,
            state="draining" if self._drain.asked else "busy" if busy else "idle",
            job_id=self._job_id,
            queues=self._settings.queues,
            versions=self._versions,
            offer=self._offer,
            unit=self._unit,
            left_out=self._left_out,
            started_at=self._started_at,
            counted=counted,
        )
        return counted
