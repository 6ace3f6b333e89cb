"""The commands about webhooks: who is told of jobs and sweeps as they change."""

import json
import sys
from typing import Annotated

import typer
from rich.markup import escape

from stepsize.client import Client
from stepsize.errors import StepsizeError
from stepsize.following import AsJson
from stepsize.report import notes, output, plain_table, put
from stepsize.webhooks import TOLERANCE, Delivery, Webhook, signature
from stepsize.webhooks import verify as verified

app = typer.Typer()

PANEL = "Webhooks"

webhooks = typer.Typer(
    no_args_is_help=True,
    help="Have jobs and sweeps told of to other services, by Standard Webhooks.",
    rich_markup_mode="rich",
)
app.add_typer(webhooks, name="webhooks", rich_help_panel=PANEL)

WebhookId = Annotated[
    str,
    typer.Argument(
        metavar="WEBHOOK",
        help="Its id, as `stepsize webhooks list` shows it.",
        show_default=False,
    ),
]


@webhooks.command()
def add(
    url: Annotated[str, typer.Argument(help="Where messages are sent.", show_default=False)],
    *,
    event: Annotated[
        list[str] | None,
        typer.Option(help="What it is told of, as job.failed; repeatable.", show_default="all"),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(help="key:value that a job must have; repeatable.", show_default=False),
    ] = None,
    sweep: Annotated[
        str | None, typer.Option(help="Only this one and its jobs.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a webhook, and print the secret that its messages are signed with, this one time.

    Example: [bold]stepsize webhooks add https://hooks.example/stepsize --event job.failed[/]
    """
    pairs = [each.partition(":") for each in tag or ()]
    if wrong := [key for key, colon, _ in pairs if not colon]:
        raise StepsizeError(f"--tag {wrong[0]} has no value: write it as key:value")
    tags = {key: value for key, _, value in pairs}
    with Client() as client:
        _told(client.webhooks.add(url, events=event or (), tags=tags, sweep=sweep), as_json=as_json)


@webhooks.command("list")
def show(*, as_json: AsJson = False) -> None:
    """List the webhooks, and whether what is sent there arrives.

    Example: [bold]stepsize webhooks list[/]
    """
    with Client() as client:
        found = client.webhooks.list()
    if as_json:
        typer.echo(json.dumps([each.model_dump(mode="json") for each in found], indent=2))
    elif found:
        put(plain_table(("id", "url", "told of", "state"), [_row(each) for each in found]))
    else:
        notes.print("no webhooks: make one with `stepsize webhooks add URL`")


@webhooks.command("test")
def ping(webhook: WebhookId, *, as_json: AsJson = False) -> None:
    """Send a message of type ping, and say whether it has arrived; if not, exit with 1.

    Example: [bold]stepsize webhooks test whk_...[/]
    """
    with Client() as client:
        sent = client.webhooks.test(webhook)
    if as_json:
        typer.echo(sent.model_dump_json(indent=2))
    else:
        output.print(escape(_outcome(sent)), soft_wrap=True)
    if sent.state != "delivered":
        raise typer.Exit(1)


@webhooks.command()
def deliveries(
    webhook: WebhookId,
    *,
    state: Annotated[
        str | None, typer.Option(help="pending, delivered or failed.", show_default="any")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 20,
    retry: Annotated[
        str | None,
        typer.Option(metavar="MESSAGE", help="Send this one again.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what was sent in the last 30 days, the newest first, and what came of it.

    Example: [bold]stepsize webhooks deliveries whk_... --state failed[/]
    """
    with Client() as client:
        if retry is not None:
            found = [client.webhooks.retry(webhook, retry)]
        else:
            found = client.webhooks.deliveries(webhook, state=state, limit=limit)
    if as_json:
        typer.echo(json.dumps([each.model_dump(mode="json") for each in found], indent=2))
        return
    heads = ("message", "type", "about", "created", "tries", "state")
    rows = [
        (
            each.id,
            each.type,
            each.subject,
            f"{each.created_at:%Y-%m-%d %H:%M:%S}",
            str(each.attempts),
            each.state if each.error is None else f"{each.state}: {each.error}",
        )
        for each in found
    ]
    put(plain_table(heads, rows))


@webhooks.command()
def rm(webhook: WebhookId) -> None:
    """Delete a webhook, with the messages that are still to be sent there.

    Example: [bold]stepsize webhooks rm whk_...[/]
    """
    with Client() as client:
        client.webhooks.remove(webhook)
    output.print(escape(f"{webhook} is deleted"))


@webhooks.command()
def rotate(webhook: WebhookId, *, as_json: AsJson = False) -> None:
    """Give a webhook another secret and print it; the one before signs along for a day.

    Example: [bold]stepsize webhooks rotate whk_...[/]
    """
    with Client() as client:
        _told(client.webhooks.rotate(webhook), as_json=as_json)


@webhooks.command()
def enable(
    webhook: WebhookId,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Send nothing there for now.")] = False,
) -> None:
    """Send to a webhook again that was disabled, by somebody or because nothing arrived.

    Example: [bold]stepsize webhooks enable whk_...[/]
    """
    with Client() as client:
        now = client.webhooks.change(webhook, enabled=not undo)
    output.print(escape(f"{now.id} is {_state(now)}"))


@webhooks.command()
def verify(
    *,
    secret: Annotated[
        str,
        typer.Option(
            envvar="STEPSIZE_WEBHOOK_SECRET", help="Of the webhook: whsec_...", show_default=False
        ),
    ],
    message: Annotated[str, typer.Option("--id", help="The header webhook-id.")],
    timestamp: Annotated[str, typer.Option(help="The header webhook-timestamp.")],
    signatures: Annotated[str, typer.Option("--signature", help="The header webhook-signature.")],
    any_age: Annotated[
        bool, typer.Option("--any-age", help=f"Also where it is older than {TOLERANCE} s.")
    ] = False,
) -> None:
    """Check the signature of a body on stdin, and show how that is done.

    Example: [bold]stepsize webhooks verify --id msg_... --timestamp 1614265330
    --signature v1,... < body.json[/]
    """
    body = sys.stdin.buffer.read()
    expected = signature(secret, message, timestamp, body)
    notes.print(escape(f"signed   {message}.{timestamp}.<the {len(body)} bytes of the body>"))
    notes.print("key      the secret after whsec_, decoded from base64")
    notes.print(escape(f"expected {expected}"), soft_wrap=True)
    notes.print(escape(f"given    {signatures}"), soft_wrap=True)
    headers = {
        "webhook-id": message,
        "webhook-timestamp": timestamp,
        "webhook-signature": signatures,
    }
    verified(body, headers, secret, tolerance=float("inf") if any_age else TOLERANCE)
    output.print("verified")


def _told(webhook: Webhook, *, as_json: bool) -> None:
    if as_json:
        typer.echo(webhook.model_dump_json(indent=2))
        return
    notes.print(escape(f"{webhook.id}: {_events(webhook)} to {webhook.url}"), soft_wrap=True)
    typer.echo(webhook.secret)


def _row(webhook: Webhook) -> tuple[str, ...]:
    return (webhook.id, webhook.url, _events(webhook), _state(webhook))


def _events(webhook: Webhook) -> str:
    tags = [f"{key}:{value}" for key, value in webhook.tags.items()]
    sweep = [webhook.sweep] if webhook.sweep else []
    return " ".join([*(webhook.events or ["everything"]), *tags, *sweep])


def _state(webhook: Webhook) -> str:
    if not webhook.enabled:
        return f"disabled: {webhook.disabled_why}" if webhook.disabled_why else "disabled"
    if webhook.failing_since:
        return f"failing since {webhook.failing_since:%Y-%m-%d %H:%M}"
    return "enabled"


def _outcome(sent: Delivery) -> str:
    if sent.state == "delivered":
        return f"{sent.id} has arrived: {sent.status} after {sent.seconds or 0:.2f} s"
    if sent.error is None:
        return f"{sent.id} has not been sent yet: is a server running that delivers?"
    return f"{sent.id} has not arrived: {sent.error}"
