"""Makes series compact: chunks of a block merged into one, with a summary beside it.

Blocks are `summaries.BLOCK` iterations, aligned to iteration 0. Each is one short transaction that
holds the job's row, so that no claim, retry or removal comes in between, and two who do it at once
take turns. Readers see the same rows before and after.

Which chunks may be merged: those that lie in one block, have the same columns, leave no gap, and
between whose `after` no checkpoint exists that the job could go on from. Going on from checkpoint n
deletes the chunks with `after >= n`, and n is always 0 or the iteration of a row in `checkpoints`;
so of such chunks either all are deleted or none, as is the one that they become. That stays so:
checkpoints that are added later come from an attempt that first deleted what follows its start,
and are later than anything that was left. A job that has succeeded never goes on; there,
checkpoints divide nothing.

A running job's blocks are done once rows of a later one are there, and the last block whenever many
chunks have gathered in it. Its worker writes chunks and checkpoints in transactions that renew its
lease; they pass over a row that is held, and are made again. After an answer that was lost it
writes rows again that may have been merged by now: then they replace themselves
(`recorded.write`), and a summary of them stays true.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import delete, func, select, update

from spec.states import State
from spec.values import JobId
from store import checkpoints, recorded, summaries
from store.chunks import Chunk, DamagedChunkError, cut, decode
from store.database import ReadTx, WriteTx
from store.summaries import Line, joined, shape
from store.tables import chunks, jobs
from store.tables import summaries as table

CROWD = 32
"""Chunks in the last block of a running job that are merged before it is full."""


@dataclass(frozen=True)
class Due:
    """A job with something to be done, as it was when that was found."""

    job_id: str
    state: State
    version: int


@dataclass(frozen=True)
class Block:
    """One block of one series and repeat."""

    line: Line
    start: int

    @property
    def stop(self) -> int:
        """One past its last iteration."""
        return self.start + summaries.BLOCK


@dataclass(frozen=True)
class _Piece:
    chunk: Chunk
    attempt: int


def due(tx: ReadTx, *, limit: int = 20) -> list[Due]:
    """Finished jobs that nobody has looked at since they ended, then those that run."""
    columns = select(jobs.c.id, jobs.c.state, jobs.c.version).limit(limit)
    ended = columns.where(jobs.c.finished_at.is_not(None), jobs.c.compacted < jobs.c.version)
    running = columns.where(jobs.c.state == State.RUNNING).order_by(func.random())
    return [
        Due(row.id, State(row.state), row.version)
        for query in (ended.order_by(jobs.c.id), running)
        for row in tx.execute(query)
    ]


def pending(tx: ReadTx, job: Due) -> list[Block]:
    """Blocks of a job that wait to be made compact."""
    c, s = chunks.c, table.c
    done: set[Block] = set()
    known = select(s.series, s.repeat, s.start).where(s.job_id == job.job_id, s.level == 0)
    if job.state.finished:
        known = known.where(s.merged)
    for series, repeat, start in tx.execute(known):
        done.add(Block(Line(job.job_id, series, repeat), start))
    number = (c.start // summaries.BLOCK).label("number")
    crowds = tx.execute(
        select(
            c.series, c.repeat, number, func.count().label("chunks"), func.max(c.stop).label("stop")
        )
        .where(c.job_id == job.job_id)
        .group_by(c.series, c.repeat, number)
        .order_by(c.series, c.repeat, number)
    )
    lines: dict[Line, list[Any]] = {}
    for row in crowds:
        lines.setdefault(Line(job.job_id, row.series, row.repeat), []).append(row)
    found: list[Block] = []
    for line, rows in lines.items():
        first, stop = rows[0].number * summaries.BLOCK, rows[-1].stop
        crowded = {row.number * summaries.BLOCK for row in rows if row.chunks >= CROWD}
        found += [
            block
            for block in (Block(line, start) for start in range(first, stop, summaries.BLOCK))
            if block not in done
            and (job.state.finished or stop > block.stop or block.start in crowded)
        ]
    return found


def compact(tx: WriteTx, job: Due, block: Block) -> bool:
    """Does one block; False where the job has moved on, or somebody else writes to it."""
    state = _hold(tx, job)
    if state is None:
        return False
    line = block.line
    stored = tx.execute(
        select(chunks.c.start, chunks.c.after, chunks.c.attempt, chunks.c.data)
        .where(line.of(chunks), chunks.c.start < block.stop, chunks.c.stop > block.start)
        .order_by(chunks.c.start)
    ).all()
    last = tx.execute(select(func.max(chunks.c.stop)).where(line.of(chunks))).scalar()
    if last is None:
        return True  # a claim has deleted it
    borders = _borders(tx, job.job_id, state)
    runs = _readable(line, stored)
    inside: list[Chunk] = []
    for run in runs:
        pieces = list(_merged([each for part in run for each in _cut(part, block)], borders))
        before = [each.chunk.start for each in run]
        if [each.chunk.start for each in pieces] != before:
            _replace(tx, line, before, pieces)
        inside += [each.chunk for each in pieces if block.start <= each.chunk.start < block.stop]
    if not (state.finished or last > block.stop):
        return True  # it is not full
    stop = min(last, block.stop)
    if sum(map(len, runs)) < len(stored):  # readers of these rows are told that some are lost
        after = max(row.after for row in stored)
        summaries.note(tx, line, block.start, stop=stop, after=after, merged=state.finished)
    elif inside:
        merged = state.finished or len(inside) == 1
        summaries.write(tx, line, block.start, inside, stop=stop, merged=merged)
    return True


def settle(tx: WriteTx, job: Due) -> None:
    """Notes that a finished job, as it was found, has nothing left to be done."""
    same = (jobs.c.id == job.job_id) & (jobs.c.version == job.version)
    tx.execute(
        update(jobs).where(same, jobs.c.finished_at.is_not(None)).values(compacted=job.version)
    )


def _hold(tx: WriteTx, job: Due) -> State | None:
    """Locks the job's row; its state where the job is still as it was found."""
    same = jobs.c.state == job.state
    if job.state.finished:
        same &= jobs.c.version == job.version
    query = select(jobs.c.state).where(jobs.c.id == job.job_id, same)
    held = tx.execute(query.with_for_update(skip_locked=True)).scalar()
    return None if held is None else State(held)


