"""Series made compact while their job runs, its worker writes, and somebody reads."""

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from store import compaction, leases, series, summaries
from store.checkpoints import Saved
from store.chunks import Chunk
from store.database import Sessions
from store.leases import Lease
from tests.factories import claimed, queued, record, run_out, saved
from tests.store.racing import ROUNDS, at_once, claiming, expiring, put_aside

LOSSES = np.random.default_rng(0).random(400).astype(np.float32)
DEADLINE = 20.0


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "BLOCK", 16)
    monkeypatch.setattr(summaries, "BUCKET", 2)
    monkeypatch.setattr(summaries, "FANOUT", 2)
    monkeypatch.setattr(compaction, "CROWD", 2)


def parts(start: int, stop: int, *cuts: int, after: int = 0) -> list[Chunk]:
    return [
        Chunk("train", 0, a, {"loss": LOSSES[a:b], "lr": np.arange(a, b) / 3}, after)
        for a, b in pairwise([start, *cuts, stop])
    ]


def compacting(sessions: Sessions) -> Callable[[], bool]:
    def compact() -> bool:
        with sessions.read() as tx:
            found = compaction.due(tx)
        for job in found:
            with sessions.read() as tx:
                blocks = compaction.pending(tx, job)
            for block in blocks:
                with sessions.begin() as tx:
                    compaction.compact(tx, job, block)
        return True

    return compact


def read(sessions: Sessions, job_id: str, points: int | None = None) -> series.Rows:
    with sessions.read() as tx:
        return series.read(
            tx,
            job_id,
            ["loss", "lr"],
            series="train",
            repeat=0,
            start=0,
            stop=None,
            points=points,
        )


def whole(found: series.Rows, count: int) -> None:
    assert found.iteration.tolist() == list(range(count))
    assert found.columns["loss"].tolist() == LOSSES[:count].tolist()
    assert found.columns["lr"].tolist() == (np.arange(count) / 3).tolist()


def until_kept(sessions: Sessions, lease: Lease, at: int, *new: Chunk, save: Saved | None) -> None:
    """As a worker does: a row that is just held by another is asked for again."""
    until = time.monotonic() + DEADLINE
    cuts = [] if save is None else [save]
    while lease not in record(sessions, lease, at, *new, checkpoints=cuts).kept:
        assert time.monotonic() < until


@pytest.mark.parametrize("answered", [True, False])
def test_a_worker_writes_on_and_again_while_its_rows_are_merged(
    sessions: Sessions, answered: bool
) -> None:
    for _ in range(ROUNDS // 4):
        queued(sessions)
        lease = claimed(sessions)

        def work(lease: Lease = lease) -> bool:
            begin = after = 0
            for stop in range(7, 300, 7):
                save = saved(stop) if stop % 35 == 0 else None
                until_kept(sessions, lease, stop, *parts(begin, stop, after=after), save=save)
                if save is not None:
                    after = stop
                if answered or stop % 21 == 0 or save is not None:
                    begin = stop  # else it sends them again with what is new
            return True

        compact = compacting(sessions)

        def often(compact: Callable[[], bool] = compact) -> bool:
            return all(compact() for _ in range(25))

        assert at_once(work, often, compact)
        compact()
        whole(read(sessions, lease.job_id), 294)
        put_aside(sessions)


def test_readers_see_the_same_rows_while_they_are_merged(sessions: Sessions) -> None:
    for _ in range(ROUNDS // 4):
        queued(sessions)
        lease = claimed(sessions)
        record(sessions, lease, 400, *parts(0, 400, *range(5, 400, 5)))
        view = read(sessions, lease.job_id, points=20)

        def look(job_id: str = lease.job_id, view: series.Rows = view) -> bool:
            for _ in range(10):
                whole(read(sessions, job_id), 400)
                again = read(sessions, job_id, points=20)
                assert again.iteration.tolist() == view.iteration.tolist()
                assert (again.bucket, again.total) == (view.bucket, view.total)
            return True

        assert at_once(compacting(sessions), look, look)
        put_aside(sessions)


def test_an_attempt_that_goes_on_from_a_checkpoint_finds_its_rows_whole(
    sessions: Sessions,
) -> None:
    for number in range(ROUNDS):
        queued(sessions)
        lease = claimed(sessions)
        record(sessions, lease, 20, *parts(0, 20, 3, 8), checkpoints=[saved(20)])
        record(sessions, lease, 60, *parts(20, 60, 24, 30, 47, after=20))

        def back(lease: Lease = lease) -> bool:
            with sessions.begin() as tx:
                leases.fall_back(tx, lease, to=20, detail="unreadable")
            return True

        def lost(lease: Lease = lease) -> bool:
            run_out(sessions, lease.job_id)
            until = time.monotonic() + DEADLINE
            for move in (expiring(sessions), claiming(sessions)):
                while not move():  # a row that is being written to is passed over
                    assert time.monotonic() < until
            return True

        compact = compacting(sessions)
        assert at_once(compact, back if number % 2 else lost, compact)
        whole(read(sessions, lease.job_id), 20)
        view = read(sessions, lease.job_id, points=8)
        assert view.total == 20
        put_aside(sessions)
