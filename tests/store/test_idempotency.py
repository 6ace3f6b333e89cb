"""Answers that are kept for requests that are sent again."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from store import idempotency, jobs, pages
from store.database import Sessions
from store.idempotency import Answer, InFlightError
from store.instants import from_now
from store.tables import idempotency as table
from store.tables import jobs as jobs_table
from tests.factories import spec
from tests.store.racing import ROUNDS, at_once

ANSWER = Answer("0" * 64, 201, "/v1/jobs/job_1", b'{"id": "job_1"}')


def keep(sessions: Sessions, key: str, answer: Answer = ANSWER) -> None:
    with sessions.begin() as tx:
        idempotency.keep(tx, answer, caller="a", key=key)


def earlier(sessions: Sessions, key: str, caller: str = "a") -> Answer | None:
    with sessions.begin() as tx:
        return idempotency.earlier(tx, caller=caller, key=key)


def age(sessions: Sessions, by: timedelta) -> None:
    with sessions.begin() as tx:
        tx.execute(update(table).values(created_at=from_now(-by)))


def test_an_answer_is_found_by_its_caller_and_key(sessions: Sessions) -> None:
    keep(sessions, "k")
    assert earlier(sessions, "k") == ANSWER
    assert earlier(sessions, "K") is None
    assert earlier(sessions, "k", caller="b") is None


def test_an_answer_lasts_a_day(sessions: Sessions) -> None:
    keep(sessions, "k")
    age(sessions, timedelta(hours=23, minutes=59))
    assert earlier(sessions, "k") == ANSWER
    age(sessions, timedelta(hours=24, seconds=1))
    assert earlier(sessions, "k") is None
    other = Answer("1" * 64, 201, None, b"{}")
    keep(sessions, "k", other)
    assert earlier(sessions, "k") == other


def test_old_answers_are_deleted_in_small_numbers(sessions: Sessions) -> None:
    for number in range(5):
        keep(sessions, f"old {number}")
    age(sessions, timedelta(hours=25))
    keep(sessions, "new")
    for gone in (3, 2, 0):
        with sessions.begin() as tx:
            assert idempotency.forget(tx, limit=3) == gone
    assert earlier(sessions, "new") == ANSWER


def test_of_requests_at_once_one_does_it(sessions: Sessions) -> None:
    def submit(key: str) -> str:
        try:
            with sessions.begin() as tx:
                if idempotency.earlier(tx, caller="a", key=key):
                    return "again"
                jobs.add(tx, spec())
                idempotency.keep(tx, ANSWER, caller="a", key=key)
        except InFlightError:
            return "in flight"
        return "done"

    for number in range(ROUNDS):
        told = at_once(*[lambda key=f"k{number}": submit(key)] * 4)
        assert told.count("done") == 1
        assert set(told) <= {"done", "again", "in flight"}
    with sessions.read() as tx:
        assert tx.execute(select(func.count()).select_from(jobs_table)).scalar_one() == ROUNDS


def test_a_key_in_flight_is_not_waited_for(sessions: Sessions) -> None:
    if sessions.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time: the second request waits for its turn")
    with sessions.begin() as tx:
        assert idempotency.earlier(tx, caller="a", key="k") is None
        with pytest.raises(InFlightError):
            earlier(sessions, "k")
        assert earlier(sessions, "other") is None
    assert earlier(sessions, "k") is None


def test_what_is_undone_is_not_remembered(sessions: Sessions) -> None:
    def submission() -> None:
        with sessions.begin() as tx:
            idempotency.earlier(tx, caller="a", key="k")
            jobs.add(tx, spec())
            idempotency.keep(tx, ANSWER, caller="a", key="k")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        submission()
    assert earlier(sessions, "k") is None
    with sessions.read() as tx:
        assert pages.find(tx, limit=1) == []
