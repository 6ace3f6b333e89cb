"""Lets in those who may ask: a key, its scope, its pace, and no page of another origin."""

import hmac
import logging
import math
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from api.pace import Pace
from api.problems import answer
from spec.access import ANYONE, Caller, Scope
from spec.settings import Settings
from store import keys
from store.database import Sessions, Unavailable, describe
from store.keys import Key
from telemetry import context

log = logging.getLogger(__name__)

COOKIE = "stepsize_key"
"""Holds the key of a browser that has signed in."""

SESSION = "/v1/session"
"""Where browsers sign in and out, without a key."""

FRESH = 1.0
"""Seconds for which a key that was found is not looked up again, and works though revoked."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
READING = frozenset({"/v1/jobs/preview", "/v1/schedules/preview", "/v1/sweeps/preview"})
"""POST because they take a body; they change nothing."""


class RefusedError(HTTPException):
    """The caller is not let in; answered as a problem, as every HTTPException is."""


def needed(method: str, path: str) -> Scope | None:
    """The scope that a key must have for a request; None where no key is asked for.

    By how a path begins: that of a route also matches with a line feed behind it.
    """
    if not path.startswith(("/v1", "/metrics")):
        return None
    if path == SESSION and method != "GET":
        return None
    if path.startswith(("/v1/keys", "/v1/audit", "/v1/owners")):
        return Scope.ADMIN
    if path.startswith("/v1/workers") and method not in SAFE:
        return Scope.ADMIN
    return Scope.READ if method in SAFE or path in READING else Scope.WRITE


class Gate:
    """Knows callers by their keys, and how often each has asked."""

    def __init__(self, sessions: Sessions, settings: Settings) -> None:
        self._sessions = sessions
        # clients have their keys in the same variable: what was made for one is no second key
        made = settings.api_key is not None and keys.has_form(settings.api_key)
        self._secret = None if made else settings.api_key
        self._origins = frozenset(settings.cors_origins)
        self._found: dict[str, tuple[Key, float]] = {}
        self._forgotten = 0
        self._touching = threading.Lock()
        self._pace = Pace(settings.requests_per_minute)
        self.wanted = settings.wants_key

    async def admit(self, method: str, path: str, headers: Headers) -> Caller | None:
        """Who asks, where the path wants to know.

        Raises:
            RefusedError: nobody who may.
        """
        scope = needed(method, path)
        if scope is None:
            if path == SESSION:
                self._check_origin(headers, proof=False)
            return None
        bearer, cookie = _bearer(headers), _cookie(headers)
        caller = await self._caller(bearer, cookie)
        if bearer is None and method not in SAFE:
            # what a browser sends by itself must come from a page of this very service
            self._check_origin(headers, proof=caller is not ANYONE)
        if scope not in caller.scopes:
            held = ", ".join(sorted(caller.scopes))
            raise RefusedError(403, f"this takes a key with the scope {scope}; yours has {held}")
        if caller is not ANYONE:
            self._count(caller)
        return caller

    async def known(self, text: str) -> Caller | None:
        """The caller who holds this key, if it is one."""
        if self._secret is not None and _same(text, self._secret):
            return replace(ANYONE, name="STEPSIZE_API_KEY")
        key = await self._key(text)
        return None if key is None else Caller(key.owner, key.name, key.scopes, key.id)

    def forget(self, key_id: str) -> None:
        """Looks a key up again: it has been revoked."""
        self._forgotten += 1
        for text, (key, _) in list(self._found.items()):  # others come in meanwhile
            if key.id == key_id:
                self._found.pop(text, None)

    async def _caller(self, bearer: str | None, cookie: str | None) -> Caller:
        text = cookie if bearer is None else bearer
        caller = None if text is None else await self.known(text)
        if caller is not None:
            return caller
        # a cookie may be of another service of this host, or of a time when a key was wanted
        if bearer is None and not self.wanted:
            return ANYONE
        if text is None:
            detail = "send an API key: Authorization: Bearer <key>"
        else:
            detail = "this key is not known here, has expired or was revoked"
        raise RefusedError(401, detail, {"WWW-Authenticate": "Bearer"})

    async def _key(self, text: str) -> Key | None:
        found, until = self._found.get(text, (None, 0.0))
        began, forgotten = time.monotonic(), self._forgotten
        if found is not None and began < until:
            return found
        try:
            key = await run_in_threadpool(self._looked_up, text)
        except Unavailable as error:
            detail = f"the database cannot be asked about the key now: {describe(error)}"
            raise RefusedError(503, detail, {"Retry-After": "5"}) from error
        self._found.pop(text, None)
        if key is not None and forgotten == self._forgotten:  # else it may have been revoked since
            self._found[text] = (key, began + FRESH)
        return key

    def _looked_up(self, text: str) -> Key | None:
        with self._sessions.read() as tx:
            key = keys.held(tx, text)
        stale = key and (key.used_at is None or key.used_at < datetime.now(UTC) - keys.TOUCHED)
        # one at a time: where the database takes no writes for a while, readers need not wait
        if key and stale and self._touching.acquire(blocking=False):
            try:
                with self._sessions.begin() as tx:
                    keys.touch(tx, key.id)
            except Unavailable as error:  # it is used all the same
                log.warning("key.untouched key=%s %s", key.id, describe(error))
            finally:
                self._touching.release()
        return key

    def _count(self, caller: Caller) -> None:
        if wait := self._pace.delay(caller.key or caller.name):
            detail = f"more than {self._pace.per_minute} requests in a minute with this key"
            raise RefusedError(429, detail, {"Retry-After": str(math.ceil(wait))})

    def _check_origin(self, headers: Headers, *, proof: bool) -> None:
        """Refuses what a page of another origin sends; with `proof`, also what does not say."""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site is not None:
            own = site in {"same-origin", "none"}
        elif origin is not None:
            own = origin.partition("://")[2] == headers.get("host")
        else:
            own = not proof
        if not proof and origin in self._origins:
            own = True
        if not own:
            raise RefusedError(403, "a page of another origin must not ask for this")


class Admission:
    """Answers those whom the gate refuses, before anything else of a request is looked at."""

    def __init__(self, app: ASGIApp, *, gate: Gate) -> None:
        self.app = app
        self._gate = gate

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Handles one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            caller = await self._gate.admit(scope["method"], scope["path"], Headers(scope=scope))
        except RefusedError as error:
            refusal = answer(error.status_code, error.detail, headers=error.headers)
            await refusal(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        told = {"request": state.get("request_id"), "traceparent": state.get("traceparent")}
        state["caller"] = caller and replace(caller, **told)
        with context.about(owner=caller.owner if caller else None):
            await self.app(scope, receive, send)


def _bearer(headers: Headers) -> str | None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else None


def _cookie(headers: Headers) -> str | None:
    # not by http.cookies, which finds none behind one that another service has set oddly
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)


def _same(text: str, secret: str) -> bool:
    return hmac.compare_digest(
        text.encode("utf-8", "surrogateescape"), secret.encode("utf-8", "surrogateescape")
    )
