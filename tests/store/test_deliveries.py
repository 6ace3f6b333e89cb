"""Messages are taken by one at a time, tried for a day, and remain as a log."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import BigInteger, type_coerce, update

from spec.access import ANYONE
from spec.webhooks import DELAYS, JITTER, DeliveryState, delay_after
from store import deliveries, moves, webhooks
from store.database import Sessions
from store.deliveries import Delivery, Due, Outcome
from store.instants import from_now
from store.tables import deliveries as table
from store.tables import webhooks as webhooks_table
from store.webhooks import Webhook
from tests.factories import queued
from tests.store.racing import ROUNDS, at_once

GOOD = Outcome(204, None, 0.1)
BAD = Outcome(500, "500 Internal Server Error", 0.1)
GONE = Outcome(410, "410 Gone", 0.1, gone=True)
OWNER = ANYONE.owner


@pytest.fixture
def webhook(sessions: Sessions) -> Webhook:
    with sessions.begin() as tx:
        return webhooks.add(tx, owner=OWNER, url="https://a.example/hook")


def cancelled(sessions: Sessions) -> str:
    job = queued(sessions)
    with sessions.begin() as tx:
        moves.cancel(tx, job.id)
    return job.id


def taken(sessions: Sessions, webhook: Webhook, limit: int = 9) -> list[Due]:
    with sessions.begin() as tx:
        return deliveries.take(tx, webhook.id, limit=limit)


def settled(sessions: Sessions, due: Due, outcome: Outcome, chance: float = 0.0) -> bool:
    with sessions.begin() as tx:
        return deliveries.settle(tx, due, outcome, chance=chance)


def listed(sessions: Sessions, webhook: Webhook) -> list[Delivery]:
    with sessions.read() as tx:
        return deliveries.find(tx, webhook, state=None, before=None, limit=99)


def stored(sessions: Sessions, webhook: Webhook) -> Webhook:
    with sessions.read() as tx:
        return webhooks.get(tx, webhook.id, owner=OWNER)


def waits(sessions: Sessions, *but: str) -> str | None:
    with sessions.read() as tx:
        found = deliveries.waiting(tx, but=but)
    return found and found[0]


def pass_by(sessions: Sessions, time: timedelta) -> None:
    """As if so much more time had passed since anything happened."""
    with sessions.begin() as tx:
        for column in (table.c.next_at, table.c.created_at, webhooks_table.c.failing_since):
            earlier = type_coerce(column, BigInteger) - time // timedelta(microseconds=1)
            tx.execute(
                update(column.table).where(column.is_not(None)).values({column.name: earlier})
            )


def test_a_message_is_taken_sent_and_logged(sessions: Sessions, webhook: Webhook) -> None:
    assert waits(sessions) is None
    job_id = cancelled(sessions)
    assert waits(sessions) == webhook.id
    assert waits(sessions, webhook.id) is None
    (due,) = taken(sessions, webhook)
    assert (due.url, due.secrets, due.tries) == (webhook.url, (webhook.secret,), 1)
    assert json.loads(due.body)["data"]["job"]["id"] == job_id
    assert webhook.secret not in repr(due) + repr(webhook)
    assert taken(sessions, webhook) == []
    assert settled(sessions, due, GOOD)
    (log,) = listed(sessions, webhook)
    assert (log.id, log.state, log.attempts, log.status) == (due.id, "delivered", 1, 204)
    assert log.next_at is None
    assert log.delivered_at is not None
    assert waits(sessions) is None
    assert not settled(sessions, due, BAD)


def test_what_a_killed_process_had_is_sent_by_another(sessions: Sessions, webhook: Webhook) -> None:
    cancelled(sessions)
    (lost,) = taken(sessions, webhook)
    pass_by(sessions, deliveries.LEASE)
    (again,) = taken(sessions, webhook)
    assert (again.id, again.body) == (lost.id, lost.body)
    assert not settled(sessions, lost, BAD)  # it was only frozen, and comes late
    assert settled(sessions, again, GOOD)
    assert [each.state for each in listed(sessions, webhook)] == [DeliveryState.DELIVERED]


def test_two_who_take_at_once_take_others(sessions: Sessions, webhook: Webhook) -> None:
    for _ in range(ROUNDS):
        ids = {cancelled(sessions) for _ in range(3)}
        both = at_once(*[lambda: taken(sessions, webhook, limit=3)] * 2)
        found = [json.loads(due.body)["data"]["job"]["id"] for each in both for due in each]
        found += [
            json.loads(due.body)["data"]["job"]["id"] for due in taken(sessions, webhook)
        ]  # what both passed over
        assert sorted(found) == sorted(ids)


def test_it_is_tried_for_a_day(sessions: Sessions, webhook: Webhook) -> None:
    cancelled(sessions)
    for tries, delay in enumerate(DELAYS, 1):
        (due,) = taken(sessions, webhook)
        assert due.tries == tries
        asked = datetime.now(UTC)
        assert settled(sessions, due, BAD, chance=0.5)
        (log,) = listed(sessions, webhook)
        assert (log.state, log.status, log.error) == ("pending", 500, BAD.error)
        assert log.next_at is not None
        expected = asked + delay * (1 + JITTER / 2)
        assert abs(log.next_at - expected) < timedelta(seconds=5)
        pass_by(sessions, delay * 0.5)
        assert taken(sessions, webhook) == []
        pass_by(sessions, delay * 0.6)
    (due,) = taken(sessions, webhook)
    assert settled(sessions, due, BAD)
    (log,) = listed(sessions, webhook)
    assert (log.state, log.attempts, log.next_at) == (DeliveryState.FAILED, len(DELAYS) + 1, None)
    assert stored(sessions, webhook).enabled


def test_the_schedule_is_about_a_day() -> None:
    longest = [delay_after(tries, 0.999) for tries in range(1, len(DELAYS) + 1)]
    assert timedelta(hours=24) < sum(DELAYS, timedelta()) < timedelta(hours=30)
    assert all(
        each and delay < each <= delay * 1.1 for each, delay in zip(longest, DELAYS, strict=True)
    )
    assert delay_after(len(DELAYS) + 1, 0.0) is None


def test_who_has_gone_is_asked_no_more(sessions: Sessions, webhook: Webhook) -> None:
    cancelled(sessions)
    (due,) = taken(sessions, webhook)
    cancelled(sessions)
    assert settled(sessions, due, GONE)
    after = stored(sessions, webhook)
    assert (after.enabled, after.disabled_why) == (False, "it answered 410 Gone")
    assert after.version > webhook.version
    cancelled(sessions)
    newer, older = listed(sessions, webhook)  # of the third nobody was to be told
    assert (older.state, newer.state) == (DeliveryState.FAILED, DeliveryState.PENDING)
    assert waits(sessions) is None
    assert taken(sessions, webhook) == []
    with sessions.begin() as tx:
        again = webhooks.change(tx, webhook.id, owner=OWNER, enabled=True)
    assert (again.enabled, again.disabled_why, again.failing_since) == (True, None, None)
    assert [each.id for each in taken(sessions, webhook)] == [newer.id]


def test_who_never_answers_is_asked_no_more_after_five_days(
    sessions: Sessions, webhook: Webhook
) -> None:
    def exhausted() -> None:
        cancelled(sessions)
        for _ in range(len(DELAYS) + 1):
            (due,) = taken(sessions, webhook)
            settled(sessions, due, BAD)
            with sessions.begin() as tx:
                pending = table.c.state == DeliveryState.PENDING
                tx.execute(update(table).where(pending).values(next_at=from_now(timedelta())))

    exhausted()
    since = stored(sessions, webhook).failing_since
    assert since is not None
    pass_by(sessions, timedelta(days=4))
    cancelled(sessions)
    (due,) = taken(sessions, webhook)
    settled(sessions, due, GOOD)
    assert stored(sessions, webhook).failing_since is None
    exhausted()
    pass_by(sessions, timedelta(days=4.9))
    exhausted()
    assert stored(sessions, webhook).enabled
    pass_by(sessions, timedelta(days=0.2))
    exhausted()
    after = stored(sessions, webhook)
    assert (after.enabled, after.disabled_why) == (False, "nothing has arrived there for 5 days")


def test_a_message_can_be_sent_again(sessions: Sessions, webhook: Webhook) -> None:
    cancelled(sessions)
    (due,) = taken(sessions, webhook)
    with sessions.begin() as tx:
        asked = deliveries.retry(tx, webhook, due.id)
    assert (asked.state, asked.attempts) == (DeliveryState.PENDING, 1)
    assert not settled(sessions, due, BAD)  # what was under way says nothing of the new try
    (again,) = taken(sessions, webhook)
    assert (again.id, again.attempts, again.tries) == (due.id, 2, 1)
    assert settled(sessions, again, GOOD)
    with sessions.begin() as tx:
        assert deliveries.retry(tx, webhook, due.id).delivered_at is None
    assert len(taken(sessions, webhook)) == 1
    with sessions.begin() as tx, pytest.raises(deliveries.DeliveryNotFoundError):
        deliveries.retry(tx, webhook, "msg_0")


def test_a_ping_overtakes_what_waits(sessions: Sessions, webhook: Webhook) -> None:
    cancelled(sessions)
    pass_by(sessions, timedelta(hours=9))
    with sessions.begin() as tx:
        ping = deliveries.ping(tx, webhook)
    (first,) = taken(sessions, webhook, limit=1)
    assert first.id == ping.id
    assert json.loads(first.body)["type"] == "ping"
    with sessions.begin() as tx:
        off = webhooks.change(tx, webhook.id, owner=OWNER, enabled=False)
        for asked in (deliveries.ping, lambda tx, off: deliveries.retry(tx, off, ping.id)):
            with pytest.raises(deliveries.DisabledError):
                asked(tx, off)


def test_a_secret_signs_along_for_a_day(sessions: Sessions, webhook: Webhook) -> None:
    with sessions.begin() as tx:
        after = webhooks.rotate(tx, webhook.id, owner=OWNER)
    assert after.secret != webhook.secret
    cancelled(sessions)
    (due,) = taken(sessions, webhook)
    assert due.secrets == (after.secret, webhook.secret)
    with sessions.begin() as tx:
        tx.execute(update(webhooks_table).values(former_until=from_now(timedelta(seconds=-1))))
    cancelled(sessions)
    (due,) = taken(sessions, webhook)
    assert due.secrets == (after.secret,)


def test_a_webhook_is_deleted_with_its_messages_whatever_happens_meanwhile(
    sessions: Sessions,
) -> None:
    for _ in range(ROUNDS):
        with sessions.begin() as tx:
            webhook = webhooks.add(tx, owner=OWNER, url="https://a.example/hook")
        cancelled(sessions)
        (due,) = taken(sessions, webhook)

        def remove(webhook: Webhook = webhook) -> object:
            with sessions.begin() as tx:
                webhooks.remove(tx, webhook.id, owner=OWNER)
            return None

        at_once(
            remove,
            lambda: cancelled(sessions),
            lambda due=due: settled(sessions, due, BAD),
        )
        assert listed(sessions, webhook) == []
        with sessions.read() as tx, pytest.raises(webhooks.WebhookNotFoundError):
            webhooks.get(tx, webhook.id, owner=OWNER)


def test_old_messages_are_forgotten(sessions: Sessions, webhook: Webhook) -> None:
    for _ in range(3):
        cancelled(sessions)
    pass_by(sessions, deliveries.KEPT)
    cancelled(sessions)
    with sessions.begin() as tx:
        assert deliveries.forget(tx, limit=2) == 2
    with sessions.begin() as tx:
        assert deliveries.forget(tx, limit=2) == 1
    assert len(listed(sessions, webhook)) == 1


def test_webhooks_are_ones_own_and_not_too_many(sessions: Sessions, webhook: Webhook) -> None:
    with sessions.begin() as tx:
        assert webhooks.find(tx, owner=OWNER) == [webhook]
        assert webhooks.find(tx, owner="grace") == []
        for asked in (webhooks.get, webhooks.change, webhooks.rotate, webhooks.remove):
            with pytest.raises(webhooks.WebhookNotFoundError):
                asked(tx, webhook.id, owner="grace")
        for _ in range(webhooks.MOST - 1):
            webhooks.add(tx, owner=OWNER, url="https://a.example/hook")
        with pytest.raises(webhooks.TooManyWebhooksError):
            webhooks.add(tx, owner=OWNER, url="https://a.example/hook")
        webhooks.add(tx, owner="grace", url="https://a.example/hook")
