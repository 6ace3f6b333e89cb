"""A job goes on from its last checkpoint, whatever happened to its workers and its files."""

import errno
import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select, update

from spec.settings import Settings
from spec.states import State
from store import checkpoints, claims, history, jobs, moves, recovery, series
from store.database import Sessions
from store.files import Directory, Files, opened
from store.instants import from_now
from store.jobs import JOB_SPEC, Job, Submission
from store.leases import Lease
from store.tables import chunks
from store.tables import jobs as table
from tests.factories import LEASE, range_test_json, stored, training_json
from tests.plugins import Install, install  # noqa: F401 - a fixture
from worker import checkpoints as files_of_workers
from worker import engine, pulse, recorder
from worker import job as jobs_of_workers
from worker.checkpoints import tidy_all
from worker.drain import Drain
from worker.engine import Event
from worker.recorder import Recorder

CPU = torch.device("cpu")
OFTEN: dict[str, Any] = {"evaluate": {"every": {"iterations": 5}}}
"""Makes a block end, and with it comes a checkpoint, every five iterations."""

TRAINING = training_json(**OFTEN, record=["accuracy"])
RANGE_TEST = range_test_json(**OFTEN)


class Killed(BaseException):
    """What happens to a process that is killed: nothing of it goes on."""


class Worker:
    """Claims jobs and runs them; may be killed, or asked to end, at any event of the engine."""

    def __init__(
        self, sessions: Sessions, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.sessions = sessions
        self.settings = settings
        self.files: Files = opened(settings.checkpoints)
        self.at: Callable[[int, Event], None] = lambda _, __: None
        self._drain = Drain()
        run = engine.run

        def watched(*args: Any, **options: Any) -> Iterator[Event]:
            for number, event in enumerate(run(*args, **options)):
                self.at(number, event)
                yield event

        monkeypatch.setattr(engine, "run", watched)

    def submit(self, spec: dict[str, Any], **known: Any) -> str:
        with self.sessions.begin() as tx:
            return jobs.add(tx, Submission(JOB_SPEC.validate_python(spec), **known)).id

    def claim(self) -> tuple[Job, Lease]:
        with self.sessions.begin() as tx:
            found = claims.claim(tx, worker="w", queues=["default"], lease=LEASE)
        assert found is not None
        return found

    def work(self) -> Job:
        """Runs the next job to where this worker leaves it."""
        job, lease = self.claim()
        self._drain = Drain()
        jobs_of_workers.run(
            job,
            lease,
            sessions=self.sessions,
            settings=self.settings,
            device=CPU,
            drain=self._drain,
            files=self.files,
        )
        return stored(self.sessions, job.id)

    def terminate(self) -> None:
        self._drain.note(15)

    def die_at(self, event: int) -> None:
        """Works until that event of the engine, and is killed; its lease runs out."""

        def at(number: int, _: Event) -> None:
            if number == event:
                raise Killed

        self.at = at
        self.die()
        self.at = lambda _, __: None
        self.expire()

    def die(self) -> None:
        """Works until it is killed."""
        with pytest.raises(Killed):
            self.work()

    def expire(self) -> None:
        """The leases of all running jobs run out."""
        with self.sessions.begin() as tx:
            past = from_now(timedelta(seconds=-1))
            tx.execute(
                update(table).where(table.c.state == State.RUNNING).values(lease_expires=past)
            )
            recovery.expire(tx, max_crashes=100)

    def result(self, spec: dict[str, Any]) -> Job:
        """Of the job run without any fault."""
        self.submit(spec)
        job = self.work()
        assert job.state is State.SUCCEEDED, job.detail
        return job


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url="redis://unused",
        data_dir=tmp_path / "data",
        checkpoint_seconds=1e-9,
    )


