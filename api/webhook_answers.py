"""What clients send and are answered about webhooks and their messages."""

import json
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import PydanticCustomError

from spec.jobs import TagKey
from spec.values import Text
from spec.webhooks import DeliveryState, Event
from store.deliveries import Delivery
from store.webhooks import Webhook


def _each_once(events: list[Event]) -> list[Event]:
    if len(set(events)) < len(events):
        raise PydanticCustomError("repeated", "must name each once")
    return events


Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2000,
        description="http:// or https://, without a password; it must lead to a public address,"
        " unless the operator allows another",
    ),
]
Events = Annotated[
    list[Event],
    Field(max_length=len(Event), description="of which it is told; empty: all"),
    AfterValidator(_each_once),
]
Tags = Annotated[
    dict[TagKey, Text],
    Field(max_length=32, description="that a job, or the template of a sweep, must have"),
]
SweepId = Annotated[
    str | None,
    Field(pattern=r"^swp_[0-9a-z]{1,60}$", description="it is told of this one and its jobs alone"),
]
Enabled = Annotated[bool, Field(description="otherwise nothing is sent, and nothing noted for it")]


class WebhookSpec(BaseModel):
    """A webhook to be made."""

    model_config = ConfigDict(extra="forbid")

    url: Url
    events: Events = []
    tags: Tags = {}
    sweep: SweepId = None
    enabled: Enabled = True


class WebhookChange(BaseModel):
    """What is to be different about a webhook; what is not named stays as it is."""

    model_config = ConfigDict(extra="forbid")

    url: Url | None = None
    events: Events | None = None
    tags: Tags | None = None
    sweep: SweepId = None
    enabled: Annotated[
        bool | None, Field(description="true: also after the service has disabled it")
    ] = None

    def values(self) -> dict[str, Any]:
        """Column -> value of those that were named; only `sweep` may be null."""
        named = self.model_dump(include=self.model_fields_set)
        return {
            name: value for name, value in named.items() if value is not None or name == "sweep"
        }


class WebhookOut(BaseModel):
    """A webhook, without what its messages are signed with."""

    id: str
    url: str
    events: list[str]
    tags: dict[str, str]
    sweep: str | None
    enabled: bool
    disabled_why: Annotated[str | None, Field(description="why the service has disabled it")]
    failing_since: Annotated[
        datetime | None, Field(description="since when nothing has arrived; null: all is well")
    ]
    former_until: Annotated[
        datetime | None, Field(description="until when the secret before signs along")
    ]
    created_at: datetime

    @classmethod
    def of(cls, webhook: Webhook, **more: str) -> Self:
        """From the row."""
        told = {name: getattr(webhook, name) for name in WebhookOut.model_fields}
        return cls.model_validate(told | more)


class NewWebhookOut(WebhookOut):
    """A webhook that has just been made, or has another secret."""

    secret: Annotated[
        str, Field(description="what messages are signed with: it is told this one time only")
    ]


class WebhooksOut(BaseModel):
    """Every webhook of the caller's."""

    data: list[WebhookOut]


class DeliveryOut(BaseModel):
    """A message to a webhook, and how far it is."""

    id: Annotated[str, Field(description="the `webhook-id` of the message")]
    webhook: str
    type: Annotated[str, Field(description="an event, or `ping`")]
    subject: Annotated[str, Field(description="the id of the job or sweep it is about")]
    state: DeliveryState
    attempts: int
    next_at: Annotated[datetime | None, Field(description="when it is sent next")]
    status: Annotated[int | None, Field(description="of the last answer; null: there was none")]
    error: Annotated[str | None, Field(description="what was wrong with the last try")]
    seconds: Annotated[float | None, Field(description="that the last try took")]
    created_at: datetime
    delivered_at: datetime | None
    body: Annotated[dict[str, JsonValue], Field(description="what is sent")]

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryOut":
        """From the row."""
        told = {**vars(delivery), "webhook": delivery.webhook_id}
        if delivery.next_at is not None:  # what goes before all others is due since long ago
            told["next_at"] = max(delivery.next_at, delivery.created_at)
        return cls.model_validate(told | {"body": json.loads(delivery.body)})


class DeliveriesOut(BaseModel):
    """A page of the messages to a webhook."""

    data: list[DeliveryOut]
    next_cursor: str | None
