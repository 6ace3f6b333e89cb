"""Whether the server lives, and whether it can do its work."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel
from redis import RedisError

from api.parts import BrokerPart, SessionsPart
from api.problems import answer
from store import pages
from store.database import Unavailable, describe

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """Fine."""

    status: Literal["ok"] = "ok"


@router.get("/healthz", operation_id="get_health")
async def alive() -> Health:
    """The process answers."""
    return Health()


@router.get(
    "/readyz",
    operation_id="get_readiness",
    response_model=Health,
    responses={503: {"description": "what is missing, and whether jobs are accepted all the same"}},
)
def ready(sessions: SessionsPart, broker: BrokerPart) -> Health | Response:
    """Database and broker answer too; 503 says which does not."""
    faults: list[str] = []
    try:
        with sessions.read() as tx:
            pages.find(tx, limit=1)
    except Unavailable as error:
        faults.append(f"database: {describe(error)} (does it need `stepsize migrate`?)")
    try:
        broker.ping()
    except RedisError as error:
        faults.append(f"broker: {error} (jobs are accepted, and run once it is back)")
    if faults:
        return answer(503, "; ".join(faults), headers={"Retry-After": "5"})
    return Health()
