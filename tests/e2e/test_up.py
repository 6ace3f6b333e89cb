"""The embedded service as a process: what it starts, who it lets in, and what it leaves behind."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from stepsize import ApiError, Client, range_test
from stepsize.children import Child
from stepsize.embedded import port_is_free
from stepsize.supervisor import ChildFailedError, Supervisor
from tests.e2e.service import eventually, free_port

SPEC = range_test(
    "mlp",
    {"name": "synthetic", "params": {"examples": 64}},
    "sgd",
    batch_size=32,
    range={"iterations": 20},
    repeats=1,
)
UP = [sys.executable, "-m", "stepsize", "up"]


def processes_of(directory: Path) -> list[psutil.Process]:
    """Every process that was told of the data directory, whoever its parent is by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("STEPSIZE_DATA_DIR") == str(directory):
                found.append(process)
        except psutil.Error:
            continue  # gone meanwhile, or another user's
    return [each for each in found if each.status() != psutil.STATUS_ZOMBIE]


@dataclass
class Up:
    """`stepsize up` as a process, ready for jobs."""

    process: subprocess.Popen[bytes]
    directory: Path
    port: int
    url: str
    errors: Path

    def children(self) -> dict[str, psutil.Process]:
        """The direct ones, by what they run."""
        named = {}
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):  # it has just died
                line = " ".join(child.cmdline())
                names = ("valkey", "-m api", "celery")
                named.update({name: child for name in names if name in line})
        return named


@contextmanager
def started(directory: Path, *options: str) -> Iterator[Up]:
    port = free_port()
    said, errors = directory.parent / "up.stdout", directory.parent / "up.stderr"
    with said.open("w") as out, errors.open("w") as err:
        process = subprocess.Popen(
            [*UP, "--data-dir", str(directory), "--port", str(port), "--json", *options],
            stdout=out,
            stderr=err,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    try:
        eventually(lambda: said.read_text() or process.poll() is not None, within=60)
        assert process.poll() is None, errors.read_text()
        ready = json.loads(said.read_text())
        assert ready["pid"] == process.pid
        yield Up(process, directory, port, ready["url"], errors)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with started(tmp_path_factory.mktemp("up") / "data") as service:
        yield service


def run_up(*options: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*UP, *options], capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    return done


def test_is_ready_for_jobs_when_it_says_so(up: Up) -> None:
    with Client(up.url) as client:
        assert [worker.state for worker in client.workers()] == ["idle"]
        assert set(up.children()) == {"valkey", "-m api", "celery"}
        assert stat.S_IMODE(up.directory.stat().st_mode) == 0o700
        assert client.wait(client.submit(SPEC), timeout=60).succeeded


def test_a_second_one_in_the_same_directory_is_refused(up: Up) -> None:
    done = run_up("--data-dir", str(up.directory), "--port", str(free_port()))
    assert done.returncode == 1
    message = " ".join(done.stderr.split())
    assert f"in use by the stepsize service at {up.url}" in message
    assert f"(process {up.process.pid})" in message
    with Client(up.url) as client:
        assert client.ready()


def test_a_port_in_use_is_refused(up: Up, tmp_path: Path) -> None:
    done = run_up("--data-dir", str(tmp_path / "other"), "--port", str(up.port))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {up.port}" in " ".join(done.stderr.split())
    assert processes_of(tmp_path / "other") == []


@pytest.mark.parametrize("name", ["celery", "-m api", "valkey"])
def test_what_dies_is_started_again_and_jobs_go_on(up: Up, name: str) -> None:
    victim = up.children()[name]
    orphans = victim.children(recursive=True)
    victim.kill()
    eventually(lambda: up.children().get(name, victim) != victim)
    eventually(lambda: not any(orphan.is_running() for orphan in orphans))
    assert "was killed by signal 9, starts again" in up.errors.read_text()
    with Client(up.url) as client:
        eventually(client.ready)
        assert client.wait(client.submit(SPEC), timeout=60).succeeded


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path / "data") as up:
        up.process.send_signal(number)
        up.process.send_signal(number)  # an impatient second one changes nothing
        assert up.process.wait(timeout=30) == 0
        assert processes_of(up.directory) == []
        assert "Traceback" not in up.errors.read_text()
        assert (up.directory / "up.lock").read_text() == ""


