"""A job from its claim to its end, with the store that the API reads from."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from spec.settings import Settings
from spec.states import Reason, State
from store import claims, jobs, series
from store.database import Sessions
from store.files import opened
from store.jobs import Job
from tests.factories import LEASE, range_test_json, stored, training_json
from worker import job as jobs_of_workers
from worker import snapshots
from worker.drain import Drain
from worker.pulse import Pulse

CPU = torch.device("cpu")
CYCLES = {"schedule": {"policy": "sgdr", "lr": 0.1, "t_0": 20}, "length": {"iterations": 50}}
AUTO = {
    "schedule": {
        "policy": "auto",
        "range": {"start": 1e-4, "end": 100.0, "iterations": 100},
        "repeats": 2,
    },
    "length": {"iterations": 40},
}


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(
        database_url=database_url, broker_url="redis://unused", data_dir=tmp_path / "data"
    )


@pytest.fixture
def finished(sessions: Sessions, settings: Settings) -> Any:
    """Submits a job, runs it as a worker does, and returns its row."""

    def finished(spec: dict[str, Any], **known: Any) -> Job:
        with sessions.begin() as tx:
            added = jobs.add(tx, jobs.Submission(jobs.JOB_SPEC.validate_python(spec), **known))
        with sessions.begin() as tx:
            found = claims.claim(tx, worker="w", queues=["default"], lease=LEASE)
        assert found is not None
        jobs_of_workers.run(
            *found,
            sessions=sessions,
            settings=settings,
            device=CPU,
            drain=Drain(),
            files=opened(settings.checkpoints),
        )
        return stored(sessions, added.id)

    return finished


def rows(sessions: Sessions, job: Job, name: str, which: str, repeat: int = 0) -> list[float]:
    with sessions.read() as tx:
        found = series.read(
            tx, job.id, [name], series=which, repeat=repeat, start=0, stop=None, points=None
        )
    values: list[float] = found.columns[name].tolist()
    return values


def test_snapshots_are_files_that_torch_loads(finished: Any, settings: Settings) -> None:
    job = finished(training_json(**CYCLES, snapshots="cycle_end"))
    assert job.state is State.SUCCEEDED
    files = [each["file"] for each in job.result["snapshots"]]
    assert files == [f"snapshots/{job.id}/{iteration}.pt" for iteration in (20, 40)]
    folder = settings.snapshots(job.id)
    assert sorted(each.name for each in folder.iterdir()) == ["20.pt", "40.pt"]
    weights = torch.load(settings.data_dir / files[1], weights_only=True)
    assert {name: each.shape for name, each in weights.items()} == {
        "1.weight": (16, 64),
        "1.bias": (16,),
        "3.weight": (10, 16),
        "3.bias": (10,),
    }
    assert "warnings" not in job.result


def test_a_full_disk_costs_the_files_and_not_the_training(
    finished: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fsync, []

    def full(file: int) -> None:
        calls.append(file)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr(snapshots.os, "fsync", full)
    job = finished(training_json(**CYCLES, snapshots="cycle_end"))
    assert job.state is State.SUCCEEDED
    first, second = job.result["snapshots"]
    assert first["file"] is None
    assert second["file"] == f"snapshots/{job.id}/40.pt"
    assert [each.name for each in settings.snapshots(job.id).iterdir()] == ["40.pt"]
    assert "snapshots at 20 could not be written" in job.result["warnings"][0]
    assert job.result["ensemble"]["members"] == 2


def test_a_folder_that_cannot_be_made_costs_no_more(finished: Any, settings: Settings) -> None:
    settings.data_dir.write_text("a file in the way")
    job = finished(training_json(**CYCLES, snapshots="cycle_end"))
    assert job.state is State.SUCCEEDED
    assert [each["file"] for each in job.result["snapshots"]] == [None, None]


def test_a_worker_that_lost_its_job_writes_no_more_snapshots(
    finished: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = snapshots.save

    def lost_meanwhile(*args: Any) -> Path:
        monkeypatch.setattr(Pulse, "lost", True)
        monkeypatch.setattr(Pulse, "stop", None)  # it was asked before
        return real(*args)

    monkeypatch.setattr(snapshots, "save", lost_meanwhile)
    job = finished(training_json(**CYCLES, snapshots="cycle_end"))
    assert job.state is State.RUNNING
    assert [each.name for each in settings.snapshots(job.id).iterdir()] == ["20.pt"]


def test_under_auto_both_series_and_the_schedule_can_be_read(
    finished: Any, sessions: Sessions
) -> None:
    job = finished(training_json(**AUTO))
    assert job.state is State.SUCCEEDED, job.detail
    tested = job.result["range_test"]["iterations"]
    lengths = [len(rows(sessions, job, "range_loss", "range_test", each)) for each in (0, 1)]
    assert sum(lengths) == tested
    assert len(rows(sessions, job, "loss", "train")) == 40
    assert job.iteration == job.iterations == tested + 40
    assert job.resolved["schedule"]["policy"] == "one_cycle"
    assert job.resolved["schedule"]["max_lr"] == (job.result["range_test"]["suggestion"]["max_lr"])


def test_under_auto_a_range_test_that_suggests_nothing_can_still_be_read(
    finished: Any, sessions: Sessions
) -> None:
    spec = training_json(**AUTO)
    spec["schedule"] = {**spec["schedule"], "range": {"start": 1e-9, "end": 1e-8, "iterations": 60}}
    job = finished(spec)
    assert (job.state, job.reason) == (State.FAILED, Reason.INVALID)
    assert "suggests no learning rate" in job.detail
    assert len(rows(sessions, job, "range_lr", "range_test", 1)) > 0


def test_what_is_odd_about_a_schedule_is_stored_with_it(finished: Any) -> None:
    job = finished(training_json(**CYCLES), warnings=["said at submission"])
    (warning,) = job.resolved["warnings"]
    assert warning.startswith("the run stops inside a cycle: 50 iterations")
    whole = finished(training_json(**CYCLES | {"length": {"cycles": 2}}))
    assert whole.resolved["warnings"] == []
    assert finished(range_test_json()).resolved["warnings"] == []


def test_bounds_from_range_tests_stay_known(finished: Any) -> None:
    spec = training_json()
    spec["schedule"]["max_lr"] = {"range_test": "job_1"}
    job = finished(spec, bounds={"/max_lr": 0.2})
    assert job.resolved["bounds"] == {"/max_lr": 0.2}
    assert job.resolved["schedule"]["max_lr"] == 0.2
