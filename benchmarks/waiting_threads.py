"""How should OpenMP's threads wait? stepsize's loop on an idle machine, and beside a busy process.

Threads that spin while they wait for each other are quick to go on, and take the time of whoever
else wants to run, such as the API on the same machine.
"""

import argparse
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from ctypes import c_double, c_long
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from bystanders import said, undisturbed
from contest import SPAWN, Contestant, Seat, progress, ratio
from tables import machine, show
from tasks import WORKLOADS, Task

from worker.__main__ import environment
from worker.parent import die_with_parent

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    **{
        f"GOMP_SPINCOUNT={count}": {"GOMP_SPINCOUNT": str(count)}
        for count in (300, 1000, 2000, 3000, 10000)
    },
}
NEIGHBOURS = {"idle": 0.0, "30 % busy": 0.3, "always busy": 1.0}
LOOPS = ("mlp-200", "lenet")

BURST = 0.003
"""Seconds of work that the neighbour does at a time when it is alone: about one request's."""


@dataclass(frozen=True)
class Bursts:
    """What a neighbour has done so far."""

    number: int
    seconds: float

    def mean_since(self, before: "Bursts") -> float:
        """Seconds a burst."""
        return (self.seconds - before.seconds) / max(1, self.number - before.number)


class Neighbour:
    """A process with one thread that works for a share of the time, were it alone."""

    def __init__(self) -> None:
        self._share = SPAWN.RawValue(c_double, 0.0)
        self._number = SPAWN.RawValue(c_long, 0)
        self._seconds = SPAWN.RawValue(c_double, 0.0)
        self._process = SPAWN.Process(
            target=_be_busy, args=(self._share, self._number, self._seconds), daemon=True
        )
        self._process.start()

    @contextmanager
    def busy(self, share: float) -> Iterator[None]:
        """For as long as the block lasts."""
        self._share.value = share
        try:
            yield
        finally:
            self._share.value = 0.0

    def bursts(self) -> Bursts:
        """Until now."""
        return Bursts(self._number.value, self._seconds.value)

    def alone(self, share: float) -> float:
        """Seconds a burst takes when nothing else runs."""
        with self.busy(share):
            time.sleep(0.1)
            before = self.bursts()
            time.sleep(0.4)
            return self.bursts().mean_since(before)

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()


def _be_busy(share: Any, number: Any, seconds: Any) -> None:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    steps = 1000
    while (took := _work(steps)) < BURST:
        steps = int(steps * min(2.0, 1.05 * BURST / took))
    while True:
        if not (now := share.value):
            time.sleep(0.02)
            continue
        seconds.value += _work(steps)
        number.value += 1
        if now < 1:
            time.sleep(BURST * (1 - now) / now)


def _work(steps: int) -> float:
    began = time.perf_counter()
    for _ in range(steps):
        pass
    return time.perf_counter() - began


Column = tuple[str, str]
"""A workload and the state of the neighbour."""

Cell = tuple[str, Column]
"""And a setting."""


@dataclass(frozen=True)
class Measured:
    """Of each round.

    Attributes:
        speeds: iterations a second.
        slowdowns: how many times longer the neighbour's bursts took.
        others: how many cores were busy with something else.
    """

    speeds: dict[Cell, list[float]] = field(default_factory=lambda: defaultdict(list))
    slowdowns: dict[Cell, list[float]] = field(default_factory=lambda: defaultdict(list))
    others: list[float] = field(default_factory=list)


