"""Sends one message to a webhook: signed, to a checked address, in ten seconds or not at all."""

import ssl
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from hmac import digest
from http import HTTPStatus
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from api.destinations import (
    ForbiddenDestinationError,
    Networks,
    Resolve,
    UnresolvedError,
    checked,
    resolved,
)
from store.deliveries import Due, Outcome
from store.webhooks import START

TIMEOUT = 10.0
"""Seconds for all of it, once the name has been looked up."""

READ = 65_536
"""Bytes of an answer that are read at most; nobody needs them, but some servers want it."""

SHOWN = 200
"""Characters of an answer that are kept, where it is an error."""

LOST = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)
"""What becomes of connections."""

AGENT = f"stepsize/{version('stepsize')}"


def signature(secret: str, message_id: str, timestamp: int, body: str) -> str:
    """As Standard Webhooks 1.0.0 has it, for a secret that begins with `whsec_`."""
    signed = f"{message_id}.{timestamp}.{body}".encode()
    mac = digest(b64decode(secret.removeprefix(START)), signed, sha256)
    return f"v1,{b64encode(mac).decode()}"


class Poster:
    """Posts messages; made once, since it takes a while to load the certificates."""

    def __init__(
        self, allowed: Networks, *, resolve: Resolve = resolved, timeout: float = TIMEOUT
    ) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._timeout = timeout
        self._certificates: ssl.SSLContext | None = None

    def post(self, due: Due) -> Outcome:
        """What came of sending it; redirects are not followed."""
        began = time.monotonic()
        try:
            status, excerpt = self._exchange(due)
        except (ForbiddenDestinationError, UnresolvedError) as error:
            return Outcome(None, str(error), time.monotonic() - began)
        except httpcore.TimeoutException:
            told = f"no answer within {self._timeout:g} s"
            return Outcome(None, told, time.monotonic() - began)
        except LOST as error:
            told = str(error) or type(error).__name__
            return Outcome(None, told[:SHOWN], time.monotonic() - began)
        seconds = time.monotonic() - began
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return Outcome(status, None, seconds)
        gone = status == HTTPStatus.GONE
        return Outcome(status, _described(status, excerpt), seconds, gone=gone)

    def _exchange(self, due: Due) -> tuple[int, bytes]:
        if self._certificates is None:
            self._certificates = httpx.create_ssl_context()
        now = int(time.time())
        headers = {
            "Host": urlsplit(due.url).netloc,
            "Content-Type": "application/json",
            "User-Agent": AGENT,
            "Webhook-Id": due.id,
            "Webhook-Timestamp": str(now),
            "Webhook-Signature": " ".join(
                signature(each, due.id, now, due.body) for each in due.secrets
            ),
        }
        network = _Guarded(self._allowed, self._resolve, self._timeout)
        with (
            httpcore.ConnectionPool(self._certificates, network_backend=network) as pool,
            pool.stream(
                "POST",
                due.url,
                headers=[*headers.items()],
                content=due.body.encode(),
                extensions={"timeout": dict.fromkeys(("connect", "read", "write"), self._timeout)},
            ) as response,
        ):
            read = b""
            with suppress(*LOST):  # the status has said all that counts
                for chunk in response.iter_stream():
                    read += chunk
                    if len(read) >= READ:
                        break
            return response.status, read[: 4 * SHOWN]


class _Guarded(httpcore.NetworkBackend):
    """Connects to checked addresses only, and ends every connection in time."""

    def __init__(self, allowed: Networks, resolve: Resolve, timeout: float) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._timeout = timeout
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connects to the first address of a host that answers."""
        addresses = checked(host, port, allowed=self._allowed, resolve=self._resolve)
        until = time.monotonic() + self._timeout
        *others, last = addresses
        for address in others:
            try:
                return self._connected(address, port, until, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connected(last, port, until, local_address, socket_options)

    def _connected(self, address: str, port: int, until: float, *options: Any) -> "_Hasty":
        return _Hasty(self._plain.connect_tcp(address, port, _left(until), *options), until)


class _Hasty(httpcore.NetworkStream):
    """A connection that is over at some time, however little of it comes at once."""

    def __init__(self, stream: httpcore.NetworkStream, until: float) -> None:
        self._stream = stream
        self._until = until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the interface
        """Some bytes."""
        return self._stream.read(max_bytes, _left(self._until))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the interface
        """Sends bytes."""
        self._stream.write(buffer, _left(self._until))

    def close(self) -> None:
        """Closes the connection."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the interface
    ) -> "_Hasty":
        """The same connection, encrypted, with the host whose name this is."""
        left = _left(self._until)
        return _Hasty(self._stream.start_tls(ssl_context, server_hostname, left), self._until)

    def get_extra_info(self, info: str) -> Any:
        """What is known of the connection."""
        return self._stream.get_extra_info(info)


def _left(until: float) -> float:
    if (left := until - time.monotonic()) <= 0:
        raise httpcore.ReadTimeout
    return left


def _described(status: int, excerpt: bytes) -> str:
    try:
        told = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        told = str(status)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"{told}: redirects are not followed, give the webhook the new url"
    text = "".join(each if each.isprintable() else " " for each in excerpt.decode(errors="replace"))
    return f"{told}: {text.strip()[:SHOWN]}".rstrip(": ")
