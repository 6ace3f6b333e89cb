"""Keeps a few child processes running: one that dies is started again, but not for ever."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stepsize.children import Child
from stepsize.errors import StepsizeError

LIVED = 30.0
"""Seconds after which a start counts as a success."""

TRIES = 5
"""Deaths in a row, each sooner than LIVED, after which it is given up."""


class ChildFailedError(StepsizeError):
    """A process of the service ended and is not started again."""

    def __init__(self, child: Child, what: str) -> None:
        tail = "\n".join(f"  {line}" for line in child.tail().splitlines())
        end = "" if child.log is None else f"; the end of {child.log}:\n{tail}"
        super().__init__(f"{child.name} {what}{end}")


@dataclass
class _Watched:
    """A child with the history of its starts, in seconds of the monotonic clock."""

    child: Child
    started: float = 0.0
    deaths: int = 0
    start_at: float | None = None


class Supervisor:
    """Children in the order they are to be started; they are stopped in the opposite one.

    `pause` is the wait in seconds before one that died is started again; each further death in
    a row doubles it.
    """

    def __init__(
        self, children: Sequence[Child], *, say: Callable[[str], None], pause: float = 0.5
    ) -> None:
        self._watched = [_Watched(child) for child in children]
        self._say = say
        self._pause = pause

    def start(self) -> None:
        """Starts all."""
        for watched in self._watched:
            self._start(watched)

    def check(self) -> None:
        """Does nothing while all run.

        Raises:
            ChildFailedError: one has ended.
        """
        for watched in self._watched:
            code = watched.child.exit_code()
            if code is not None:
                raise ChildFailedError(watched.child, _ended(code))

    def tend(self) -> None:
        """Starts again what has died, sooner or later; to be called a few times a second.

        Raises:
            ChildFailedError: one has died as often as is borne.
        """
        now = time.monotonic()
        for watched in self._watched:
            if watched.start_at is not None:
                if now >= watched.start_at:
                    self._start(watched)
                continue
            code = watched.child.exit_code()
            if code is None:
                continue
            watched.deaths = 1 if now - watched.started >= LIVED else watched.deaths + 1
            if watched.deaths >= TRIES:
                raise ChildFailedError(watched.child, f"{_ended(code)}, {TRIES} times in a row")
            pause = self._pause * 2 ** (watched.deaths - 1)
            watched.start_at = now + pause
            failure = ChildFailedError(
                watched.child, f"{_ended(code)}, starts again in {pause:g} s"
            )
            self._say(str(failure))

    def stop(self) -> None:
        """Stops all, each within its patience."""
        for watched in reversed(self._watched):
            watched.child.stop()

    def _start(self, watched: _Watched) -> None:
        watched.child.start()
        watched.started = time.monotonic()
        watched.start_at = None


def _ended(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
