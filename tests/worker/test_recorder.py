"""The recorder stores every block exactly once, and none after its lease is gone."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from spec.settings import Settings
from spec.states import State
from store import checkpoints, leases, series
from store.checkpoints import Saved
from store.database import Sessions, WriteTx
from store.files import opened
from store.leases import Lease, LeaseLostError, Requests
from store.tables import chunks as table
from tests.factories import claimed, queued, stored
from worker import pulse as pulses
from worker import recorder as recorders
from worker.drain import Drain
from worker.engine import Block
from worker.pulse import Pulse
from worker.recorder import Recorder, chunks


class FlakyDatabase:
    """Sessions whose next transactions fail, as when the database is away."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.failures = 0

    @contextmanager
    def begin(self) -> Iterator[WriteTx]:
        if self.failures:
            self.failures -= 1
            raise OperationalError("", {}, Exception("the database is away"))
        with self.sessions.begin() as tx:
            yield tx


def block(start: int, count: int, repeat: int = 0) -> Block:
    values = np.arange(start, start + count)
    columns = {"loss": values.astype(np.float32), "lr": values.astype(np.float64)}
    return Block("train", repeat, start, columns)


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(database_url=database_url, broker_url="redis://unused", data_dir=tmp_path)


@pytest.fixture
def lease(sessions: Sessions) -> Lease:
    queued(sessions)
    return claimed(sessions)


@pytest.fixture
def database(sessions: Sessions) -> FlakyDatabase:
    return FlakyDatabase(sessions)


@pytest.fixture
def pulse(lease: Lease, settings: Settings) -> Pulse:
    return Pulse(lease, settings, Drain())


@pytest.fixture
def recorder(database: FlakyDatabase, settings: Settings) -> Recorder:
    return Recorder(database, settings, opened(settings.checkpoints))


def recorded(sessions: Sessions, lease: Lease) -> list[float]:
    with sessions.read() as tx:
        rows = series.read(
            tx,
            lease.job_id,
            ["loss"],
            series="train",
            repeat=0,
            start=0,
            stop=None,
            points=None,
        )
    losses: list[float] = rows.columns["loss"].tolist()
    return losses


def succeed(lease: Lease) -> Callable[[WriteTx], None]:
    return lambda tx: leases.succeed(tx, lease, {})


def test_the_first_block_is_stored_at_once(
    sessions: Sessions,
    recorder: Recorder,
    pulse: Pulse,
    lease: Lease,
) -> None:
    recorder.add(pulse, block(0, 3))
    assert recorded(sessions, lease) == [0, 1, 2]
    assert stored(sessions, lease.job_id).iteration == 3


def test_progress_counts_the_range_test_and_the_training(
    sessions: Sessions, recorder: Recorder, pulse: Pulse, lease: Lease
) -> None:
    for repeat in (0, 1):
        ramp = replace(block(0, 3, repeat), series="range_test")
        recorder.add(
            pulse, replace(ramp, columns={f"range_{n}": c for n, c in ramp.columns.items()})
        )
    recorder.add(pulse, block(0, 5))
    columns = {"iteration": np.array([5]), "val_loss": np.array([1.0])}
    recorder.add(pulse, Block("validation", 0, 5, columns))
    recorder.finish(pulse, succeed(lease))
    assert stored(sessions, lease.job_id).iteration == 11
    assert recorded(sessions, lease) == list(range(5))


def test_the_end_is_stored_with_the_last_rows(
    sessions: Sessions,
    recorder: Recorder,
    pulse: Pulse,
    lease: Lease,
) -> None:
    for start in range(0, 50, 5):
        recorder.add(pulse, block(start, 5))
    recorder.finish(pulse, succeed(lease))
    assert recorded(sessions, lease) == list(range(50))
    job = stored(sessions, lease.job_id)
    assert (job.state, job.iteration) == (State.SUCCEEDED, 50)


def test_no_row_is_lost_while_the_database_is_away(
    sessions: Sessions,
    database: FlakyDatabase,
    recorder: Recorder,
    pulse: Pulse,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorders, "FIRST_INTERVAL", 0.001)
    database.failures = 1
    recorder.add(pulse, block(0, 5))
    assert recorded(sessions, pulse.lease) == []
    recorder.add(pulse, block(5, 5))
    database.failures = 3
    recorder.finish(pulse, succeed(pulse.lease))
    assert recorded(sessions, pulse.lease) == list(range(10))
    assert stored(sessions, pulse.lease.job_id).state == State.SUCCEEDED


