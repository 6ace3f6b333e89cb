"""A contest of loops: each lives in a process of its own and is asked in turn, round after round.

A process gives a loop the environment that its users would have: OpenMP and the C library read
theirs when a process starts, and frameworks change torch's settings as they are imported.
"""

import importlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

from bystanders import undisturbed
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from worker.parent import die_with_parent

GRACE = 5.0
"""Seconds for a process to end in, as frameworks have things to clear up."""

SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Contestant:
    """Who takes part.

    Attributes:
        loop: `module:function`, imported in its own process only, and called with the task.
        environ: the whole environment in which its process starts.
    """

    name: str
    loop: str
    task: Any
    environ: Mapping[str, str]


class OutError(Exception):
    """A contestant cannot go on.

    Attributes:
        missing: it is only not installed here.
    """

    def __init__(self, why: str, *, missing: bool = False) -> None:
        super().__init__(why)
        self.missing = missing


class Seat:
    """The process of a contestant: started when first asked, asleep between questions."""

    def __init__(self, contestant: Contestant) -> None:
        self.name = contestant.name
        self._contestant = contestant
        self._pipe, self._far_end = SPAWN.Pipe()
        self._process = SPAWN.Process(
            target=_answer, args=(self._far_end, contestant.loop), daemon=True
        )

    def start(self) -> int | None:
        """Start the process, unless it runs; its id."""
        if self._process.pid is None:
            with _environment(self._contestant.environ):
                self._process.start()
            self._far_end.close()  # so that its death is the end of the pipe
        return self._process.pid

    def ask(self, task: Any = None) -> Any:
        """What the loop answers to its own task, or to this one; raises OutError if it cannot."""
        self.start()
        try:
            self._pipe.send(self._contestant.task if task is None else task)
            kind, answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise OutError(f"its process ended with {self._process.exitcode}") from error
        if kind == "answer":
            return answer
        raise OutError(answer, missing=kind == "missing")

    def close(self) -> None:
        """End the process: in its own way, or by force."""
        self._pipe.close()
        if self._process.pid is not None:
            self._process.join(GRACE)
            self._process.kill()
            self._process.join()


@dataclass
class Results:
    """What came out.

    Attributes:
        answers: name -> one a round, of those that took part to the end.
        warm_up: name -> the first, which does not count.
        others: how many cores were busy with something else, for each answer that counts.
        out: name -> why it did not take part to the end.
        broken: those of them that are not merely not installed.
        interrupted: from the keyboard.
    """

    answers: dict[str, list[Any]] = field(default_factory=dict)
    warm_up: dict[str, Any] = field(default_factory=dict)
    others: list[float] = field(default_factory=list)
    out: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def rounds(self) -> int:
        """That count and are complete."""
        return min(map(len, self.answers.values()), default=0)


def contest(contestants: Sequence[Contestant], rounds: int, *, title: str) -> Results:
    """Ask everyone once a round, back and forth, after a round that does not count.

    Interrupted, it ends with the rounds that are complete.
    """
    results = Results()
    with ExitStack() as stack, progress() as bar, _interruptible(results):
        seats = [Seat(each) for each in contestants]
        for seat in seats:
            stack.callback(seat.close)
        shown = bar.add_task(title, total=(rounds + 1) * len(seats))
        for number in range(rounds + 1):
            # the one before leaves the machine warm, or the host tired: not always the same one
            for seat in seats[:: -1 if number % 2 else 1]:
                bar.update(shown, description=f"{title}: {seat.name}")
                try:
                    _ask(seat, results, counts=number > 0)
                except OutError as error:
                    _leave(seat, error, results)
                    seats.remove(seat)
                    bar.update(shown, total=(rounds + 1) * len(seats))
                else:
                    bar.advance(shown)
    _drop_incomplete(results)
    return results


def progress() -> Progress:
    """A bar on stderr: the table alone goes to stdout."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
    )


def ratio(values: Sequence[float], reference: Sequence[float]) -> float:
    """The median of each round's ratio.

    Within a round the machine is in one state, between rounds it may not be: so ratios first.
    """
    return median(a / b for a, b in zip(values, reference, strict=True))


@contextmanager
def _interruptible(results: Results) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        results.interrupted = True


def _ask(seat: Seat, results: Results, *, counts: bool) -> None:
    if not counts:
        results.warm_up[seat.name] = seat.ask()
        return
    answer, others = undisturbed(seat.ask, [seat.start()])
    results.answers.setdefault(seat.name, []).append(answer)
    results.others.append(others)


def _drop_incomplete(results: Results) -> None:
    rounds = results.rounds
    for each in results.answers.values():
        del each[rounds:]


def _leave(seat: Seat, error: OutError, results: Results) -> None:
    seat.close()
    results.answers.pop(seat.name, None)
    results.out[seat.name] = str(error)
    if not error.missing:
        results.broken.append(seat.name)


def _answer(pipe: Connection, loop: str) -> None:
    """What the process does: wait for a task, run the loop, say what came out."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it, without a traceback
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - as it is a device
        for stream in (1, 2):  # bars and warnings of the frameworks
            os.dup2(nowhere.fileno(), stream)
    module, _, function = loop.partition(":")
    while True:
        try:
            task = pipe.recv()
        except EOFError:  # nobody will ask again
            return
        try:
            answer = ("answer", getattr(importlib.import_module(module), function)(task))
        except ModuleNotFoundError as error:
            answer = ("missing", f"{error.name} is not installed")
        except Exception:  # noqa: BLE001 - the parent prints it
            answer = ("error", traceback.format_exc())
        pipe.send(answer)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
