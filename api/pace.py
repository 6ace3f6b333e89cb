"""How often each caller may ask."""

import time
from collections.abc import Callable


class Pace:
    """A limit in a sliding minute, for each caller apart.

    Of the minute before, so much counts as the last 60 seconds still have of it, as if its requests
    had come evenly: two numbers for each caller, not one for each request. Used by one thread.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._minute = 0
        self._now: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def delay(self, caller: str) -> float:
        """Counts a request; 0 where it may be answered, else seconds after which to come again."""
        minute, second = divmod(self._clock(), 60)
        if minute != self._minute:
            # whoever has not asked for a whole minute is forgotten
            self._before = self._now if minute == self._minute + 1 else {}
            self._now = {}
            self._minute = int(minute)
        before, now = self._before.get(caller, 0), self._now.get(caller, 0)
        room = self.per_minute - now - 1
        if before * (1 - second / 60) <= room:
            self._now[caller] = now + 1
            return 0.0
        if room < 0:  # all was asked for in this minute: a part of the next has to pass as well
            return 60 - second + 60 / now
        return 60 * (1 - room / before) - second