def _borders(tx: ReadTx, job_id: str, state: State) -> list[int]:
    """The checkpoints that the job could go on from, ascending."""
    if state == State.SUCCEEDED:
        return []
    return sorted(each.iteration for each in checkpoints.find(tx, job_id))


def _readable(line: Line, stored: Sequence[Any]) -> list[list[_Piece]]:
    """Chunks that can be read, in runs: one that cannot stays where it is, between two of them."""
    runs: list[list[_Piece]] = [[]]
    for row in stored:
        try:
            columns = decode(row.data)
        except DamagedChunkError:
            runs.append([])
            continue
        chunk = Chunk(line.series, line.repeat, row.start, columns, row.after)
        runs[-1].append(_Piece(chunk, row.attempt))
    return [run for run in runs if run]


def _cut(piece: _Piece, block: Block) -> Iterator[_Piece]:
    return (replace(piece, chunk=part) for part in cut(piece.chunk, block.start, block.stop))


def _merged(pieces: Sequence[_Piece], borders: Sequence[int]) -> Iterator[_Piece]:
    """Each run of pieces that may be one chunk as one."""

    def alike(piece: _Piece) -> tuple[object, ...]:
        chunk = piece.chunk
        block = chunk.start // summaries.BLOCK
        return block, bisect_right(borders, chunk.after), shape(chunk)

    run: list[_Piece] = []
    for piece in pieces:
        dense = "iteration" not in piece.chunk.columns
        gap = run and dense and run[-1].chunk.stop != piece.chunk.start
        if run and (gap or alike(run[-1]) != alike(piece)):
            yield _one(run)
            run = []
        run.append(piece)
    if run:
        yield _one(run)


def _one(run: Sequence[_Piece]) -> _Piece:
    if len(run) == 1:
        return run[0]
    columns = joined([each.chunk.columns for each in run])
    after = max(each.chunk.after for each in run)
    chunk = replace(run[0].chunk, columns=columns, after=after)
    return _Piece(chunk, max(each.attempt for each in run))


def _replace(tx: WriteTx, line: Line, starts: Sequence[int], pieces: Sequence[_Piece]) -> None:
    span = chunks.c.start.between(starts[0], starts[-1])
    tx.execute(delete(chunks).where(line.of(chunks), span))
    parts = [(JobId(line.job_id), each.attempt, each.chunk) for each in pieces]
    recorded.put(tx, parts)
