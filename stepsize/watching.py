"""Looks at a job or sweep until it has finished, and bears with a server that is away meanwhile."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import httpx

from stepsize import transport
from stepsize.answers import Lasting
from stepsize.errors import ApiError, UnreachableError

Look = Callable[[Mapping[str, str]], httpx.Response]
"""Asks for it, with these headers."""

Watched = TypeVar("Watched", bound=Lasting)

PATIENCE = 60.0
"""Seconds that a server may be away, say restarting."""

WAIT = 20.0
"""Seconds that the server is asked to wait for a change, at most."""


def watch(
    kind: type[Watched],
    look: Look,
    *,
    timeout: float | None,
    answers_within: float,
    home: object = None,
) -> Iterator[Watched]:
    """What is watched at every look until it has finished.

    The server holds its answer back until a job changes. One that does not is asked again and
    again, less often the longer it takes.

    Args:
        kind: what the answers are.
        look: asks for it.
        timeout: seconds until TimeoutError.
        answers_within: seconds that an answer may take; the server is asked to wait for half.
        home: whose they are.
    """
    began = contact = time.monotonic()
    seen: Watched | None = None
    etag, waited = "", False
    while True:
        left = WAIT if timeout is None else timeout - (time.monotonic() - began)
        try:
            answer = look(_headers(etag, min(WAIT, answers_within / 2, left)))
            if seen is None or answer.status_code != httpx.codes.NOT_MODIFIED:
                seen = transport.parse(kind, answer, home=home)
                etag = answer.headers.get("ETag", "")
            contact = time.monotonic()
            waited = "Preference-Applied" in answer.headers
        except (ApiError, UnreachableError) as error:
            waited = False
            passing = isinstance(error, UnreachableError) or error.status in {429, 503}
            if seen is None or not passing or time.monotonic() - contact > PATIENCE:
                raise
        yield seen
        if seen.finished:
            return
        elapsed = time.monotonic() - began
        if timeout is not None and elapsed >= timeout:
            raise TimeoutError(
                f"{seen.id} is still {seen.state} after {timeout:g} s, and goes on: wait again, or"
                " cancel it"
            )
        if not waited:
            pause = min(max(elapsed / 20, 0.1), 2.0)
            time.sleep(pause if timeout is None else min(pause, timeout - elapsed))


def _headers(etag: str, wait: float) -> dict[str, str]:
    if not etag:  # the first look is to tell how things are
        return {}
    asked = {"If-None-Match": etag}
    return asked if wait < 1 else asked | {"Prefer": f"wait={int(wait)}"}