@pytest.fixture
def worker(sessions: Sessions, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Worker:
    return Worker(sessions, settings, monkeypatch)


def everything(sessions: Sessions, job: Job) -> list[tuple[Any, ...]]:
    """All that the job has recorded, and its result without its time."""
    found: list[tuple[Any, ...]] = []
    with sessions.read() as tx:
        for each in series.summary(tx, job.id)[0]:
            which = next(kind for kind, names in series.SERIES.items() if each.name in names)
            rows = series.read(
                tx,
                job.id,
                [each.name],
                series=which,
                repeat=each.repeat,
                start=0,
                stop=None,
                points=None,
            )
            values = rows.columns[each.name].tolist()
            found.append((each.name, each.repeat, rows.iteration.tolist(), values))
    timeless = {name: value for name, value in (job.result or {}).items() if name != "seconds"}
    return [*found, (timeless,)]


def saved(worker: Worker, job: Job) -> list[int]:
    with worker.sessions.read() as tx:
        return [each.iteration for each in checkpoints.find(tx, job.id)]


def weights(worker: Worker, job: Job) -> dict[str, torch.Tensor]:
    with worker.sessions.read() as tx:
        last = checkpoints.get(tx, job.id)
    content = torch.load(io.BytesIO(worker.files.read(last.file)), weights_only=True)
    assert content["version"] == 1

    def tensors(value: Any, path: str = "") -> Iterator[tuple[str, torch.Tensor]]:
        match value:
            case torch.Tensor():
                yield path, value
            case dict():
                for name, each in value.items():
                    yield from tensors(each, f"{path}/{name}")

    return dict(tensors(content["engine"]))


def verbs(worker: Worker, job: Job) -> list[str]:
    with worker.sessions.read() as tx:
        return [each.verb for each in history.changes(tx, job.id, limit=100)]


@pytest.mark.parametrize("spec", [TRAINING, RANGE_TEST], ids=["training", "range test"])
def test_a_job_that_is_killed_ten_times_equals_one_that_is_not(
    worker: Worker, spec: dict[str, Any]
) -> None:
    undisturbed = worker.result(spec)
    job_id = worker.submit(spec)
    for kill in range(10):
        worker.die_at(4 + kill % 4)
    job = worker.work()
    assert (job.state, job.attempt) == (State.SUCCEEDED, 11), job.detail
    assert everything(worker.sessions, job) == everything(worker.sessions, undisturbed)
    with worker.sessions.read() as tx:
        attempts = history.attempts_of(tx, job_id, limit=100)
    began = [each.began for each in attempts]
    assert began == sorted(began)
    assert began[-1] > 30  # each went on from where another was killed
    if spec is TRAINING:
        ours, theirs = weights(worker, job), weights(worker, undisturbed)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_versions_of_a_package_that_a_job_has_run_with_stay_known(
    worker: Worker,
    install: Install,  # noqa: F811
    tmp_path: Path,
) -> None:
    code = """
    from torch.nn import functional
    def mine(scores, labels): return functional.cross_entropy(scores, labels)
    """
    install("lab", code, losses=["mine = lab:mine"])
    worker.submit({**TRAINING, "criterion": {"name": "mine"}})
    worker.die_at(10)
    shutil.rmtree(tmp_path / "site" / "lab")
    install("lab", code, losses=["mine = lab:mine"], version="2.0")
    worker.die_at(6)
    job = worker.work()
    assert job.state is State.SUCCEEDED, job.detail
    resolved: Any = job.resolved
    assert resolved["packages"] == {"lab": "2.0"}
    assert resolved["packages_before"] == [{"lab": "1.0"}]
    (warning,) = [each for each in resolved["warnings"] if "lab" in each]
    assert warning.startswith("an earlier attempt ran with lab 1.0")


def test_no_chunk_spans_a_checkpoint_and_few_files_stay(worker: Worker) -> None:
    job = worker.result(TRAINING | {"schedule": {"policy": "constant", "lr": 0.01}})
    with worker.sessions.read() as tx:
        rows = tx.execute(
            select(chunks.c.start, chunks.c.stop, chunks.c.after)
            .where(chunks.c.job_id == job.id, chunks.c.series == "train")
            .order_by(chunks.c.start)
        ).all()
    assert [tuple(row) for row in rows] == [(i, i + 5, i) for i in range(0, 100, 5)]
    assert saved(worker, job) == [100, 95]
    assert worker.files.names() == [f"{job.id}/1-100.ckpt", f"{job.id}/1-95.ckpt"]


def test_the_ends_of_cycles_stay(worker: Worker) -> None:
    job = worker.result(TRAINING)  # cycles of 40
    assert saved(worker, job) == [100, 95, 80, 40]


def test_a_planned_stop_makes_a_checkpoint(worker: Worker) -> None:
    rare = worker.settings.model_copy(update={"checkpoint_seconds": 3600})
    worker.settings = rare
    undisturbed = worker.result(TRAINING)
    worker.submit(TRAINING)
    worker.at = lambda number, _: worker.terminate() if number == 5 else None
    job = worker.work()
    assert (job.state, job.crashes, job.checkpoint) == (State.QUEUED, 0, job.iteration)
    assert 0 < job.iteration < 100
    worker.at = lambda _, __: None
    job = worker.work()
    assert (job.state, job.attempt) == (State.SUCCEEDED, 2)
    assert everything(worker.sessions, job) == everything(worker.sessions, undisturbed)
    assert verbs(worker, job) == ["submit", "claim", "hand_back", "claim", "succeed"]


def test_a_worker_that_is_to_end_before_the_first_update_hands_the_job_back(
    worker: Worker,
) -> None:
    worker.submit(TRAINING)
    worker.at = lambda number, _: worker.terminate() if number == 0 else None
    job = worker.work()
    assert (job.state, job.iteration, job.checkpoint) == (State.QUEUED, 0, None)


def test_a_pause_holds_the_job_and_a_resume_goes_on(worker: Worker) -> None:
    undisturbed = worker.result(TRAINING)
    job_id = worker.submit(TRAINING)

    def pause(number: int, _: Event) -> None:
        if number == 5:
            with worker.sessions.begin() as tx:
                moves.pause(tx, job_id)

    worker.at = pause
    job = worker.work()
    assert (job.state, job.pause_requested, job.checkpoint) == (
        State.PAUSED,
        False,
        job.iteration,
    )
    assert 0 < job.iteration < 100
    with worker.sessions.begin() as tx:
        assert claims.claim(tx, worker="w", queues=["default"], lease=LEASE) is None
        moves.resume(tx, job_id)
    worker.at = lambda _, __: None
    job = worker.work()
    assert everything(worker.sessions, job) == everything(worker.sessions, undisturbed)
    assert verbs(worker, job) == [
        *("submit", "claim", "pause", "hand_back", "resume", "claim", "succeed"),
    ]


@pytest.mark.parametrize(
    ("harm", "goes_on_from"),
    [
        (lambda files: [files[0].unlink()], "the one before"),
        (lambda files: [files[0].write_bytes(b"")], "the one before"),
        (lambda files: [f.write_bytes(f.read_bytes()[:-1] + b"x") for f in files[:1]], "it"),
        (lambda files: [f.unlink() for f in files], "the start"),
    ],
    ids=["missing", "empty", "another byte", "all missing"],
)
def test_a_damaged_checkpoint_falls_back_and_says_so(
    worker: Worker, harm: Callable[[list[Path]], object], goes_on_from: str
) -> None:
    undisturbed = worker.result(TRAINING)
    job_id = worker.submit(TRAINING)
    worker.die_at(16)
    before = saved(worker, stored(worker.sessions, job_id))
    folder = worker.settings.data_dir / "checkpoints" / job_id
    harm(sorted(folder.iterdir(), key=lambda path: -int(path.stem.split("-")[1])))
    job = worker.work()
    assert job.state is State.SUCCEEDED, job.detail
    assert everything(worker.sessions, job) == everything(worker.sessions, undisturbed)
    with worker.sessions.read() as tx:
        told = [each for each in history.changes(tx, job_id, limit=9) if each.verb == "fall_back"]
        began = history.attempts_of(tx, job_id, limit=9)[-1].began
    assert str(before[0]) in str(told[0].detail)
    assert began == told[0].iteration == (0 if goes_on_from == "the start" else before[1])


class FullDisk(Directory):
    """A directory that nothing can be written to."""

    def write(self, name: str, _: bytes | memoryview) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)


