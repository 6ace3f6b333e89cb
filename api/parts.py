"""What the routes are given: the parts the app was created with."""

import re
from typing import Annotated

from fastapi import Depends, Header, Path, Request
from starlette.convertors import StringConvertor, register_url_convertor

from api.access import Gate
from api.broker import Broker
from api.changes import Changes
from api.components import Catalogue
from api.deliverer import Deliverer
from spec.access import Caller
from spec.settings import Settings
from store.database import Sessions
from store.files import Files
from store.jobs import JobNotFoundError


async def _sessions(request: Request) -> Sessions:
    sessions: Sessions = request.app.state.sessions
    return sessions


async def _broker(request: Request) -> Broker:
    broker: Broker = request.app.state.broker
    return broker


async def _changes(request: Request) -> Changes:
    changes: Changes = request.app.state.changes
    return changes


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _files(request: Request) -> Files:
    files: Files = request.app.state.files
    return files


async def _deliverer(request: Request) -> Deliverer:
    deliverer: Deliverer = request.app.state.deliverer
    return deliverer


async def _gate(request: Request) -> Gate:
    gate: Gate = request.app.state.gate
    return gate


async def _catalogue(request: Request) -> Catalogue:
    state = request.app.state
    return Catalogue.of(state.sessions, lost_after=state.settings.lease)


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


def job_id_of(job_id: str) -> str:
    """The id, where it has the form of one; otherwise it is that of no job.

    Raises:
        JobNotFoundError: databases need not see it.
    """
    if re.fullmatch(r"job_[0-9a-z]{1,60}", job_id) is None:
        raise JobNotFoundError(ascii(job_id)[1:-1])
    return job_id


async def _job_id(
    job_id: Annotated[
        str,
        Path(description="`id` of the job", examples=["job_01920f4c2b5e7a3c8d41f6a09b7e5d12"]),
    ],
) -> str:
    return job_id_of(job_id)


class _JobId(StringConvertor):
    """What stands for a job in the path of one, where another route has a name of its own."""

    regex = "(?!preview$)[^/]+"


class _SweepId(StringConvertor):
    """What stands for a sweep in a path; what does not look like one is no such path at all."""

    regex = "swp_[0-9a-z]{1,60}"


class _WebhookId(StringConvertor):
    """What stands for a webhook in a path."""

    regex = "whk_[0-9a-z]{1,60}"


class _MessageId(StringConvertor):
    """What stands for a message to a webhook."""

    regex = "msg_[0-9a-z]{1,60}"


register_url_convertor("job", _JobId())
register_url_convertor("sweep", _SweepId())
register_url_convertor("webhook", _WebhookId())
register_url_convertor("message", _MessageId())

SweepIdPart = Annotated[
    str,
    Path(description="`id` of the sweep", examples=["swp_01920f4c2b5e7a3c8d41f6a09b7e5d12"]),
]
WebhookIdPart = Annotated[
    str,
    Path(description="`id` of the webhook", examples=["whk_01920f4c2b5e7a3c8d41f6a09b7e5d12"]),
]
DeliveryIdPart = Annotated[
    str,
    Path(description="`id` of the delivery", examples=["msg_01920f4c2b5e7a3c8d41f6a09b7e5d12"]),
]
DelivererPart = Annotated[Deliverer, Depends(_deliverer)]
CallerPart = Annotated[Caller, Depends(_caller)]
GatePart = Annotated[Gate, Depends(_gate)]
JobIdPart = Annotated[str, Depends(_job_id)]
SessionsPart = Annotated[Sessions, Depends(_sessions)]
BrokerPart = Annotated[Broker, Depends(_broker)]
ChangesPart = Annotated[Changes, Depends(_changes)]
CataloguePart = Annotated[Catalogue, Depends(_catalogue)]
SettingsPart = Annotated[Settings, Depends(_settings)]
FilesPart = Annotated[Files, Depends(_files)]
IfNoneMatchPart = Annotated[
    str | None,
    Header(
        alias="If-None-Match",
        description="the ETag of what the client has; where that is still so, the answer is 304",
    ),
]
AcceptPart = Annotated[str, Header(alias="Accept", description="`text/csv` for a table")]
PreferPart = Annotated[
    list[str],
    Header(alias="Prefer", description="`wait=N`: wait for a change, up to N seconds (60 at most)"),
]
