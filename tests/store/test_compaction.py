"""Compaction: fewer chunks and summaries, the same rows and views to the bit, whatever races."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from migrations.run import upgrade
from spec.states import Reason
from store import compaction, jobs, leases, moves, series, summaries
from store.chunks import Chunk, Column
from store.database import Sessions, connect
from store.leases import Lease
from store.tables import chunks
from store.tables import jobs as job_table
from store.tables import summaries as table
from store.views import MIN_POINTS, minmax
from tests.factories import claimed, queued, record, saved
from tests.store.racing import at_once, claiming, doing


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of few rows, so that short series have several levels of them."""
    monkeypatch.setattr(summaries, "BLOCK", 16)
    monkeypatch.setattr(summaries, "BUCKET", 2)
    monkeypatch.setattr(summaries, "FANOUT", 2)
    monkeypatch.setattr(summaries, "LEVELS", 4)


def values(count: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).integers(-9, 9, count).astype(np.float32)
    found[::7] = np.nan
    return found


def parts(losses: np.ndarray, start: int, *cuts: int, after: int = 0) -> list[Chunk]:
    """Rows `[start, len(losses))` of a training, in chunks."""
    return [
        Chunk("train", 0, a, {"loss": losses[a:b], "lr": np.arange(a, b) / 3}, after)
        for a, b in pairwise([start, *cuts, len(losses)])
    ]


def step(sessions: Sessions) -> int:
    """Does all that is to be done; how many blocks that was."""
    done = 0
    with sessions.read() as tx:
        found = compaction.due(tx)
    for job in found:
        with sessions.read() as tx:
            blocks = compaction.pending(tx, job)
        for block in blocks:
            with sessions.begin() as tx:
                done += compaction.compact(tx, job, block)
        with sessions.begin() as tx:
            compaction.settle(tx, job)
    return done


def ended(sessions: Sessions, lease: Lease) -> None:
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})


def failed(sessions: Sessions, lease: Lease) -> None:
    with sessions.begin() as tx:
        leases.fail(tx, lease, Reason.CODE, "an error")


def bounds(sessions: Sessions, *columns: Any) -> list[tuple[Any, ...]]:
    wanted = columns or (chunks.c.start, chunks.c.stop)
    with sessions.read() as tx:
        return [tuple(row) for row in tx.execute(select(*wanted).order_by(chunks.c.start))]


def spans(sessions: Sessions, name: str = "loss") -> list[tuple[Any, ...]]:
    columns = (table.c.level, table.c.start, table.c.stop, table.c.points)
    with sessions.read() as tx:
        found = tx.execute(select(*columns).where(table.c.name == name).order_by(*columns[:2]))
        return [tuple(row) for row in found]


def read(sessions: Sessions, job_id: str, names: str = "loss,lr", **wanted: Any) -> series.Rows:
    asked = {"series": "train", "repeat": 0, "start": 0, "stop": None, "points": None} | wanted
    with sessions.read() as tx:
        return series.read(tx, job_id, names.split(","), **asked)


def same(found: series.Rows, iteration: np.ndarray, columns: dict[str, Column]) -> None:
    assert found.iteration.tolist() == iteration.tolist()
    for name, expected in columns.items():
        assert found.columns[name].dtype == expected.dtype
        assert found.columns[name].tobytes() == expected.tobytes()