def test_a_kill_leaves_nothing_behind(tmp_path: Path) -> None:
    # a path too long for a socket, and with characters that URLs treat in their own way
    directory = tmp_path / "a path with spaces, 100 % & more" / ("x" * 60)
    directory.parent.mkdir()
    with started(directory) as up:
        processes = processes_of(directory)
        assert len(processes) >= 4  # broker, API, worker node and its child
        socket_path = Path(urlsplit(processes[0].environ()["STEPSIZE_BROKER_URL"]).path)
        assert stat.S_IMODE(socket_path.parent.stat().st_mode) == 0o700
        assert socket_path.is_socket()
        up.process.kill()
        eventually(lambda: processes_of(directory) == [])
        shutil.rmtree(socket_path.parent)  # the one thing that it could not take along


def test_a_service_that_cannot_start_says_why(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    done = subprocess.run(
        [*UP, "--data-dir", str(directory), "--port", str(free_port())],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "STEPSIZE_LEASE_SECONDS": "soon"},
    )
    assert done.returncode == 1
    assert "STEPSIZE_LEASE_SECONDS (how long" in done.stderr
    assert "Input should be a valid number" in done.stderr
    assert str(directory / "logs") in done.stderr.replace("\n", "")
    assert processes_of(directory) == []


def child_of(tmp_path: Path, code: str) -> Child:
    return Child(
        "sample",
        [sys.executable, "-c", code],
        environ=dict(os.environ),
        log=tmp_path / "sample.log",
        patience=0.5,
    )


def test_a_child_that_dies_again_and_again_is_given_up(tmp_path: Path) -> None:
    said: list[str] = []
    child = child_of(tmp_path, "print('no luck'); raise SystemExit(7)")
    supervisor = Supervisor([child], say=said.append, pause=0.01)
    supervisor.start()
    with pytest.raises(ChildFailedError, match="exit code 7, 5 times in a row") as caught:
        eventually(supervisor.tend)  # it has no answer, and is asked again
    assert "no luck" in str(caught.value)
    assert len(said) == 4


def test_a_child_that_will_not_end_is_killed_with_all_it_started(tmp_path: Path) -> None:
    code = (
        "import signal, subprocess, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen(['sleep', '600']).pid, flush=True)\n"
        "signal.pause()"
    )
    child = child_of(tmp_path, code)
    child.start()
    eventually(lambda: child.tail() != "")
    grandchild = psutil.Process(int(child.tail()))
    child.stop()
    assert child.exit_code() == -signal.SIGKILL
    eventually(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


def test_a_busy_port_is_recognised() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not port_is_free("127.0.0.1", server.getsockname()[1])
    assert port_is_free("127.0.0.1", free_port())


def test_migrate_becomes_the_migrations_whatever_lies_around(tmp_path: Path) -> None:
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "__main__.py").write_text("raise SystemExit('not me')")
    done = subprocess.run(
        [Path(sys.executable).with_name("stepsize"), "migrate"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "STEPSIZE_DATABASE_URL": f"sqlite:///{tmp_path / 'stepsize.db'}"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "the database is at revision" in done.stdout


def test_nobody_else_is_let_in_without_a_key(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    everywhere = ("--data-dir", str(directory), "--host", "0.0.0.0")
    done = run_up(*everywhere, "--port", str(free_port()))
    assert done.returncode == 1
    assert "refusing to listen on 0.0.0.0 while there is no key" in done.stderr
    assert "stepsize keys create --data-dir" in done.stderr
    make = [sys.executable, "-m", "stepsize", "keys", "create", "--data-dir", str(directory)]
    key = subprocess.run(make, capture_output=True, text=True, check=True).stdout.strip()
    with started(directory, "--host", "0.0.0.0") as up:
        with Client(up.url) as client, pytest.raises(ApiError, match="send an API key"):
            client.jobs()
        with Client(up.url, key) as client:
            assert client.whoami().owner == "admin"
            assert client.wait(client.submit(SPEC), timeout=60).succeeded
