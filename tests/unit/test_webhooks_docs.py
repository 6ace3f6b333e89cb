"""What docs/webhooks.md says is so: its code verifies, its types, commands and delays are ours."""

import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from api.posting import signature
from spec.webhooks import DELAYS, PING, Event
from stepsize.commands_webhooks import webhooks

PAGE = (Path(__file__).parents[2] / "docs/webhooks.md").read_text()
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = '{"type":"ping"}'


def headers(body: str = BODY, age: int = 0) -> dict[str, str]:
    sent = int(time.time()) - age
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(sent),
        "webhook-signature": f"v1,AAAA {signature(SECRET, 'msg_1', sent, body)}",
    }


def by_package(code: str, body: str, headers: dict[str, str]) -> bool:
    names: dict[str, Any] = {"body": body.encode(), "headers": headers, "secret": SECRET}
    try:
        exec(code, names)
    except WebhookVerificationError:
        return False
    return bool(names["message"] == {"type": "ping"})


def by_hand(code: str, body: str, headers: dict[str, str]) -> bool:
    names: dict[str, Any] = {}
    exec(code, names)
    return bool(names["verified"](body.encode(), headers, SECRET))


def test_the_code_verifies_what_is_sent_and_nothing_else(texts: list[str]) -> None:
    for verified, code in zip((by_package, by_hand), texts, strict=True):
        assert verified(code, BODY, headers())
        assert not verified(code, BODY, headers("{}"))
        assert not verified(code, BODY, headers(age=301))
        assert not verified(code, BODY, headers() | {"webhook-id": "msg_2"})


@pytest.mark.parametrize("event", [*Event, PING])
def test_every_type_is_documented(event: str) -> None:
    assert f"`{event}`" in PAGE


def test_every_command_is_documented() -> None:
    names = {each.name or each.callback.__name__ for each in webhooks.registered_commands}  # type: ignore[union-attr] # each has one
    assert not {name for name in names if f"stepsize webhooks {name}" not in PAGE}


def test_the_delays_are_those_of_the_page() -> None:
    units = {"s": "seconds", "min": "minutes", "h": "hours"}
    (told,) = re.findall(r"sent again after (.+?), each up to", PAGE)
    found = re.findall(r"(\d+) (s|min|h)\b", told)
    assert [timedelta(**{units[unit]: int(count)}) for count, unit in found] == list(DELAYS)
