"""Holds signals back while there is work whose end must be written down."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_HELD = (signal.SIGTERM, signal.SIGQUIT)


class Drain:
    """Whether this process was asked to end."""

    def __init__(self) -> None:
        self.asked = False

    def note(self, _: int, __: FrameType | None = None) -> None:
        """Remembers that a signal came."""
        self.asked = True


@contextmanager
def holding_signals(drain: Drain) -> Iterator[None]:
    """In the block a signal only sets the flag: whoever asked for the block acts on it after.

    Celery's own handler raises SystemExit wherever the process happens to be, a COMMIT included.
    To be entered from the main thread.
    """
    before = {number: signal.signal(number, drain.note) for number in _HELD}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
