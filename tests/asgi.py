"""Asks an ASGI application with bytes that no HTTP client would send."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.types import ASGIApp, Message


@dataclass(frozen=True)
class Answer:
    """The headers have small letters, and each its last value."""

    status: int
    headers: dict[str, str]
    body: bytes


async def asked(
    app: ASGIApp,
    method: str,
    path: bytes,
    *,
    query: bytes = b"",
    headers: Sequence[tuple[bytes, bytes]] = (),
    body: Sequence[bytes] = (),
    whole: bool = True,
) -> Answer | None:
    """The answer as a server would send it on; None where there is none.

    The body comes in parts; where it is not the whole one, the client goes away after them.
    """
    coming: list[Message] = [
        {"type": "http.request", "body": each, "more_body": True} for each in body or [b""]
    ]
    coming[-1]["more_body"] = not whole
    sent: list[Message] = []

    async def receive() -> Message:
        if coming:
            return coming.pop(0)
        if whole:
            await asyncio.sleep(3600)  # a server says nothing more until the client goes away
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await asyncio.wait_for(app(scope, receive, send), 60)
    if not sent:
        return None
    start, *parts = sent
    return Answer(
        start["status"],
        {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in start["headers"]
        },
        b"".join(part.get("body", b"") for part in parts),
    )
