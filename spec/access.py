"""Who asks, and what that one may do."""

from dataclasses import dataclass
from enum import StrEnum

DEFAULT_OWNER = "default"
"""Whose everything is that is submitted without a key of one's own."""


class Scope(StrEnum):
    """What a key is good for; none includes another."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True)
class Caller:
    """Whoever sent a request.

    Attributes:
        owner: who owns what it creates; it sees nothing of anybody else.
        name: what the history of jobs and the audit trail call it.
        key: the id of its key; none for the one of the environment, or without any.
        request: the id of the request.
        traceparent: the span of the request, of which those of its jobs are children.
    """

    owner: str = DEFAULT_OWNER
    name: str = "client"
    scopes: frozenset[Scope] = frozenset(Scope)
    key: str | None = None
    request: str | None = None
    traceparent: str | None = None


ANYONE = Caller()
"""Asks a service that wants no key."""
