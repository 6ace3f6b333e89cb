"""PyTorch's DataLoader as the engine uses it: how its processes start, fail and end."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from multiprocessing.context import ForkServerContext
from multiprocessing.process import AuthenticationString  # type: ignore[attr-defined]  # no stub
from typing import Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as MapStyle

from spec.compute import Loader
from spec.states import Reason
from worker.engine import readers
from worker.engine.errors import EngineError
from worker.engine.readers import Asked, Failed
from worker.engine.sources import Rows

ENDED_BY = {
    signal.SIGKILL: "as happens where memory runs out: give /loader fewer workers or a smaller"
    " prefetch",
    signal.SIGBUS: "as happens where shared memory (/dev/shm) is too small for the batches on"
    " their way, or a file was cut short: enlarge it, or give /loader fewer workers",
}


class Loading:
    """A DataLoader with its processes, which live until `close`, however often it is read."""

    def __init__(
        self,
        dataset: MapStyle[Rows | Failed],
        loader: Loader,
        device: torch.device,
        *,
        asked: Iterable[Asked] | None = None,
    ) -> None:
        """Start nothing yet. `asked`: what of the dataset, unless it is read one by one."""
        several = loader.workers > 0
        self._device = device
        self._loader: DataLoader[Rows | Failed] = DataLoader(
            dataset,
            sampler=asked,
            batch_size=None,
            collate_fn=_as_is,
            num_workers=loader.workers,
            prefetch_factor=loader.prefetch if several else None,
            persistent_workers=several,
            pin_memory=device.type == "cuda",
            multiprocessing_context=_context() if several else None,
            worker_init_fn=_end_with_the_job if several else None,
            # without one it would draw from the global stream
            generator=torch.Generator(),
        )
        self._processes: Any = None

    def batches(self) -> Iterator[Rows]:
        """Read from the start; one at a time.

        Raises:
            EngineError: CODE, the dataset raised an error, or a process ended.
        """
        # the thread that pins memory takes over which device is current
        cuda = self._device.type == "cuda"
        with torch.cuda.device(self._device) if cuda else nullcontext():
            try:
                self._processes = iter(self._loader)
            except Exception as error:
                raise EngineError(
                    Reason.CODE,
                    "no processes could be started to read the data (/loader with 0 workers needs"
                    f" none): {type(error).__name__}: {error}",
                ) from error
        for batch in self._watched(self._processes):
            if isinstance(batch, Failed):
                raise EngineError(Reason.CODE, batch.detail)
            yield batch

    def close(self) -> None:
        """End the processes."""
        if self._processes is not None and self._loader.num_workers:
            self._processes._shutdown_workers()  # noqa: SLF001 - else they end when it is collected
            for each in self._processes._workers:  # noqa: SLF001 - as above
                each.kill()  # one that hangs heeds nothing else
        self._processes = None

    @staticmethod
    def _watched(processes: Any) -> Iterator[Rows | Failed]:
        try:
            yield from processes
        except (RuntimeError, OSError, EOFError) as error:
            ended = [each for each in getattr(processes, "_workers", ()) if each.exitcode]
            if not ended:
                raise
            why = "; ".join(_ending(each.pid, each.exitcode) for each in ended)
            raise EngineError(Reason.CODE, why) from error


def _ending(pid: int, exitcode: int) -> str:
    which = f"process {pid}, which read the data for this job, ended"
    if exitcode > 0:
        return f"{which} with exit status {exitcode}; the worker's log may say why"
    number = signal.Signals(-exitcode)
    return f"{which} by {number.name}, {ENDED_BY.get(number, 'sent by another process')}"


def _context() -> ForkServerContext:
    """How processes are started: from a server that has imported the engine and computes nothing.

    A fork of this process would copy locks that threads of OpenMP and CUDA hold; a fresh start
    takes seconds of imports each time.
    """
    # A pool of Celery's marks its processes as having no children and leaves there its own kind
    # of key, which cannot be handed on. Ours never outlive this process, whatever ends it.
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]  # noqa: SLF001 - as said
    config["daemon"] = False
    config["authkey"] = AuthenticationString(config["authkey"])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([readers.__name__])
    return context


def _end_with_the_job(_worker: int) -> None:
    """Let this process end when the one that runs the job does, however that ends, and not before.

    A signal to all processes of a worker is for that one to heed: it hands its job back.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    job = multiprocessing.parent_process()
    if job is None:
        raise RuntimeError("a process that reads data was not started by one that runs a job")

    def follow() -> None:
        job.join()
        os._exit(1)

    threading.Thread(target=follow, name="end-with-the-job", daemon=True).start()


def _as_is(batch: Any) -> Any:
    return batch
