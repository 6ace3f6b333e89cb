"""The Celery application of a worker node: `celery -A worker.app worker`.

This module is the entry of two kinds of processes, the node and its child, so it is the one
place of each where the environment is read. Nothing here imports torch: the node never does,
the child when it starts.
"""

import logging
import os
import signal
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_process_init, worker_process_shutdown

from spec.settings import Settings
from spec.wakeup import CELERY, TASK
from telemetry import logs
from worker.child import Child

log = logging.getLogger(__name__)

settings = Settings.read(os.environ)

app = Celery("stepsize", broker=settings.broker_url)
app.conf.update(
    CELERY,
    # A job's life is kept in SQL: the broker need not remember what it handed out.
    task_acks_late=False,
    task_reject_on_worker_lost=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    # Without this a wake-up waits in a busy node although another is idle.
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,
    worker_pool="prefork",
    worker_concurrency=1,
    worker_pool_start_method="spawn",  # a CUDA context does not survive a fork
    worker_proc_alive_timeout=120.0,  # the default of 4 s kills a child that imports torch
    worker_max_tasks_per_child=None,
    worker_soft_shutdown_timeout=0.0,  # the job hands itself back
    worker_send_task_events=False,
    task_send_sent_event=False,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,  # what is written there need not pass through a logger
)

_child: Child | None = None


@setup_logging.connect  # type: ignore[untyped-decorator]
def set_up_logging(**_: Any) -> None:
    """Gives the records of Celery, and of all else, the form of ours."""
    logs.configure(settings.log, level=logging.WARNING, secrets=settings.secrets)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def start_child(**_: Any) -> None:
    """Prepares the process that runs jobs: device, database, presence.

    Where that fails the node ends, which whoever started it sees; Celery alone would start one
    such process after the other.
    """
    global _child  # noqa: PLW0603 - Celery's hooks have no other place to pass it on
    _child = Child(settings)
    try:
        _child.start()
    except BaseException:
        log.exception("worker.start_failed device=%s", settings.device)
        logging.shutdown()
        os.kill(os.getppid(), signal.SIGTERM)
        os._exit(1)


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def stop_child(**_: Any) -> None:
    """Takes the worker off the list."""
    if _child is not None:
        _child.stop()


@app.task(name=TASK)  # type: ignore[untyped-decorator]
def wake(hint: str) -> None:
    """Runs jobs until none is ready; `hint` says which job the wake-up was sent for."""
    if _child is None:
        raise RuntimeError("a wake-up came before the worker process had started")
    _child.work(hint)
