"""Who else keeps the processors busy: measurements wait for that to end, or are made again."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter, sleep
from typing import TypeVar

import psutil

Answer = TypeVar("Answer")

TOLERANCE = 0.1
"""Cores."""

TRIES = 4

PATIENCE = 60.0
"""Seconds to wait for others before each try; where they never rest, disturbed it is."""


@dataclass(frozen=True)
class _Instant:
    """Seconds: of the clock, of all processors in use, and of those by our processes."""

    clock: float
    used: float
    ours: float


def undisturbed(measure: Callable[[], Answer], ours: Iterable[int | None]) -> tuple[Answer, float]:
    """The least disturbed of a few answers, the first that will do; and how disturbed, in cores.

    `ours`: ids of the processes that take part, besides this one. What others of our own do counts
    as a disturbance: those that wait for their turn should not be busy.
    """
    processes = [psutil.Process(pid) for pid in (os.getpid(), *ours) if pid is not None]
    best: tuple[Answer, float] | None = None
    for _ in range(TRIES):
        until = perf_counter() + PATIENCE
        while _during(lambda: sleep(0.3), processes)[1] > TOLERANCE and perf_counter() < until:
            pass
        answer, share = _during(measure, processes)
        if best is None or share < best[1]:
            best = (answer, share)
        if share <= TOLERANCE:
            break
    if best is None:
        raise RuntimeError("nothing was measured")
    return best


def said(shares: list[float]) -> str:
    """For a table's notes."""
    if not shares:
        return "nothing was measured"
    return f"other processes: {median(shares):.2f} cores busy (at most {max(shares):.2f})"


def _during(measure: Callable[[], Answer], ours: Sequence[psutil.Process]) -> tuple[Answer, float]:
    """The answer, and how many cores were busy for others meanwhile."""
    before = _now(ours)
    answer = measure()
    after = _now(ours)
    others = (after.used - before.used) - (after.ours - before.ours)
    return answer, max(0.0, others / (after.clock - before.clock))


def _now(processes: Iterable[psutil.Process]) -> _Instant:
    machine = psutil.cpu_times()
    times = [process.cpu_times() for process in processes]
    return _Instant(
        perf_counter(),
        machine.user + machine.nice + machine.system,
        sum(each.user + each.system for each in times),
    )
