"""What the process of a worker has counted since it started (`spec.tallies`)."""

import threading
from collections import Counter
from collections.abc import Mapping

from spec import tallies
from spec.states import Reason


class Tallies:
    """Counts, from any thread."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, **counts: int) -> None:
        """Adds to tallies by their names."""
        with self._lock:
            self._counts.update(counts)

    def claimed(self, *, again: bool) -> None:
        """A job was claimed, for the first time or not."""
        self._count(tallies.CLAIMS["yes" if again else "no"])

    def ended(self, outcome: str, reason: Reason | None = None) -> None:
        """An attempt of this process has ended."""
        self._count(tallies.end(outcome, reason))

    def keep(self, said: Mapping[str, int]) -> None:
        """What this process has said is in the totals by now: it is not to be said again."""
        self._kept.update(said)

    def now(self) -> dict[str, int]:
        """All that is not in the totals."""
        with self._lock:
            return dict(self._counts - self._kept)

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1
