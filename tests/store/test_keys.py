"""Keys are known by their text alone, for as long as they are good."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from spec.access import Caller, Scope
from store import audit, keys
from store.database import Sessions
from store.instants import from_now
from store.tables import audit as audit_table
from store.tables import keys as keys_table


def issue(sessions: Sessions, **given: object) -> tuple[keys.Key, str]:
    values = {"name": "laptop", "owner": "ada", "scopes": {Scope.READ}} | given
    with sessions.begin() as tx:
        return keys.issue(tx, **values)  # type: ignore[arg-type] # what the caller of this gives


def held(sessions: Sessions, text: str) -> keys.Key | None:
    with sessions.read() as tx:
        return keys.held(tx, text)


def test_a_key_is_found_by_its_text_and_its_text_is_nowhere(sessions: Sessions) -> None:
    key, text = issue(sessions)
    assert text.startswith(f"{key.prefix}_")
    assert held(sessions, text) == key
    assert (key.owner, key.scopes, key.used_at) == ("ada", {Scope.READ}, None)
    secret = text.rpartition("_")[2]
    with sessions.read() as tx:
        (row,) = tx.execute(select(keys_table))
    assert secret not in repr(row)


def test_no_two_keys_are_alike(sessions: Sessions) -> None:
    found = {issue(sessions)[1] for _ in range(5)}
    assert len(found) == 5


@pytest.mark.parametrize(
    "text", ["", "ss_", "ss_0123456789ab_" + "0" * 48, "ss_\x00", "ss_é", "\udcff", "x" * 10_000]
)
def test_what_is_no_key_is_not_found(sessions: Sessions, text: str) -> None:
    issue(sessions)
    assert held(sessions, text) is None


def test_a_wrong_secret_after_a_right_prefix_is_not_enough(sessions: Sessions) -> None:
    key, text = issue(sessions)
    last = "0" if text[-1] != "0" else "1"
    assert held(sessions, text[:-1] + last) is None
    assert held(sessions, key.prefix) is None
    assert held(sessions, text + "0") is None


def test_an_expired_key_is_none(sessions: Sessions) -> None:
    key, text = issue(sessions, expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert held(sessions, text) == key
    with sessions.read() as tx:
        assert keys.any_valid(tx)
    with sessions.begin() as tx:
        tx.execute(keys_table.update().values(expires_at=from_now(timedelta(seconds=-1))))
    assert held(sessions, text) is None
    with sessions.read() as tx:
        assert not keys.any_valid(tx)
        assert [each.id for each in keys.find(tx)] == [key.id]


def test_a_revoked_key_is_gone(sessions: Sessions) -> None:
    key, text = issue(sessions)
    with sessions.begin() as tx:
        assert keys.revoke(tx, key.id)
        assert not keys.revoke(tx, key.id)
    assert held(sessions, text) is None


def test_when_a_key_was_last_used_is_known_to_a_minute(sessions: Sessions) -> None:
    key, text = issue(sessions)
    for seconds, moved in ((0, True), (30, False), (61, True)):
        with sessions.begin() as tx:
            if seconds:
                before = from_now(timedelta(seconds=-seconds))
                tx.execute(keys_table.update().values(used_at=before))
        earlier = held(sessions, text)
        with sessions.begin() as tx:
            keys.touch(tx, key.id)
        later = held(sessions, text)
        assert earlier
        assert later
        assert (earlier.used_at != later.used_at) == moved


def test_entries_of_the_audit_trail_go_after_a_year(sessions: Sessions) -> None:
    caller = Caller(owner="ada", name="laptop", key="key_1", request="abc")
    with sessions.begin() as tx:
        for target in ("job_1", "job_2"):
            audit.note(tx, caller, "cancel", target)
    with sessions.read() as tx:
        newest, oldest = audit.find(tx, before=None, limit=9)
        assert audit.find(tx, before=newest.id, limit=9) == [oldest]
    told = (newest.owner, newest.actor, newest.key, newest.verb, newest.target, newest.request)
    assert told == ("ada", "laptop", "key_1", "cancel", "job_2", "abc")
    with sessions.begin() as tx:
        old = audit_table.update().where(audit_table.c.id == oldest.id)
        tx.execute(old.values(at=from_now(-audit.KEPT - timedelta(seconds=1))))
        assert audit.forget(tx, limit=9) == 1
    with sessions.read() as tx:
        assert audit.find(tx, before=None, limit=9) == [newest]