def test_small_chunks_of_a_finished_job_become_blocks(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    losses = values(40)
    record(sessions, lease, 40, *parts(losses, 0, 1, 5, 12, 20, 31))
    assert step(sessions) == 2  # while it runs, whole blocks only
    assert bounds(sessions) == [(0, 16), (16, 32), (32, 40)]
    assert spans(sessions) == [(0, 0, 16, 16), (0, 16, 32, 16), (1, 0, 32, 32)]
    before = read(sessions, lease.job_id)
    ended(sessions, lease)
    assert step(sessions) == 1
    assert bounds(sessions) == [(0, 16), (16, 32), (32, 40)]
    assert spans(sessions) == [(0, 0, 16, 16), (0, 16, 32, 16), (0, 32, 40, 8), (1, 0, 32, 32)]
    same(read(sessions, lease.job_id), before.iteration, before.columns)
    with sessions.read() as tx:
        assert compaction.due(tx) == []


def test_small_chunks_of_a_running_job_are_merged_before_their_block_is_full(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "CROWD", 4)
    queued(sessions)
    lease = claimed(sessions)
    losses = values(60)
    record(sessions, lease, 6, *parts(losses[:6], 0, 1, 3))
    assert step(sessions) == 0
    record(sessions, lease, 9, *parts(losses[:9], 6))
    assert step(sessions) == 1
    assert (bounds(sessions), spans(sessions)) == ([(0, 9)], [])
    assert step(sessions) == 0
    record(sessions, lease, 60, *parts(losses, 9, 10, 20, 30, 40, 50, 51, 53, 55))
    assert step(sessions) == 4
    assert bounds(sessions) == [(0, 16), (16, 32), (32, 48), (48, 60)]
    assert len(spans(sessions)) == 4
    assert step(sessions) == 0
    same(read(sessions, lease.job_id), np.arange(60), {"loss": losses})
    ended(sessions, lease)
    assert step(sessions) == 1  # the others are as they are to be


def test_rows_of_a_running_job_are_never_merged_across_a_checkpoint(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "CROWD", 2)
    queued(sessions)
    lease = claimed(sessions)
    losses = values(30)
    record(sessions, lease, 7, *parts(losses[:5], 0, 2), checkpoints=[saved(5)])
    record(sessions, lease, 14, *parts(losses[:12], 5, 7, 9, after=5), checkpoints=[saved(12)])
    record(sessions, lease, 30, *parts(losses, 12, 14, 20, after=12))
    for _ in range(2):
        step(sessions)
    columns = (chunks.c.start, chunks.c.stop, chunks.c.after)
    expected = [(0, 5, 0), (5, 12, 5), (12, 16, 12), (16, 30, 12)]
    assert bounds(sessions, *columns) == expected
    with sessions.begin() as tx:
        leases.fall_back(tx, lease, to=5, detail="unreadable")
    assert bounds(sessions, *columns) == expected[:1]
    assert spans(sessions) == []


def test_rows_that_a_lost_answer_brings_again_replace_themselves_where_they_were_merged(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "CROWD", 2)
    queued(sessions)
    lease = claimed(sessions)
    losses = values(50)
    record(sessions, lease, 10, *parts(losses[:10], 0))
    record(sessions, lease, 14, *parts(losses[:14], 10))
    step(sessions)
    assert bounds(sessions) == [(0, 14)]
    record(sessions, lease, 14, *parts(losses[:14], 10))
    assert bounds(sessions) == [(0, 10), (10, 14)]
    step(sessions)
    record(sessions, lease, 40, *parts(losses[:40], 10))
    assert bounds(sessions) == [(0, 10), (10, 40)]
    step(sessions)
    assert bounds(sessions) == [(0, 16), (16, 32), (32, 40)]
    record(sessions, lease, 50, *parts(losses, 10))
    assert bounds(sessions) == [(0, 10), (10, 50)]
    same(read(sessions, lease.job_id), np.arange(50), {"loss": losses})
    # rows in the middle, which no worker writes again, leave those before and after
    with sessions.begin() as tx:
        tx.execute(update(chunks).where(chunks.c.start == 0).values(data=b"nonsense"))
    record(sessions, lease, 50, *parts(losses[:30], 20))
    record(sessions, lease, 50, *parts(losses[:12], 5))
    assert bounds(sessions) == [(0, 10), (5, 12), (12, 20), (20, 30), (30, 50)]
    found = read(sessions, lease.job_id, start=10)
    same(found, np.arange(10, 50), {"loss": losses[10:]})


def test_nothing_to_be_done_is_found_to_be_so_and_never_looked_at_again(
    sessions: Sessions,
) -> None:
    queued(sessions)
    ended(sessions, claimed(sessions))
    with sessions.read() as tx:
        assert len(compaction.due(tx)) == 1
    assert step(sessions) == 0
    with sessions.read() as tx:
        assert compaction.due(tx) == []


@pytest.mark.parametrize("kept", [5, 12, None])
def test_a_retry_finds_the_chunks_up_to_its_checkpoint(
    sessions: Sessions, kept: int | None
) -> None:
    queued(sessions)
    lease = claimed(sessions)
    losses = values(60)
    first = [*parts(losses[:3], 0), *parts(losses[:5], 3)]
    second = [*parts(losses[:8], 5, after=5), *parts(losses[:12], 8, after=5)]
    third = [*parts(losses[:20], 12, 14, after=12), *parts(losses, 20, after=12)]
    record(sessions, lease, 60, *first, *second, *third, checkpoints=[saved(5), saved(12)])
    failed(sessions, lease)
    step(sessions)
    assert bounds(sessions, chunks.c.start, chunks.c.stop, chunks.c.after) == [
        (0, 5, 0), (5, 12, 5), (12, 16, 12), (16, 32, 12), (32, 48, 12), (48, 60, 12),
    ]  # fmt: skip
    same(read(sessions, lease.job_id), np.arange(60), {"loss": losses})
    with sessions.begin() as tx:
        moves.retry(tx, lease.job_id)
    again = claimed(sessions)
    if kept != 12:
        with sessions.begin() as tx:
            leases.fall_back(tx, again, to=kept, detail="unreadable")
    left = kept or 0
    assert sum(stop - start for start, stop in bounds(sessions)) == left
    assert spans(sessions) == []
    anew = values(60, seed=1)
    record(sessions, again, 60, *parts(anew, left, 40, after=left))
    step(sessions)
    ended(sessions, again)
    step(sessions)
    expected = np.concatenate([losses[:left], anew[left:]])
    same(read(sessions, lease.job_id), np.arange(60), {"loss": expected})
    for points in (4, 10, 20):
        picked, _ = minmax(np.arange(60), expected, points)
        same(read(sessions, lease.job_id, points=points), picked, {"loss": expected[picked]})
    assert bounds(sessions) == [(0, 16), (16, 32), (32, 48), (48, 60)]


def test_a_block_that_was_the_last_one_grows_after_a_retry(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    losses = values(30)
    record(sessions, lease, 20, *parts(losses[:20], 0, 9), checkpoints=[saved(20)])
    failed(sessions, lease)
    step(sessions)
    assert spans(sessions) == [(0, 0, 16, 16), (0, 16, 20, 4)]
    with sessions.begin() as tx:
        moves.retry(tx, lease.job_id)
    again = claimed(sessions)
    assert spans(sessions) == [(0, 0, 16, 16)]
    record(sessions, again, 30, *parts(losses, 20, after=20))
    picked, _ = minmax(np.arange(30), losses, 10)
    same(read(sessions, lease.job_id, points=10), picked, {"loss": losses[picked]})
    ended(sessions, again)
    step(sessions)
    assert bounds(sessions) == [(0, 16), (16, 30)]
    same(read(sessions, lease.job_id, points=10), picked, {"loss": losses[picked]})


def test_a_chunk_that_a_lost_answer_brings_again_does_no_harm(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    losses = values(50)
    record(sessions, lease, 40, *parts(losses[:40], 0, 10))
    assert step(sessions) == 2
    record(sessions, lease, 50, *parts(losses, 10))
    ended(sessions, lease)
    step(sessions)
    same(read(sessions, lease.job_id), np.arange(50), {"loss": losses})


def test_a_damaged_chunk_stays_as_it_is_and_the_rest_becomes_compact(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    losses = values(48)
    record(sessions, lease, 48, *parts(losses, 0, 8, 16, 17, 20, 24, 26, 28, 32, 40))
    with sessions.begin() as tx:
        tx.execute(update(chunks).where(chunks.c.start == 20).values(data=b"SSC\x01nonsense"))
    ended(sessions, lease)
    step(sessions)
    assert bounds(sessions) == [(0, 16), (16, 20), (20, 24), (24, 32), (32, 48)]
    with sessions.read() as tx:
        assert compaction.due(tx) == []
    there = np.r_[0:20, 24:48]
    for points in (None, 8, 44, 100):
        found = read(sessions, lease.job_id, points=points)
        assert [(each.start, each.stop) for each in found.lost] == [(20, 24)]
        assert (found.total, found.next_start) == (44, 48)
        picked = there
        if points and points < 44:
            picked = there[minmax(there, losses[there], points)[0]]
        same(found, picked, {"loss": losses[picked]})
    with sessions.read() as tx:
        figures, lost = series.summary(tx, lease.job_id)
    assert [each.count for each in figures] == [44, 44]
    assert [each.chunk for each in lost] == [f"{lease.job_id}/train/0/20"]
    same(read(sessions, lease.job_id, stop=20), np.arange(20), {"loss": losses[:20]})
    picked, _ = minmax(np.arange(32, 48), losses[32:], 8)
    found = read(sessions, lease.job_id, start=32, points=8)
    same(found, picked + 32, {"loss": losses[32:][picked]})


def test_a_damaged_summary_costs_nothing_but_time(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    losses = values(48)
    record(sessions, lease, 48, *parts(losses, 0))
    ended(sessions, lease)
    step(sessions)
    with sessions.begin() as tx:
        tx.execute(update(table).values(data=b"SSC\x01nonsense"))
    picked, _ = minmax(np.arange(48), losses, 8)
    found = read(sessions, lease.job_id, points=8)
    same(found, picked, {"loss": losses[picked]})
    assert (found.total, found.lost) == (48, ())


def test_a_chunk_that_was_damaged_after_it_was_summarised(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    losses = values(48)
    record(sessions, lease, 48, *parts(losses, 0))
    ended(sessions, lease)
    step(sessions)
    expected = read(sessions, lease.job_id, points=8)
    with sessions.begin() as tx:
        tx.execute(update(chunks).where(chunks.c.start == 16).values(data=b"nonsense"))
    found = read(sessions, lease.job_id, points=8)
    same(found, expected.iteration, expected.columns)
    assert (found.total, found.lost) == (48, ())  # as the summary has what the view is made of
    found = read(sessions, lease.job_id, points=100)
    assert (found.total, len(found.iteration), len(found.lost)) == (32, 32, 1)
    with sessions.begin() as tx:
        first = (table.c.start == 0) & (table.c.level == 0)
        tx.execute(update(table).where(first).values(data=b"nonsense"))
        tx.execute(update(table).where(table.c.level > 0).values(data=b"nonsense"))
    found = read(sessions, lease.job_id, points=8)
    same(found, expected.iteration, expected.columns)


def test_chunks_with_other_columns_stay_apart(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    more = Chunk("train", 0, 8, {"loss": values(4), "lr": np.ones(4), "momentum": np.ones(4)})
    record(sessions, lease, 16, *parts(values(8), 0, 3), more, *parts(values(16), 12, 14))
    ended(sessions, lease)
    step(sessions)
    assert bounds(sessions) == [(0, 8), (8, 12), (12, 16)]
    assert read(sessions, lease.job_id, points=8).total == 16
    with pytest.raises(series.NotRecordedError):
        read(sessions, lease.job_id, "loss,momentum", points=8)


def test_a_quantity_that_is_not_recorded_is_refused_by_a_summary_too(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    record(sessions, lease, 32, *parts(values(32), 0))
    ended(sessions, lease)
    step(sessions)
    for names in ("loss,momentum", "momentum,loss"):
        with pytest.raises(series.NotRecordedError, match="momentum; it records loss, lr"):
            read(sessions, lease.job_id, names, points=8)


def test_a_view_of_what_is_summarised_reads_no_chunk(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    record(sessions, lease, 64, *parts(values(64), 0))
    ended(sessions, lease)
    step(sessions)
    expected = read(sessions, lease.job_id, points=8)
    with sessions.begin() as tx:
        tx.execute(update(chunks).values(data=b"SSC\x01nonsense"))
    found = read(sessions, lease.job_id, points=8)
    same(found, expected.iteration, expected.columns)
    assert (found.total, found.bucket) == (64, 32)
    with sessions.read() as tx:
        figures, lost = series.summary(tx, lease.job_id)
        assert ([each.count for each in figures], lost) == ([64, 64], [])


def test_the_figures_of_a_job_do_not_change(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    sparse = {"iteration": np.array([3, 40, 41]), "val_loss": np.array([0.5, 0.25, 0.25])}
    record(sessions, lease, 50, *parts(values(50), 0, 20), Chunk("validation", 0, 3, sparse))
    ended(sessions, lease)
    with sessions.read() as tx:
        before = series.summary(tx, lease.job_id)
    step(sessions)
    with sessions.read() as tx:
        assert str(series.summary(tx, lease.job_id)) == str(before)


def test_a_job_takes_its_summaries_along(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    record(sessions, lease, 20, *parts(values(20), 0))
    ended(sessions, lease)
    step(sessions)
    with sessions.begin() as tx:
        jobs.remove(tx, lease.job_id)
    assert spans(sessions) == []


def test_a_block_is_not_touched_once_the_job_has_moved_on(sessions: Sessions) -> None:
    queued(sessions)
    lease = claimed(sessions)
    record(sessions, lease, 32, *parts(values(32), 0, 3, 9))
    failed(sessions, lease)
    with sessions.read() as tx:
        (job,) = compaction.due(tx)
        blocks = compaction.pending(tx, job)
    with sessions.begin() as tx:
        moves.retry(tx, lease.job_id)
    for block in blocks:
        with sessions.begin() as tx:
            assert not compaction.compact(tx, job, block)
    with sessions.begin() as tx:
        compaction.settle(tx, job)
        left = select(func.count()).where(job_table.c.compacted > 0)
        assert tx.execute(left).scalar_one() == 0
    assert len(bounds(sessions)) == 3


def test_two_who_make_compact_and_a_claim_at_once(sessions: Sessions) -> None:
    losses = values(64)
    for _ in range(6):
        queued(sessions)
        lease = claimed(sessions)
        kept = parts(losses[:20], 0, 4, 9)
        new = parts(losses, 20, 30, 50, after=20)
        record(sessions, lease, 64, *kept, *new, checkpoints=[saved(20)])
        failed(sessions, lease)

        def retried(job_id: str = lease.job_id) -> bool:
            again = doing(sessions, lambda tx: moves.retry(tx, job_id))()
            # a row that is being written to is passed over, as whoever claims knows
            until = time.monotonic() + 20
            while not claiming(sessions)():
                assert time.monotonic() < until
            return again

        at_once(lambda: step(sessions) >= 0, retried, lambda: step(sessions) >= 0)
        found = read(sessions, lease.job_id)
        same(found, np.arange(20), {"loss": losses[:20]})
        assert all(stop <= 20 for _, _, stop, _ in spans(sessions))
        with sessions.begin() as tx:
            tx.execute(job_table.delete())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sessions]:
    """One database for many examples."""
    folder: Path = tmp_path_factory.mktemp("compaction")
    opened = connect(f"sqlite:///{folder / 'stepsize.db'}")
    upgrade(opened)
    yield opened
    opened.close()


def rough(seed: int, count: int, share: float) -> np.ndarray:
    """Values of which many are equal, and a share is not finite, in runs."""
    random = np.random.default_rng(seed)
    found = random.integers(-5, 5, count).astype(np.float32)
    bad = np.repeat(random.random(count // 5 + 1) < share, 5)[:count]
    found[bad] = random.choice([np.nan, np.inf, -np.inf], bad.sum())
    return found


VALUES = st.lists(
    st.floats(width=32) | st.integers(-3, 3).map(float),
    min_size=MIN_POINTS + 1,
    max_size=100,
).map(lambda values: np.array(values, np.float32)) | st.builds(
    rough, st.integers(0, 9999), st.integers(50, 300), st.sampled_from([0, 0.1, 0.8])
)


@dataclass(frozen=True)
class Example:
    """A series, sparse where there are gaps, how it is cut, and the views that are asked for."""

    losses: np.ndarray
    begin: int
    gaps: Sequence[int] | None
    cuts: Sequence[int]
    stored: int
    views: Sequence[tuple[int, int, int | None]]

    @property
    def iteration(self) -> np.ndarray:
        steps = np.resize(self.gaps or [1], len(self.losses))
        return self.begin + np.cumsum(steps) - steps[0]

    @property
    def columns(self) -> dict[str, Column]:
        found: dict[str, Column] = {"loss": self.losses, "lr": self.iteration / 3}
        return found if self.gaps is None else found | {"iteration": self.iteration}

    def pieces(self) -> list[Chunk]:
        count = len(self.losses)
        edges = sorted({0, count, *(cut for cut in self.cuts if cut < count)})
        return [
            Chunk(
                "train",
                0,
                int(self.iteration[a]),
                {name: values[a:b] for name, values in self.columns.items()},
            )
            for a, b in pairwise(edges)
        ]

    def agree(self, sessions: Sessions, job_id: str, rows: int) -> None:
        """Views of what is stored are what `minmax` makes of the first rows."""
        for points, start, stop in [*self.views, *((each, 0, None) for each in (4, 8, 20, 40, 70))]:
            t, losses = self.iteration[:rows], self.losses[:rows]
            inside = (t >= start) & (t < (10**9 if stop is None else stop))
            t, losses = t[inside], losses[inside]
            found = read(sessions, job_id, start=start, stop=stop, points=points)
            assert found.total == len(t)
            assert found.next_start == (t[-1] + 1 if len(t) else start)
            if len(t) > points:
                picked, width = minmax(t, losses, points)
                assert found.bucket == width
                t, losses = t[picked], losses[picked]
            if len(t):
                same(found, t, {"loss": losses, "lr": t / 3})


STARTS = st.just(0) | st.integers(0, 250)
EXAMPLES = st.builds(
    Example,
    losses=VALUES,
    begin=st.sampled_from([0, 0, 5, 16]),
    gaps=st.none() | st.lists(st.integers(1, 40), min_size=1, max_size=20),
    cuts=st.lists(st.integers(1, 300), max_size=12),
    stored=st.integers(0, 12),
    views=st.lists(
        st.tuples(st.integers(MIN_POINTS, 150), STARTS, st.none() | st.integers(0, 400)),
        min_size=3,
        max_size=6,
    ),
)


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(EXAMPLES)
def test_a_view_equals_that_of_all_rows_in_every_state(
    plain: Sessions, monkeypatch: pytest.MonkeyPatch, example: Example
) -> None:
    monkeypatch.setattr(compaction, "CROWD", 3)
    with plain.begin() as tx:
        tx.execute(job_table.delete())
    queued(plain)
    lease = claimed(plain)
    pieces = example.pieces()
    rows = 0
    for part in (pieces[: example.stored], pieces[example.stored :]):
        record(plain, lease, 0, *part)
        rows += sum(each.points for each in part)
        step(plain)
        example.agree(plain, lease.job_id, rows)
    ended(plain, lease)
    example.agree(plain, lease.job_id, rows)
    step(plain)
    example.agree(plain, lease.job_id, rows)
    everything = read(plain, lease.job_id)
    same(everything, example.iteration, {"loss": example.losses, "lr": example.iteration / 3})