def test_a_checkpoint_is_stored_with_all_that_came_before_it(
    sessions: Sessions,
    database: FlakyDatabase,
    recorder: Recorder,
    pulse: Pulse,
    settings: Settings,
) -> None:
    files, lease = opened(settings.checkpoints), pulse.lease
    names = [f"{lease.job_id}/1-{n}.ckpt" for n in (4, 6, 8)]
    for name in names:
        files.write(name, b"state")

    def saved(iteration: int) -> Saved:
        return Saved(iteration, f"{lease.job_id}/1-{iteration}.ckpt", 5, "0" * 64, lasting=False)

    recorder.add(pulse, block(0, 3))
    recorder.add(pulse, block(3, 1))  # is held back
    recorder.checkpoint(pulse, saved(4))
    assert recorded(sessions, lease) == list(range(4))
    assert stored(sessions, lease.job_id).checkpoint == 4
    recorder.add(pulse, block(4, 2))
    database.failures = 1
    recorder.checkpoint(pulse, saved(6))  # while the database is away
    assert stored(sessions, lease.job_id).checkpoint == 4
    recorder.add(pulse, block(6, 2))
    recorder.checkpoint(pulse, saved(8))
    assert recorded(sessions, lease) == list(range(8))
    with sessions.read() as tx:
        spans = tx.execute(select(table.c.start, table.c.stop, table.c.after)).all()
        kept = [each.iteration for each in checkpoints.find(tx, lease.job_id)]
    assert sorted(map(tuple, spans)) == [(0, 3, 0), (3, 4, 0), (4, 6, 4), (6, 8, 6)]
    assert kept == [8, 6]
    assert files.names() == names[1:]


def test_an_answer_lost_after_the_commit_ends_as_a_lost_lease(
    sessions: Sessions,
    recorder: Recorder,
    pulse: Pulse,
    lease: Lease,
) -> None:
    recorder.add(pulse, block(0, 5))
    recorder.finish(pulse, succeed(lease))
    with pytest.raises(LeaseLostError):
        recorder.finish(pulse, succeed(lease))
    assert stored(sessions, lease.job_id).state == State.SUCCEEDED


def test_nothing_is_written_once_the_lease_may_have_run_out(
    sessions: Sessions,
    database: FlakyDatabase,
    lease: Lease,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr(pulses, "clock", lambda: now[0])
    pulse = Pulse(lease, settings, Drain())
    recorder = Recorder(database, settings, opened(settings.checkpoints))
    now[0] += settings.lease_seconds - settings.heartbeat_seconds - 1
    assert pulse.stop is None
    now[0] += 2
    assert pulse.stop == "lost"
    recorder.add(pulse, block(0, 5))
    with pytest.raises(LeaseLostError):
        recorder.finish(pulse, succeed(lease))
    assert recorded(sessions, lease) == []
    assert stored(sessions, lease.job_id).state == State.RUNNING


def test_a_pulse_knows_why_to_stop(settings: Settings) -> None:
    drain = Drain()
    pulse = Pulse(lease, settings, drain)
    pulse.renewed(asked_at=pulses.clock(), requests=Requests())
    assert pulse.stop is None
    pulse.renewed(asked_at=pulses.clock(), requests=Requests(pause=True))
    assert pulse.stop == "paused"
    pulse.renewed(asked_at=0, requests=Requests())  # an answer that comes late
    assert pulse.stop == "paused"
    drain.note(signal.SIGTERM)
    assert pulse.stop == "draining"
    pulse.renewed(asked_at=pulses.clock(), requests=Requests(cancel=True))
    assert pulse.stop == "cancelled"
    pulse.lose()
    assert pulse.stop == "lost"


def test_a_gap_between_blocks_is_a_gap_between_chunks() -> None:
    joined = chunks([(0, block(0, 3)), (0, block(3, 2)), (0, block(9, 1))])
    assert [(chunk.start, chunk.stop) for chunk in joined] == [(0, 5), (9, 10)]


def test_no_chunk_spans_a_checkpoint() -> None:
    joined = chunks([(0, block(0, 3)), (0, block(3, 2)), (5, block(5, 1)), (5, block(6, 1))])
    assert [(chunk.start, chunk.stop, chunk.after) for chunk in joined] == [(0, 5, 0), (5, 7, 5)]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), max_size=20))
def test_blocks_are_joined_by_repeat_and_keep_their_order(sizes: list[tuple[int, int]]) -> None:
    blocks: list[Block] = []
    reached = {0: 0, 1: 0, 2: 0}
    for repeat, count in sizes:
        blocks.append(block(reached[repeat], count, repeat))
        reached[repeat] += count
    joined = chunks([(0, each) for each in blocks])
    assert len(joined) == len({repeat for repeat, _ in sizes})
    for chunk in joined:
        assert chunk.columns["loss"].tolist() == list(range(reached[chunk.repeat]))
        assert (chunk.start, chunk.stop) == (0, reached[chunk.repeat])
