"""Holds signals back while there is work whose end must be written down."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_HELD = (signal.SIGTERM, signal.SIGQUIT)


class Drain:
    """Whether this process was asked to end."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def asked(self) -> bool:
        """True from the first signal on."""
        return self.signal is not None

    def note(self, number: int, _: FrameType | None = None) -> None:
        """Remembers the signal."""
        self.signal = number


@contextmanager
def holding_signals(drain: Drain) -> Iterator[None]:
    """In the block a signal only sets the flag; at its end it does what it was sent to do.

    Celery's own handler raises SystemExit wherever the process happens to be, a COMMIT included.
    To be entered from the main thread.
    """
    before = {number: signal.signal(number, drain.note) for number in _HELD}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if drain.signal is not None:
            signal.raise_signal(drain.signal)
