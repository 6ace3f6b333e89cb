"""Starts one worker node: `python -m worker`, configured by the environment."""

import os
import socket
import sys
from collections.abc import Mapping

from spec.settings import Settings, SettingsError
from spec.wakeup import inbox
from telemetry import traces
from telemetry.traces import TracesError


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What must be set before Celery, OpenMP and the C library start; what is set already wins.

    REMAP_SIGTERM: a SIGTERM ends the node at once, and its job hands itself back.
    GOMP_SPINCOUNT: threads that spin for long while they wait would slow a busy neighbour, such as
    the API on the same machine, several times over; if they slept at once, waking them would take
    longer than many an operation.
    MALLOC_*: freed activations are kept for the next iteration instead of being given back to
    the kernel and faulted in again, page by page.
    CUDA_DEVICE_ORDER: numbers of GPUs mean the same as in nvidia-smi.
    """
    return {
        "REMAP_SIGTERM": "SIGQUIT",
        "GOMP_SPINCOUNT": "2000",
        "MALLOC_MMAP_THRESHOLD_": "4294967296",
        "MALLOC_TRIM_THRESHOLD_": "17179869184",
        "MALLOC_TOP_PAD_": "67108864",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        # containers run as root, and no task unpickles anything
        "C_FORCE_ROOT": "1",
        **environ,
    }


def arguments(settings: Settings) -> list[str]:
    """The command line of the Celery node."""
    name = f"{settings.device.replace(':', '')}-{os.getpid()}@{socket.gethostname()}"
    queues = ",".join([*settings.queues, inbox(name)])
    options = ["-n", name, "-Q", queues, "--loglevel", "WARNING"]
    alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return [sys.executable, "-m", "celery", "-q", "-A", "worker.app", "worker", *options, *alone]


def main() -> None:
    """Becomes the node."""
    try:
        settings = Settings.read(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command speaks to its terminal
        sys.exit(2)
    try:
        traces.start("stepsize-worker", settings.otlp_endpoint)  # whether it can: the child sends
        traces.stop()
    except TracesError as error:
        print(error, file=sys.stderr)  # noqa: T201 - as above
        sys.exit(2)
    command = arguments(settings)
    os.execve(command[0], command, environment(os.environ))  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    main()