def test_a_full_disk_costs_the_checkpoint_and_not_the_job(
    worker: Worker, settings: Settings
) -> None:
    worker.files = FullDisk(settings.data_dir)
    job = worker.result(TRAINING)
    assert saved(worker, job) == []
    with worker.sessions.read() as tx:
        told = [each.detail for each in history.changes(tx, job.id, limit=9)]
    why = f"[Errno 28] No space left on device: '{job.id}/1-5.ckpt'"
    assert [each for each in told if each] == [f"the job goes on without this checkpoint: {why}"]


def test_a_data_directory_that_is_in_the_way_costs_no_job(
    worker: Worker, settings: Settings
) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / "checkpoints").write_text("not a directory")
    job = worker.result(TRAINING)
    assert verbs(worker, job) == ["submit", "claim", "checkpoint_failed", "succeed"]


class Away(Directory):
    """A directory that cannot be read for now, or cannot be written to."""

    def read(self, name: str) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)


def test_a_storage_that_is_away_costs_no_checkpoint(worker: Worker, settings: Settings) -> None:
    undisturbed = worker.result(TRAINING)
    job_id = worker.submit(TRAINING)
    worker.die_at(16)
    before = saved(worker, stored(worker.sessions, job_id))
    there, worker.files = worker.files, Away(Path(settings.checkpoints))
    job = worker.work()
    assert (job.state, job.checkpoint, saved(worker, job)) == (State.QUEUED, before[0], before)
    with worker.sessions.read() as tx:
        assert "Permission denied" in str(history.changes(tx, job_id, limit=1)[0].detail)
        waits = select(table.c.run_after > from_now(timedelta(seconds=5)))
        assert tx.execute(waits.where(table.c.id == job_id)).scalar_one()
    worker.files = there
    with worker.sessions.begin() as tx:
        tx.execute(update(table).values(run_after=from_now(timedelta(seconds=-1))))
    assert everything(worker.sessions, worker.work()) == everything(worker.sessions, undisturbed)