def measure(
    seats: Mapping[str, Seat], tasks: Mapping[str, Task], neighbour: Neighbour, rounds: int
) -> Measured:
    """Everything once a round, back and forth, after a round that does not count.

    Interrupted, it ends with the rounds that are complete.
    """
    found = Measured()
    total = (rounds + 1) * len(seats) * len(tasks) * len(NEIGHBOURS)
    with progress() as bar, suppress(KeyboardInterrupt):
        shown = bar.add_task("", total=total)
        for number in range(rounds + 1):
            for (state, share), (loop, task) in product(NEIGHBOURS.items(), tasks.items()):
                alone = neighbour.alone(share) if share else 1.0
                for name in list(seats)[:: -1 if number % 2 else 1]:
                    bar.update(shown, description=f"{number}/{rounds}: {loop}, {state}: {name}")
                    ask = partial(_beside, neighbour, share, seats[name], task)
                    ours = (seats[name].start(), neighbour.pid)
                    (speed, burst), others = undisturbed(ask, ours) if number else (ask(), 0.0)
                    if number:
                        cell = (name, (loop, state))
                        found.speeds[cell].append(speed)
                        found.slowdowns[cell].append(burst / alone)
                        found.others.append(others)
                    bar.advance(shown)
    rounds = min(map(len, found.speeds.values()), default=0)
    for each in (*found.speeds.values(), *found.slowdowns.values()):
        del each[rounds:]
    return found


def _beside(neighbour: Neighbour, share: float, seat: Seat, task: Task) -> tuple[float, float]:
    """Iterations a second, and seconds a burst meanwhile."""
    with neighbour.busy(share):
        before = neighbour.bursts()
        speed: float = seat.ask(task)
        return speed, neighbour.bursts().mean_since(before)


def rows(found: Measured, columns: list[Column]) -> Iterator[list[str]]:
    """A line for each setting: the loop's speeds, then how the neighbour fares."""
    for name in SETTINGS:
        cells = [name]
        for column in columns:
            here = found.speeds[name, column]
            against = ratio(here, found.speeds["default", column])
            cells.append(f"{median(here):.0f} ({against:.2f})")
        beside = [found.slowdowns[name, column] for column in columns if NEIGHBOURS[column[1]]]
        yield [*cells, *(f"{median(slowdowns):.2f}" for slowdowns in beside)]


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=f"{__doc__} A cell has iterations a second of a range test, the median, and "
        "in brackets the median of each round's ratio to the default; the last columns say how "
        "many times longer the neighbour's work took than when it was alone.",
        epilog="All settings are measured in turn, in one run, in processes of their own. The "
        "neighbour works in bursts of 3 ms, with pauses that would make it busy for a share of "
        "the time if it were alone. Run it on an idle machine with as many cores as threads.",
    )
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each (default 7)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=2, help="of the loop (default 2)")
    parser.add_argument("--iterations", type=int, help="of a measurement (default: 150, 40)")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="of fashion-mnist/")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    options = parser.parse_args()

    tasks = {
        loop: Task(
            WORKLOADS[loop],
            "range-test",
            options.iterations or usual,
            options.precision,
            options.threads,
            "cpu",
            options.data_dir,
        )
        for loop, usual in zip(LOOPS, (150, 40), strict=True)
    }
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    base = {name: value for name, value in environment(clean).items() if name not in VARIABLES}
    base["OMP_NUM_THREADS"] = str(options.threads)
    with ExitStack() as stack:
        neighbour = Neighbour()
        stack.callback(neighbour.close)
        seats = {}
        for name, setting in SETTINGS.items():
            seats[name] = Seat(Contestant(name, "peers.engine:measure", None, base | setting))
            stack.callback(seats[name].close)
        found = measure(seats, tasks, neighbour, options.rounds)
    columns = [(loop, state) for loop in tasks for state in NEIGHBOURS]
    if len(found.speeds) < len(SETTINGS) * len(columns):
        parser.exit(1, "interrupted before a round was complete\n")
    show(
        f"stepsize's loop, {options.precision}, {options.threads} threads: how OpenMP's wait",
        [
            "setting",
            *(f"{loop}, {state}" for loop, state in columns),
            *(
                f"neighbour's slowdown: {loop}, {state}"
                for loop, state in columns
                if NEIGHBOURS[state]
            ),
        ],
        list(rows(found, columns)),
        notes=[machine(f"rounds: {min(map(len, found.speeds.values()))}"), said(found.others)],
        markdown=options.markdown,
    )


if __name__ == "__main__":
    main()
