"""What is told of chunks that cannot be read: in the answer, and once in the log."""

import logging
from collections.abc import Sequence
from functools import lru_cache

from pydantic import BaseModel, ConfigDict, Field

from store.series import Damage

log = logging.getLogger(__name__)

HEADER = "Series-Damaged"

RANGES = 50
"""The header names so many; further ones are joined with the last."""

LOGGED = 10_000
"""Chunks that a process remembers to have logged."""


class DamageOut(BaseModel):
    """A chunk that cannot be read, and the iterations it covers: `start <= t < stop`."""

    model_config = ConfigDict(from_attributes=True)

    chunk: str = Field(description="its key in the table: job/series/repeat/start")
    start: int
    stop: int
    reason: str


def told(lost: Sequence[Damage]) -> list[DamageOut]:
    """The chunks for an answer; each is logged the first time."""
    for each in lost:
        _log(each.chunk, each.stop, each.reason)
    return [DamageOut.model_validate(each) for each in lost]


@lru_cache(LOGGED)
def _log(chunk: str, stop: int, reason: str) -> None:
    log.error("series.damaged chunk=%s stop=%d %s", chunk, stop, reason)


def header(lost: Sequence[Damage]) -> str:
    """The iterations that are missing, as ranges `start-stop` without the stop, ascending."""
    ranges: list[tuple[int, int]] = []
    for each in sorted(lost, key=lambda each: each.start):
        full = len(ranges) == RANGES
        if ranges and (full or each.start <= ranges[-1][1]):
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], each.stop))
        else:
            ranges.append((each.start, each.stop))
    return ", ".join(f"{start}-{stop}" for start, stop in ranges)
