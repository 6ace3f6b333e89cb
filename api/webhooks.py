"""Webhooks: who is told of jobs and sweeps as they change, and what came of it."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api import destinations
from api.idempotency import DELIVERY_CREATED, WEBHOOK_CREATED, OncePart, Responses
from api.parts import (
    CallerPart,
    DelivererPart,
    DeliveryIdPart,
    SessionsPart,
    SettingsPart,
    WebhookIdPart,
)
from api.problems import InvalidError
from api.webhook_answers import (
    DeliveriesOut,
    DeliveryOut,
    NewWebhookOut,
    WebhookChange,
    WebhookOut,
    WebhooksOut,
    WebhookSpec,
)
from spec.settings import Settings
from spec.webhooks import DeliveryState
from store import audit, deliveries, sweeps, webhooks
from store.database import ReadTx
from store.sweeps import SweepNotFoundError

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

DISABLED: Responses = {409: {"description": "the webhook is disabled"}}


class Page(BaseModel):
    """Which messages to list."""

    model_config = ConfigDict(extra="forbid")

    state: DeliveryState | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str | None, Field(pattern=r"^msg_[0-9a-z]{1,60}$")] = None


@router.post(
    "",
    operation_id="create_webhook",
    status_code=201,
    response_model=NewWebhookOut,
    responses=WEBHOOK_CREATED,
)
def create(
    spec: WebhookSpec,
    caller: CallerPart,
    once: OncePart,
    sessions: SessionsPart,
    settings: SettingsPart,
) -> Response:
    """Makes a webhook; the secret that signs its messages is in this answer and nowhere else."""
    _check_url(spec.url, settings)
    with sessions.begin() as tx:
        if earlier := once.earlier(tx):
            return earlier
        _check_sweep(tx, spec.sweep, caller.owner)
        webhook = webhooks.add(tx, owner=caller.owner, **spec.model_dump())
        audit.note(tx, caller, "create_webhook", webhook.id)
        told = NewWebhookOut.of(webhook, secret=webhook.secret)
        return once.created(tx, told, location=f"/v1/webhooks/{webhook.id}")


@router.get("", operation_id="list_webhooks")
def find(caller: CallerPart, sessions: SessionsPart) -> WebhooksOut:
    """Lists webhooks, the newest first, also those that are disabled."""
    with sessions.read() as tx:
        found = webhooks.find(tx, owner=caller.owner)
    return WebhooksOut(data=[WebhookOut.of(each) for each in found])


@router.get("/{webhook_id:webhook}", operation_id="get_webhook")
def get(webhook_id: WebhookIdPart, caller: CallerPart, sessions: SessionsPart) -> WebhookOut:
    """One webhook: what it is told of, and whether that arrives."""
    with sessions.read() as tx:
        return WebhookOut.of(webhooks.get(tx, webhook_id, owner=caller.owner))


@router.patch("/{webhook_id:webhook}", operation_id="change_webhook")
def change(
    webhook_id: WebhookIdPart,
    wanted: WebhookChange,
    caller: CallerPart,
    sessions: SessionsPart,
    settings: SettingsPart,
) -> WebhookOut:
    """Changes the fields that are named; what waits to be sent goes to the new url."""
    values = wanted.values()
    if wanted.url is not None:
        _check_url(wanted.url, settings)
    with sessions.begin() as tx:
        webhook = webhooks.get(tx, webhook_id, owner=caller.owner)
        _check_sweep(tx, wanted.sweep, caller.owner)
        if values:
            webhook = webhooks.change(tx, webhook_id, owner=caller.owner, **values)
            audit.note(tx, caller, "change_webhook", webhook_id)
    return WebhookOut.of(webhook)


@router.delete(
    "/{webhook_id:webhook}",
    operation_id="delete_webhook",
    status_code=204,
    responses={204: {"description": "it is gone"}},
)
def delete(webhook_id: WebhookIdPart, caller: CallerPart, sessions: SessionsPart) -> None:
    """Deletes a webhook with its messages; what has not been sent never is."""
    with sessions.begin() as tx:
        webhooks.remove(tx, webhook_id, owner=caller.owner)
        audit.note(tx, caller, "delete_webhook", webhook_id)


@router.post(
    "/{webhook_id:webhook}/test",
    operation_id="test_webhook",
    status_code=201,
    response_model=DeliveryOut,
    responses=DELIVERY_CREATED,
)
def test(
    webhook_id: WebhookIdPart,
    caller: CallerPart,
    once: OncePart,
    sessions: SessionsPart,
    deliverer: DelivererPart,
) -> Response:
    """Sends a message of type `ping` at once; ask for the delivery to see what came of it."""
    with sessions.begin() as tx:
        if earlier := once.earlier(tx):
            return earlier
        webhook = webhooks.get(tx, webhook_id, owner=caller.owner)
        delivery = deliveries.ping(tx, webhook)
        audit.note(tx, caller, "test_webhook", webhook_id)
        location = f"/v1/webhooks/{webhook_id}/deliveries/{delivery.id}"
        answer = once.created(tx, DeliveryOut.of(delivery), location=location)
    deliverer.wake()
    return answer


@router.post(
    "/{webhook_id:webhook}/rotate",
    operation_id="rotate_webhook_secret",
    status_code=201,
    response_model=NewWebhookOut,
    responses=WEBHOOK_CREATED,
)
def rotate(
    webhook_id: WebhookIdPart, caller: CallerPart, once: OncePart, sessions: SessionsPart
) -> Response:
    """Gives a webhook another secret, told this once; the one before signs along for 24 hours."""
    with sessions.begin() as tx:
        if earlier := once.earlier(tx):
            return earlier
        webhook = webhooks.rotate(tx, webhook_id, owner=caller.owner)
        audit.note(tx, caller, "rotate_webhook_secret", webhook_id)
        told = NewWebhookOut.of(webhook, secret=webhook.secret)
        return once.created(tx, told, location=f"/v1/webhooks/{webhook_id}")


@router.get("/{webhook_id:webhook}/deliveries", operation_id="list_webhook_deliveries")
def log(
    webhook_id: WebhookIdPart,
    page: Annotated[Page, Query()],
    caller: CallerPart,
    sessions: SessionsPart,
) -> DeliveriesOut:
    """Lists the messages of the last 30 days, the newest first, those that wait included."""
    with sessions.read() as tx:
        webhook = webhooks.get(tx, webhook_id, owner=caller.owner)
        found = deliveries.find(
            tx, webhook, state=page.state, before=page.cursor, limit=page.limit + 1
        )
    shown = found[: page.limit]
    return DeliveriesOut(
        data=[DeliveryOut.of(each) for each in shown],
        next_cursor=shown[-1].id if len(found) > len(shown) else None,
    )


@router.get(
    "/{webhook_id:webhook}/deliveries/{delivery_id:message}",
    operation_id="get_webhook_delivery",
)
def delivery(
    webhook_id: WebhookIdPart,
    delivery_id: DeliveryIdPart,
    caller: CallerPart,
    sessions: SessionsPart,
) -> DeliveryOut:
    """One message, and what came of it so far."""
    with sessions.read() as tx:
        webhook = webhooks.get(tx, webhook_id, owner=caller.owner)
        return DeliveryOut.of(deliveries.get(tx, webhook, delivery_id))


@router.post(
    "/{webhook_id:webhook}/deliveries/{delivery_id:message}/retry",
    operation_id="retry_webhook_delivery",
    responses=DISABLED,
)
def retry(
    webhook_id: WebhookIdPart,
    delivery_id: DeliveryIdPart,
    caller: CallerPart,
    sessions: SessionsPart,
    deliverer: DelivererPart,
) -> DeliveryOut:
    """Sends a message again, at once and with the same id, whatever became of it."""
    with sessions.begin() as tx:
        webhook = webhooks.get(tx, webhook_id, owner=caller.owner)
        again = deliveries.retry(tx, webhook, delivery_id)
        audit.note(tx, caller, "retry_webhook_delivery", delivery_id)
    deliverer.wake()
    return DeliveryOut.of(again)


def _check_url(url: str, settings: Settings) -> None:
    if why := destinations.wrong(url, settings.webhooks_private):
        raise InvalidError.at("/url", why)


def _check_sweep(tx: ReadTx, sweep_id: str | None, owner: str) -> None:
    if sweep_id is None:
        return
    try:
        sweeps.get(tx, sweep_id, owner=owner)
    except SweepNotFoundError as error:
        raise InvalidError.at("/sweep", f"there is no sweep {sweep_id}") from error
