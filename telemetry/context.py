"""What the code that runs now is about: a request, a job, an attempt; every log record has it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

FIELDS = ("request_id", "job", "attempt", "worker", "owner", "trace_id")
"""What records may be about, in the order in which they say so."""

Subject = Mapping[str, str | int]

_NOTHING: Subject = MappingProxyType({})
_now: ContextVar[Subject] = ContextVar("subject", default=_NOTHING)
_process: dict[str, str | int] = {}


@contextmanager
def about(**fields: str | int | None) -> Iterator[None]:
    """Within the block, in this thread or task and in threads it asks to do its work."""
    token = _now.set({**_now.get(), **_known(fields)})
    try:
        yield
    finally:
        _now.reset(token)


def always(**fields: str | int | None) -> None:
    """Of all that this process does from now on, in every thread."""
    _process.update(_known(fields))


def current() -> Subject:
    """Everything that is known now."""
    return {**_process, **_now.get()}


def _known(fields: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in fields.items() if value is not None}
