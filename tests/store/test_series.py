"""Reading series back: every row exactly, and views that keep the extremes."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from store import leases, series
from store.chunks import Chunk
from store.database import Sessions
from store.leases import Progress
from store.series import Rows
from store.tables import chunks
from store.views import MIN_POINTS, minmax
from tests.factories import LEASE, claimed, queued


def write(sessions: Sessions, parts: Sequence[Chunk]) -> str:
    queued(sessions)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        leases.record(tx, [Progress(lease, 0, parts)], extend=LEASE)
    return lease.job_id


def training(losses: np.ndarray, cut: Sequence[int], *, repeat: int = 0) -> list[Chunk]:
    lr = np.linspace(0.1, 0.2, len(losses))
    bounds = [0, *cut, len(losses)]
    return [
        Chunk("train", repeat, a, {"loss": losses[a:b].astype(np.float32), "lr": lr[a:b]})
        for a, b in pairwise(bounds)
    ]


def read(sessions: Sessions, job_id: str, names: str = "loss,lr", **wanted: Any) -> Rows:
    asked = {"series": "train", "repeat": 0, "start": 0, "stop": None, "points": None} | wanted
    with sessions.read() as tx:
        return series.read(tx, job_id, names.split(","), **asked)


def test_all_rows_come_back_exactly(sessions: Sessions) -> None:
    losses = np.random.default_rng(0).random(1000)
    job_id = write(sessions, training(losses, [1, 400, 401]))
    found = read(sessions, job_id)
    assert found.iteration.tolist() == list(range(1000))
    assert found.columns["loss"].tolist() == losses.astype(np.float32).tolist()
    assert found.columns["lr"].tolist() == np.linspace(0.1, 0.2, 1000).tolist()
    assert (found.total, found.next_start, found.bucket, found.cut) == (1000, 1000, None, False)


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (395, 405), (400, 401), (999, None), (5, 5)])
def test_a_range_is_half_open(sessions: Sessions, start: int, stop: int | None) -> None:
    job_id = write(sessions, training(np.arange(1000.0), [400, 700]))
    found = read(sessions, job_id, start=start, stop=stop)
    assert found.iteration.tolist() == list(range(1000))[start:stop]
    assert found.columns["loss"].tolist() == [float(t) for t in range(1000)][start:stop]


def test_nothing_recorded_yet(sessions: Sessions) -> None:
    job = queued(sessions)
    found = read(sessions, job.id, start=17)
    assert (len(found.iteration), found.total, found.next_start) == (0, 0, 17)
    assert found.columns.keys() == {"loss", "lr"}


def test_repeats_are_apart(sessions: Sessions) -> None:
    parts = [*training(np.zeros(5), []), *training(np.ones(3), [], repeat=1)]
    job_id = write(sessions, parts)
    assert read(sessions, job_id, repeat=1).columns["loss"].tolist() == [1.0] * 3


def test_a_quantity_that_is_not_recorded(sessions: Sessions) -> None:
    job_id = write(sessions, training(np.zeros(5), []))
    with pytest.raises(series.NotRecordedError, match="momentum; it records loss, lr"):
        read(sessions, job_id, "loss,momentum")


def test_a_long_answer_is_cut_and_says_where_to_go_on(
    sessions: Sessions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(series, "MAX_ROWS", 100)
    job_id = write(sessions, training(np.arange(350.0), [60, 120, 300]))
    seen: list[int] = []
    start = 5
    while True:
        page = read(sessions, job_id, start=start)
        seen += page.iteration.tolist()
        assert len(page.iteration) <= 100
        assert page.total == 350 - start
        if not page.cut:
            break
        start = page.next_start
    assert seen == list(range(5, 350))


def damage(sessions: Sessions, *starts: int, data: bytes = b"SSC\x01nonsense") -> None:
    with sessions.begin() as tx:
        tx.execute(update(chunks).where(chunks.c.start.in_(starts)).values(data=data))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"SSC\x01nonsense", "checksum does not match"),
        (b"SSC\x63nonsense", "version 99"),
        (b"nonsense", "not a chunk"),
        (b"SSC", "cut short"),
        (b"", "cut short"),
    ],
)
def test_damage_names_the_chunk_and_leaves_the_rest(
    sessions: Sessions, data: bytes, reason: str
) -> None:
    job_id = write(sessions, training(np.arange(10.0), [4, 7]))
    damage(sessions, 4, data=data)
    found = read(sessions, job_id)
    (lost,) = found.lost
    assert (lost.chunk, lost.start, lost.stop) == (f"{job_id}/train/0/4", 4, 7)
    assert reason in lost.reason
    assert found.iteration.tolist() == [0, 1, 2, 3, 7, 8, 9]
    assert found.columns["loss"].tolist() == [0, 1, 2, 3, 7, 8, 9]
    assert (found.total, found.next_start) == (7, 10)
    assert read(sessions, job_id, stop=4).lost == []
    assert read(sessions, job_id, start=6, stop=7).lost == [lost]
    view = read(sessions, job_id, points=4)
    assert (view.total, view.lost) == (7, (lost,))
    with sessions.read() as tx:
        figures, left_out = series.summary(tx, job_id)
        assert series.damaged(tx, job_id, series="train", repeat=0, start=0, stop=None) == [lost]
    assert left_out == [lost]
    assert {(each.name, each.count) for each in figures} == {("loss", 7), ("lr", 7)}


def test_whoever_polls_is_told_of_damage_once(sessions: Sessions) -> None:
    job_id = write(sessions, training(np.zeros(10), [4]))
    damage(sessions, 4)
    found = read(sessions, job_id)
    assert (len(found.lost), found.next_start) == (1, 10)
    assert read(sessions, job_id, start=10).lost == []


def test_damage_in_a_long_answer_belongs_to_the_page_that_it_is_in(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "MAX_ROWS", 100)
    job_id = write(sessions, training(np.arange(350.0), [60, 100, 120, 300]))
    damage(sessions, 60, 100)
    first = read(sessions, job_id)
    assert [each.start for each in first.lost] == [60, 100]
    assert (first.total, len(first.iteration), first.next_start) == (290, 100, 160)
    second = read(sessions, job_id, start=first.next_start)
    assert (second.lost, second.total) == ([], 190)


def test_a_job_of_which_nothing_can_be_read(sessions: Sessions) -> None:
    job_id = write(sessions, training(np.zeros(10), [4]))
    damage(sessions, 0, 4)
    for points in (None, 4):
        found = read(sessions, job_id, points=points)
        assert (len(found.iteration), found.total, len(found.lost)) == (0, 0, 2)
    with sessions.read() as tx:
        figures, lost = series.summary(tx, job_id)
    assert (figures, len(lost)) == ([], 2)


def test_summary_finds_ends_and_extremes(sessions: Sessions) -> None:
    losses = np.array([3.0, 1.0, np.nan, 7.0, np.inf, 2.0])
    sparse = {"iteration": np.array([3, 6]), "val_loss": np.array([0.5, 0.25])}
    job_id = write(sessions, [*training(losses, [2]), Chunk("validation", 0, 3, sparse)])
    with sessions.read() as tx:
        figures, lost = series.summary(tx, job_id)
    found = {each.name: each for each in figures}
    assert lost == []
    assert found.keys() == {"loss", "lr", "val_loss"}
    loss = found["loss"]
    assert (loss.count, loss.first, loss.last) == (6, 3.0, 2.0)
    assert (loss.min, loss.min_at, loss.max, loss.max_at) == (1.0, 1, 7.0, 3)
    assert (found["val_loss"].min, found["val_loss"].min_at) == (0.25, 6)


def test_sparse_series_have_their_own_iterations(sessions: Sessions) -> None:
    columns = {"iteration": np.array([300, 600, 900]), "val_loss": np.array([3.0, 2.0, 1.0])}
    job_id = write(sessions, [Chunk("validation", 0, 300, columns)])
    found = read(sessions, job_id, "val_loss", series="validation", start=301)
    assert found.iteration.tolist() == [600, 900]


SERIES = st.lists(
    st.floats(width=32) | st.integers(-3, 3).map(float),
    min_size=MIN_POINTS + 1,
    max_size=500,
).map(lambda values: np.array(values, np.float32))


@given(SERIES, st.integers(MIN_POINTS, 100), st.integers(0, 10_000))
def test_a_view_keeps_ends_and_extremes_of_every_bucket(
    values: np.ndarray,
    points: int,
    first: int,
) -> None:
    iteration = np.arange(first, first + len(values))
    rows, bucket = minmax(iteration, values, points)
    assert len(rows) <= points
    assert bucket & (bucket - 1) == 0
    assert {0, len(values) - 1} <= set(rows.tolist())
    assert (np.diff(rows) > 0).all()
    for number in np.unique(iteration // bucket):
        inside = np.flatnonzero(iteration // bucket == number)
        kept = np.intersect1d(rows, inside)
        known = values[inside][np.isfinite(values[inside])]
        if len(known):
            assert known.min() in values[kept]
            assert known.max() in values[kept]
        assert len(kept) > 0


@given(SERIES, st.integers(MIN_POINTS, 100))
def test_a_view_of_the_same_rows_is_the_same(values: np.ndarray, points: int) -> None:
    iteration = np.arange(len(values))
    first, second = (minmax(iteration, values, points) for _ in range(2))
    assert first[1] == second[1]
    assert first[0].tolist() == second[0].tolist()


def test_a_view_does_not_jump_while_the_series_grows() -> None:
    values = np.random.default_rng(1).normal(size=4000)
    seen: dict[int, set[int]] = {}
    for count in range(1000, 4000, 7):
        rows, bucket = minmax(np.arange(count), values[:count], 200)
        full = (count - 1) // bucket * bucket  # the last row is kept only while it is the last
        inner = {int(row) for row in rows if row < full}
        assert seen.get(bucket, set()) <= inner
        seen[bucket] = inner


def test_a_view_says_how_it_was_reduced(sessions: Sessions) -> None:
    losses = np.random.default_rng(2).random(1000)
    losses[123], losses[777] = -5.0, 9.0
    job_id = write(sessions, training(losses, [500]))
    found = read(sessions, job_id, points=50)
    assert found.total == 1000
    assert len(found.iteration) <= 50
    assert found.bucket == 64
    assert {123, 777} <= set(found.iteration.tolist())
    lr = np.linspace(0.1, 0.2, 1000)[found.iteration]
    assert found.columns["lr"].tolist() == lr.tolist()  # whole rows are kept