def test_a_checkpoint_of_another_version_is_left_to_it(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = worker.submit(TRAINING)
    worker.die_at(16)
    before = saved(worker, stored(worker.sessions, job_id))
    with monkeypatch.context() as patched:
        patched.setattr(files_of_workers, "VERSION", 2)
        job = worker.work()
    assert (job.state, job.reason, saved(worker, job)) == (State.FAILED, "invalid", before)
    assert "another version of stepsize" in str(job.detail)
    with worker.sessions.begin() as tx:
        moves.retry(tx, job_id)
    assert worker.work().state is State.SUCCEEDED


def test_a_pause_waits_until_there_is_a_checkpoint(worker: Worker, settings: Settings) -> None:
    undisturbed = worker.result(TRAINING)
    job_id = worker.submit(TRAINING)
    there, worker.files = worker.files, FullDisk(Path(settings.checkpoints))

    def at(number: int, _: Event) -> None:
        if number == 5:
            with worker.sessions.begin() as tx:
                moves.pause(tx, job_id)

    worker.at = at
    job = worker.work()  # to its end: it could not stop without loss
    assert (job.state, saved(worker, job)) == (State.SUCCEEDED, [])
    assert everything(worker.sessions, job) == everything(worker.sessions, undisturbed)
    worker.files = there


def test_a_time_limit_is_a_planned_stop(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    worker.settings = worker.settings.model_copy(update={"checkpoint_seconds": 3600})
    undisturbed = worker.result(TRAINING)
    job_id = worker.submit(TRAINING | {"max_seconds": 1000})
    passed = [0.0]
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + passed[0])

    def at(number: int, _: Event) -> None:
        if number == 5:
            passed[0] = 2000.0

    worker.at = at
    job = worker.work()
    assert (job.state, job.reason) == (State.FAILED, "timeout")
    assert job.checkpoint == job.iteration > 0
    with worker.sessions.begin() as tx:
        moves.retry(tx, job_id)
    worker.at = lambda _, __: None
    job = worker.work()
    assert everything(worker.sessions, job) == everything(worker.sessions, undisturbed)


def test_progress_forgives_crashes(worker: Worker) -> None:
    job_id = worker.submit(TRAINING)
    for kill in range(3):
        worker.die_at(4 + kill)
        assert stored(worker.sessions, job_id).crashes == 1  # each got further than the last
    worker.die_at(0)
    worker.die_at(0)
    assert stored(worker.sessions, job_id).crashes == 3


def test_nothing_is_kept_of_a_range_test_that_has_ended(worker: Worker) -> None:
    job_id = worker.submit(RANGE_TEST)
    worker.die_at(9)
    assert saved(worker, stored(worker.sessions, job_id))
    job = worker.work()
    assert (job.state, job.checkpoint, saved(worker, job)) == (State.SUCCEEDED, None, [])
    assert worker.files.names() == []


def test_a_stop_before_the_plan_keeps_what_there_was(worker: Worker, settings: Settings) -> None:
    spec = TRAINING | {"data": {"name": "arrays", "params": {"folder": "none"}}}
    worker.submit(TRAINING)
    worker.die_at(16)
    with worker.sessions.begin() as tx:
        tx.execute(
            update(table).values(spec=JOB_SPEC.validate_python(spec).model_dump(mode="json"))
        )
    job = worker.work()  # its data are gone
    assert (job.state, job.reason) == (State.FAILED, "invalid")
    assert job.iteration == job.checkpoint
    assert settings.data_dir.is_dir()


def test_a_training_goes_on_from_anothers_checkpoint(worker: Worker) -> None:
    constant = TRAINING | {"schedule": {"policy": "constant", "lr": 0.01}}
    longer = constant | {"length": {"iterations": 150}}
    undisturbed = worker.result(longer)
    parent = worker.result(constant)
    with worker.sessions.read() as tx:
        origin = checkpoints.get(tx, parent.id)
    spec = longer | {"from": {"job": parent.id}}
    job_id = worker.submit(spec, origin=origin)
    worker.die_at(5)  # from a checkpoint of its own as well
    job = worker.work()
    assert (job.id, job.state, job.parent, job.parent_iteration) == (
        *(job_id, State.SUCCEEDED, parent.id, 100),
    )
    whole = {each[:2]: each[2:] for each in everything(worker.sessions, undisturbed)[:-1]}
    for name, repeat, iteration, values in everything(worker.sessions, job)[:-1]:
        start = whole[name, repeat][0].index(iteration[0])
        assert (iteration, values) == tuple(each[start:] for each in whole[name, repeat])
    ours, theirs = weights(worker, job), weights(worker, undisturbed)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if "/model/" in name)


