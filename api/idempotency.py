"""Idempotency-Key: a request that is sent again is answered as the first one was."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from api.parts import CallerPart
from api.problems import InvalidError
from store import idempotency
from store.database import WriteTx
from store.idempotency import Answer

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

Headers = dict[str, dict[str, Any]]

_REPLAYED: Headers = {
    REPLAYED: {
        "description": "`true`: this is the first answer again, nothing was done",
        "schema": {"type": "string"},
    }
}


def _location(what: str) -> Headers:
    return {"Location": {"description": f"where the {what} is", "schema": {"type": "string"}}}


_IN_FLIGHT = {"description": "a request with this key is just being answered"}

Responses = dict[int | str, dict[str, Any]]

MANY_CREATED: Responses = {201: {"headers": _REPLAYED}, 409: _IN_FLIGHT}
ONE_CREATED: Responses = {201: {"headers": _location("job") | _REPLAYED}, 409: _IN_FLIGHT}
SWEEP_CREATED: Responses = {201: {"headers": _location("sweep") | _REPLAYED}, 409: _IN_FLIGHT}
WEBHOOK_CREATED: Responses = {
    201: {"headers": _location("webhook") | _REPLAYED},
    409: {"description": f"{_IN_FLIGHT['description']}, or there are as many webhooks as may be"},
}
DELIVERY_CREATED: Responses = {
    201: {"headers": _location("delivery") | _REPLAYED},
    409: {"description": f"{_IN_FLIGHT['description']}, or the webhook is disabled"},
}
"""What a route that takes a key answers, for the contract."""


@dataclass(frozen=True)
class Once:
    """A request that creates something, done once however often it is sent with its key."""

    owner: str
    key: str | None
    request: str

    def earlier(self, tx: WriteTx) -> Response | None:
        """The answer that the request has had already.

        Raises:
            InvalidError: that was another request, with the same key.
            InFlightError: it is just being answered.
        """
        if self.key is None:
            return None
        found = idempotency.earlier(tx, caller=self.owner, key=self.key)
        if found is None:
            return None
        if found.request != self.request:
            detail = "was sent with another request in the last 24 hours: use a new one"
            raise InvalidError.at(f"/{HEADER}", detail)
        answer = _response(found)
        answer.headers[REPLAYED] = "true"
        return answer

    def created(self, tx: WriteTx, created: BaseModel, location: str | None = None) -> Response:
        """The answer 201, remembered in the transaction that created what it tells of."""
        body = created.model_dump_json().encode()
        answer = Answer(self.request, status=201, location=location, body=body)
        if self.key is not None:
            idempotency.keep(tx, answer, caller=self.owner, key=self.key)
        return _response(answer)


async def _once(
    request: Request,
    caller: CallerPart,
    key: Annotated[
        str | None,
        Header(
            alias=HEADER,
            min_length=1,
            max_length=255,
            pattern=r"^[\x20-\x7e]*$",
            description="a new one for each new request; sent again with the same body within"
            " 24 hours, it gets the first answer again",
        ),
    ] = None,
) -> Once:
    asked = f"{request.method} {request.url.path}\n".encode() + await request.body()
    return Once(caller.owner, key, sha256(asked).hexdigest())


OncePart = Annotated[Once, Depends(_once)]


def _response(answer: Answer) -> Response:
    headers = {"Location": answer.location} if answer.location else None
    return Response(answer.body, answer.status, headers, media_type="application/json")
