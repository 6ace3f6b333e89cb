"""Where a listener is: what the id of an event says, and what Last-Event-ID goes on from.

A listener's place in one job is the version that it was told the state of, the first iteration that
it was not told, and whether it was told of the end. The first two never shrink, so Cantor's pairing
of them grows with every event; twice that, plus one after the end, is the place as a number.

    one job    number * 1000 + check
    many jobs  sum of the numbers - check - each number in hexadecimal, in the order of the jobs

`check` is a number below 1000 made of the jobs, the series and the repeat, so that an id of another
stream is most often known as one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from zlib import crc32

from api.frames import Place

LONGEST = 4_000
"""Characters of an id: a hundred jobs with billions of iterations take half of that."""

MOST = 2**62
"""No version or iteration is larger."""

CHECKS = 1000


class ForeignIdError(Exception):
    """The id is not one that this stream has sent."""


@dataclass(frozen=True)
class Position:
    """What a listener was told of a job: its state at a version, rows before `start`, its end."""

    version: int = 0
    start: int = 0
    ended: bool = False

    @property
    def number(self) -> int:
        """Grows with everything that is told."""
        sum_ = self.version + self.start
        return 2 * (sum_ * (sum_ + 1) // 2 + self.start) + self.ended

    @classmethod
    def of(cls, number: int) -> "Position":
        """The position with that number.

        Raises:
            ForeignIdError: no listener can be there.
        """
        pair, ended = divmod(number, 2)
        sum_ = (isqrt(8 * pair + 1) - 1) // 2
        start = pair - sum_ * (sum_ + 1) // 2
        if not (sum_ - start <= MOST and start <= MOST):
            raise ForeignIdError("it names a version or an iteration that cannot be")
        return cls(sum_ - start, start, bool(ended))


@dataclass(frozen=True)
class Topic:
    """What a stream is about: quantities of one series, of one repeat, of one job or many."""

    jobs: tuple[str, ...]
    names: tuple[str, ...]
    series: str
    repeat: int
    many: bool = False

    def place(self, job_id: str, start: int, version: int) -> Place:
        """Where listeners to one of the jobs are, as to what they are told next."""
        return Place(job_id, self.names, self.series, self.repeat, start, version)

    @property
    def _check(self) -> int:
        return crc32(":".join([*self.jobs, self.series, str(self.repeat)]).encode()) % CHECKS

    def id_of(self, positions: Mapping[str, Position]) -> str:
        """The id of the event that brings a listener there; one position for each job."""
        numbers = [positions[job_id].number for job_id in self.jobs]
        if not self.many:
            return str(numbers[0] * CHECKS + self._check)
        return "-".join([str(sum(numbers)), str(self._check), *(f"{each:x}" for each in numbers)])

    def positions(self, event_id: str) -> dict[str, Position]:
        """Where the listener is that this id was sent to last.

        Raises:
            ForeignIdError: it is not one of this stream.
        """
        shape = r"\d+-\d+(-[0-9a-f]+)+" if self.many else r"\d+"
        if len(event_id) > LONGEST or re.fullmatch(shape, event_id, re.ASCII) is None:
            raise ForeignIdError("it has not the form of an id of this stream")
        if self.many:
            total, check, *rest = event_id.split("-")
            numbers = [int(each, 16) for each in rest]
            given = (int(total), int(check), len(numbers))
        else:
            number, last = divmod(int(event_id), CHECKS)
            numbers = [number]
            given = (number, last, 1)
        if given != (sum(numbers), self._check, len(self.jobs)):
            raise ForeignIdError("it is that of another stream")
        return dict(zip(self.jobs, map(Position.of, numbers), strict=True))