def test_a_parents_checkpoint_that_cannot_be_read_is_named(worker: Worker) -> None:
    parent = worker.result(TRAINING)
    with worker.sessions.read() as tx:
        origin = checkpoints.get(tx, parent.id)
    worker.files.remove_folder(parent.id)
    spec = TRAINING | {"from": {"job": parent.id}, "length": {"iterations": 150}}
    worker.submit(spec, origin=origin)
    job = worker.work()
    assert (job.state, job.reason) == (State.FAILED, "invalid")
    assert str(job.detail).startswith(f"/from: {origin.file} is missing; where its job")


def test_a_job_that_runs_for_too_long_fails(worker: Worker) -> None:
    worker.submit(TRAINING | {"max_seconds": 1e-6})
    job = worker.work()
    assert (job.state, job.reason) == (State.FAILED, "timeout")
    assert "/max_seconds" in str(job.detail)


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets an hour pass, as when the machine was suspended."""
    slept = [0.0]
    awake = pulse.clock

    def sleep() -> None:
        slept[0] += 3600

    monkeypatch.setattr(pulse, "clock", lambda: awake() + slept[0])
    monkeypatch.setattr(recorder, "clock", pulse.clock)
    return sleep


def test_a_machine_that_was_suspended_goes_on(worker: Worker, asleep: Callable[[], None]) -> None:
    undisturbed = worker.result(TRAINING)
    worker.submit(TRAINING)
    worker.at = lambda number, _: asleep() if number in {5, 11} else None
    job = worker.work()
    assert (job.state, job.attempt, job.crashes) == (State.SUCCEEDED, 1, 0)
    assert everything(worker.sessions, job) == everything(worker.sessions, undisturbed)


def test_a_job_that_was_taken_while_the_machine_was_suspended_is_left_alone(
    worker: Worker, asleep: Callable[[], None]
) -> None:
    job_id = worker.submit(TRAINING)
    taken: list[Lease] = []

    def at(number: int, _: Event) -> None:
        if number == 8:
            asleep()
            worker.expire()
            taken.append(worker.claim()[1])

    worker.at = at
    job = worker.work()
    assert (job.id, job.state, job.attempt) == (job_id, State.RUNNING, 2)
    assert taken[0].attempt == 2
    assert verbs(worker, job) == ["submit", "claim", "expire", "claim"]


def test_what_killed_workers_leave_behind_is_removed(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = worker.result(TRAINING)
    there = worker.files.names()
    job_id = worker.submit(TRAINING)

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "checkpoint", killed)  # the file is there, its row is not
        worker.die()
    orphan, partial = f"{job_id}/1-5.ckpt", f"{done.id}/7-5.ckpt.abc.tmp"
    unknown = "job_of_another_deployment/1-5.ckpt"
    for name in (partial, unknown):
        worker.files.write(name, b"left behind")
    tidy_all(worker.files, worker.sessions)  # the job seems to be running still
    assert worker.files.names() == sorted([*there, orphan, unknown])
    worker.expire()
    tidy_all(worker.files, worker.sessions)
    assert worker.files.names() == sorted([*there, unknown])


def test_an_attempt_removes_what_earlier_ones_have_left(worker: Worker) -> None:
    job_id = worker.submit(TRAINING)
    for name in ("1-3", "2-3", "3-3"):  # the last is of an attempt that may still come
        worker.files.write(f"{job_id}/{name}.ckpt", b"left behind")
    worker.die_at(2)
    job = worker.work()
    assert job.attempt == 2
    kept = [f"{job_id}/2-{iteration}.ckpt" for iteration in (100, 95, 80, 40)]
    assert worker.files.names() == sorted([*kept, f"{job_id}/3-3.ckpt"])
