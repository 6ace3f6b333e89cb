"""Owners: what a client says about shares, limits, usage, and rules of retention."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal
from urllib.parse import quote

import httpx

from stepsize import transport
from stepsize.answers import Answer

What = Literal["series", "checkpoints"]


class Owner(Answer):
    """An owner: its share and limits, and what it has; a limit that is None is none."""

    owner: str
    share: float
    max_running: int | None = None
    max_points: int | None = None
    max_checkpoint_bytes: int | None = None
    waiting: int
    running: int
    points: int
    checkpoint_bytes: int
    counted_at: datetime | None = None


class Rule(Answer):
    """Deletes series or checkpoints of finished jobs, `after_days` after their end."""

    id: str
    what: What
    after_days: int
    tag: str | None = None
    value: str | None = None
    created_at: datetime


class _Owners(Answer):
    data: list[Owner]


class _Rules(Answer):
    data: list[Rule]


class Owners:
    """The owners of a server; all of this takes a key with the scope `admin`."""

    def __init__(self, send: Callable[..., httpx.Response]) -> None:
        self._send = send

    def list(self) -> list[Owner]:
        """Every owner with a job or a rule, by name."""
        return transport.parse(_Owners, self._send("GET", "/v1/owners")).data

    def put(
        self,
        owner: str,
        *,
        share: float = 1.0,
        max_running: int | None = None,
        max_points: int | None = None,
        max_checkpoint_bytes: int | None = None,
    ) -> Owner:
        """Sets what an owner may have; what is left out is the default."""
        body = {
            "share": share,
            "max_running": max_running,
            "max_points": max_points,
            "max_checkpoint_bytes": max_checkpoint_bytes,
        }
        answer = self._send("PUT", f"/v1/owners/{quote(owner, safe='')}", body=body)
        return transport.parse(Owner, answer)


class Retention:
    """One's own rules of retention."""

    def __init__(self, send: Callable[..., httpx.Response]) -> None:
        self._send = send

    def list(self) -> list[Rule]:
        """All of them, the oldest first."""
        return transport.parse(_Rules, self._send("GET", "/v1/retention")).data

    def add(
        self, what: What, *, after_days: int, tag: str | None = None, value: str | None = None
    ) -> Rule:
        """Deletes from now on what is so old: of all jobs, or those with a tag."""
        body = {"what": what, "after_days": after_days, "tag": tag, "value": value}
        return transport.parse(Rule, self._send("POST", "/v1/retention", body=body))

    def remove(self, rule: Rule | str) -> None:
        """Deletes nothing more by this rule."""
        rule_id = rule if isinstance(rule, str) else rule.id
        self._send("DELETE", f"/v1/retention/{quote(rule_id, safe='')}")
