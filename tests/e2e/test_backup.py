"""Backups of running services, put back elsewhere: jobs go on, and their series are whole."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stepsize import Client
from store import checkpoints
from store.database import connect
from tests.e2e.service import Service, deployed, eventually
from tests.e2e.test_up import started
from tests.factories import training_json
from tests.postgresql import program

LENGTH = 40_000
LONG = training_json(
    model={"name": "mlp", "params": {"hidden": [64]}},
    data={"name": "synthetic", "params": {"examples": 2048}},
    length={"iterations": LENGTH},
)
OFTEN = {"STEPSIZE_CHECKPOINT_SECONDS": "0.5", "OMP_NUM_THREADS": "1"}
QUICK = {"STEPSIZE_LEASE_SECONDS": "3", "STEPSIZE_HEARTBEAT_SECONDS": "0.5"}


def command(*arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "stepsize", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def whole(client: Client, job: str) -> list[float]:
    """The losses of a job, once it is known that there is one for each iteration."""
    table = client.series(job, names="loss")
    assert table.columns["iteration"].tolist() == list(range(LENGTH))
    losses: list[float] = table.columns["loss"].tolist()
    return losses


def test_a_backup_of_a_running_service_goes_on_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (OFTEN | QUICK).items():
        monkeypatch.setenv(name, value)
    here, copy, there = tmp_path / "a" / "here", tmp_path / "copy", tmp_path / "b" / "there"
    here.parent.mkdir()
    there.parent.mkdir()
    with started(here) as up, Client(up.url) as client:
        job = client.submit(LONG).id
        eventually(lambda: len(client.checkpoints(job)) >= 2, what="two checkpoints")
        assert "copied to" in command("backup", copy, "--data-dir", here)
        assert client.job(job).state == "running"
        done = client.wait(job, timeout=120)
        assert done.succeeded
        assert done.attempt == 1  # the backup has cost it nothing
        losses = whole(client, job)
    assert "restored into" in command("restore", copy, "--data-dir", there)
    with started(there) as up, Client(up.url) as client:
        done = client.wait(job, timeout=120)
        assert done.succeeded
        assert done.attempt == 2
        assert whole(client, job) == losses  # to the last bit


def postgresql(name: str, *arguments: str | Path) -> None:
    subprocess.run([program(name), *map(str, arguments)], check=True)


@pytest.mark.timeout(300)
def test_a_dump_and_the_checkpoints_make_a_service_again(
    tmp_path: Path, postgresql_url: str
) -> None:
    """As docs/operations.md has it; then with checkpoints that did not come along."""
    plain, query = postgresql_url.split("?")
    url = f"{plain.rpartition('/')[0]}/stepsize?{query}"
    postgresql("psql", "-qd", postgresql_url, "-c", "CREATE DATABASE stepsize")
    one, copy, dump = tmp_path / "one", tmp_path / "copy", tmp_path / "stepsize.dump"
    one.mkdir()
    with deployed(one, url) as service:
        service.start_worker(**OFTEN)
        job = service.submit(LONG)
        listed = f"/v1/jobs/{job}/checkpoints"
        eventually(lambda: len(service.http.get(listed).json()["data"]) >= 2)
        shutil.copytree(one / "checkpoints", copy)
        postgresql("pg_dump", "-Fc", "-f", dump, "-d", url)
        shutil.copytree(one / "checkpoints", copy, dirs_exist_ok=True)
        assert service.job(job)["state"] == "running"
        done = service.finished(job, within=120)
        assert done["state"] == "succeeded", done["error"]
        losses = service.series(job, names="loss")["columns"]["loss"]

    restore = ("--clean", "--create", "--exit-on-error", "-d", postgresql_url, dump)
    for kept in ("all", "older", "none"):
        postgresql("pg_restore", *restore)
        folder = tmp_path / kept
        shutil.copytree(copy, folder / "checkpoints")
        if kept == "none":
            shutil.rmtree(folder / "checkpoints")
        elif kept == "older":
            (folder / "checkpoints" / latest(url, job)).unlink()
        again = Service(folder, url)
        try:
            again.start_broker()
            again.start_api()
            again.start_worker(**OFTEN)
            done = again.finished(job, within=120)
            assert done["state"] == "succeeded", (kept, done["error"])
            series = again.series(job, names="loss")["columns"]
            assert series["iteration"] == list(range(LENGTH)), kept
            assert series["loss"] == losses, kept
            verbs = [each["verb"] for each in done["history"]]
            assert ("fall_back" in verbs) == (kept != "all")
            assert (done["attempts"][-1]["began"] > 0) == (kept != "none")
        except BaseException as error:
            error.add_note(again.logs())
            raise
        finally:
            again.stop()


def latest(url: str, job: str) -> str:
    """The file of a job's last checkpoint, as the database has it."""
    sessions = connect(url)
    with sessions.read() as tx:
        file = checkpoints.get(tx, job).file
    sessions.close()
    return file
