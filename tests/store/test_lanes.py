"""Whose turn it is: needs and offers, owners' shares and limits, however many jobs wait."""

import random
import threading
from dataclasses import replace

import pytest
from sqlalchemy import insert, text

from spec.access import ANYONE
from spec.needs import Needs, Offer, missing, stored
from spec.states import State
from store import claims, jobs, lanes, leases
from store.database import Sessions, WriteTx
from store.instants import now
from store.jobs import Job, Submission
from store.lanes import Lane
from store.tables import owners
from tests.factories import LEASE, prepared, spec
from tests.store.racing import at_once

CARD = Offer(gpus=1, memory_gb=80, card="NVIDIA H100 PCIe", labels=("nvme", "rack=7"))


def added(sessions: Sessions, owner: str = "a", **changes: object) -> Job:
    with sessions.begin() as tx:
        return jobs.add(tx, spec(**changes), by=replace(ANYONE, owner=owner))


def taken(sessions: Sessions, offer: Offer = CARD, **known: object) -> Job | None:
    queues = known.pop("queues", ["default"])
    with sessions.begin() as tx:
        found = claims.claim(tx, worker="w", queues=queues, lease=LEASE, offer=offer)  # type: ignore[arg-type]
    return found and found[0]


def rule(sessions: Sessions, owner: str, **values: object) -> None:
    with sessions.begin() as tx:
        tx.execute(insert(owners).values(owner=owner, changed_at=now(), **values))


@pytest.mark.parametrize(
    "needs",
    [
        {},
        {"gpus": 1},
        {"memory_gb": 80},
        {"card": "h100"},
        {"labels": ["nvme"]},
        {"gpus": 1, "memory_gb": 40, "card": "H100", "labels": ["rack=7", "nvme"]},
    ],
)
def test_a_worker_takes_what_it_has_enough_for(
    sessions: Sessions, needs: dict[str, object]
) -> None:
    job = added(sessions, needs=needs)
    assert (found := taken(sessions))
    assert found.id == job.id


@pytest.mark.parametrize(
    "needs",
    [
        {"gpus": 2},
        {"memory_gb": 80.5},
        {"card": "H200"},
        {"labels": ["nvme", "rack=8"]},
    ],
)
def test_a_worker_passes_over_what_it_lacks(sessions: Sessions, needs: dict[str, object]) -> None:
    added(sessions, needs=needs, priority=9)
    later = added(sessions)
    assert (found := taken(sessions))
    assert found.id == later.id
    assert taken(sessions) is None


def test_a_job_of_a_plug_in_goes_where_it_is_installed(sessions: Sessions) -> None:
    with sessions.begin() as tx:
        job = jobs.add(tx, Submission(spec(), components=["model acme"]))
    assert taken(sessions) is None
    assert (found := taken(sessions, Offer(components=("model acme",))))
    assert found.id == job.id


def test_equal_needs_make_one_lane_however_they_are_written(sessions: Sessions) -> None:
    added(sessions, needs={"labels": ["b", "a"], "card": "H100"})
    added(sessions, needs={"labels": ["a", "b", "a"], "card": "h100", "gpus": 0})
    added(sessions, needs={})
    added(sessions)
    offer = Offer(card="H100", labels=("a", "b"))
    with sessions.read() as tx:
        found = lanes.servable(tx, queues=["default"], offer=offer)
    assert len(found) == 2


def test_owners_take_turns(sessions: Sessions) -> None:
    for _ in range(4):
        added(sessions, "a")
    for _ in range(2):
        added(sessions, "b")
    turns = [job.owner for _ in range(6) if (job := taken(sessions))]
    assert [set(turns[:2]), set(turns[2:4]), turns[4:]] == [{"a", "b"}, {"a", "b"}, ["a", "a"]]


def test_owners_take_turns_at_a_single_worker(sessions: Sessions) -> None:
    random.seed(1)
    rule(sessions, "b", share=3)
    for owner in "ab":
        for _ in range(40):
            added(sessions, owner, priority=9 if owner == "a" else 0)
    turns = []
    for _ in range(40):
        with sessions.begin() as tx:
            found = claims.claim(tx, worker="w", queues=["default"], lease=LEASE)
            assert found
            leases.succeed(tx, found[1], {})
        turns.append(found[0].owner)
    assert turns.count("b") > turns.count("a") > 0


def test_a_share_of_two_gets_twice_as_many(sessions: Sessions) -> None:
    rule(sessions, "b", share=2)
    for owner in "ab":
        for _ in range(6):
            added(sessions, owner)
    turns = [job.owner for _ in range(9) if (job := taken(sessions))]
    assert turns.count("b") == 6


def test_a_priority_orders_an_owners_jobs_and_does_not_take_others_turns(
    sessions: Sessions,
) -> None:
    added(sessions, "a", priority=999)
    urgent = added(sessions, "a", priority=1000)
    patient = added(sessions, "b", priority=-1000)
    turns = [job.id for _ in range(2) if (job := taken(sessions))]
    assert set(turns) == {urgent.id, patient.id}


def test_an_owner_at_the_limit_waits_and_holds_nobody_up(sessions: Sessions) -> None:
    rule(sessions, "a", max_running=1)
    first, second, other = added(sessions, "a"), added(sessions, "a"), added(sessions, "b")
    turns = [job.id for _ in range(3) if (job := taken(sessions))]
    assert set(turns) == {first.id, other.id}
    assert len(turns) == 2
    with sessions.begin() as tx:
        tx.execute(text("UPDATE owners SET max_running = 2"))
    assert (found := taken(sessions))
    assert found.id == second.id


def test_claims_at_once_do_not_pass_the_limit(sessions: Sessions) -> None:
    rule(sessions, "a", max_running=2)
    for _ in range(8):
        added(sessions, "a")
    found = at_once(*[lambda: taken(sessions)] * 8)
    assert sum(job is not None for job in found) == 2


def test_claims_that_find_no_room_do_not_wait_for_each_other(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sessions.engine.dialect.name == "sqlite":
        pytest.skip("it has one writer")
    for owner in "ab":
        added(sessions, owner)
        rule(sessions, owner, max_running=0)
    both = threading.Barrier(2)
    room = lanes.room

    def looks(tx: WriteTx, owner: str) -> int | None:
        left = room(tx, owner)
        both.wait(timeout=10)
        return left

    orders = iter(["ab", "ba"])

    def servable(*_: object, **__: object) -> list[Lane]:
        return [Lane(f"default|{each}|", each, limited=True) for each in next(orders)]

    monkeypatch.setattr(lanes, "room", looks)
    monkeypatch.setattr(lanes, "servable", servable)
    assert at_once(*[lambda: taken(sessions)] * 2) == [None, None]


def test_siblings_count_towards_the_limit(sessions: Sessions) -> None:
    rule(sessions, "a", max_running=3)
    for seed in range(8):
        added(sessions, "a", population=True, seed=seed)
    first = taken(sessions)
    assert first
    with sessions.begin() as tx:
        found = claims.claim_siblings(tx, first, worker="w", lease=LEASE, limit=7)
        assert len(found) == 2
        assert claims.claim_siblings(tx, first, worker="w", lease=LEASE, limit=7) == []


def test_a_worker_that_finds_the_first_job_taken_takes_the_next(sessions: Sessions) -> None:
    expected = [added(sessions).id for _ in range(8)]
    found = at_once(*[lambda: taken(sessions)] * 8)
    assert sorted(job.id for job in found if job) == expected


def test_the_choice_looks_at_lanes_and_not_at_every_job(sessions: Sessions) -> None:
    for owner in "abc":
        many = [Submission(spec(seed=seed)) for seed in range(1000)]
        with sessions.begin() as tx:
            jobs.add_many(tx, many, by=replace(ANYONE, owner=owner))
    statement = lanes.HEADS.compile(
        dialect=sessions.engine.dialect, compile_kwargs={"literal_binds": True}
    )
    with sessions.begin() as tx:
        if sessions.engine.dialect.name == "sqlite":  # which goes by rules until it is analysed
            rows = tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}").all()
        else:
            tx.execute(text("ANALYZE jobs"))  # what is known may be of another test's rows
            tx.execute(text("SET LOCAL enable_seqscan = off"))  # few rows lie on few pages
            tx.execute(text("SET LOCAL enable_bitmapscan = off"))
            rows = tx.exec_driver_sql(f"EXPLAIN {statement}").all()
    plan = "\n".join(map(str, rows))
    assert plan.count("ix_jobs_lane") >= 2
    assert "Seq Scan on jobs" not in plan
    assert "ix_jobs_state" not in plan


def test_statistics_of_a_time_without_waiting_jobs_do_not_matter(sessions: Sessions) -> None:
    if sessions.engine.dialect.name == "sqlite":
        pytest.skip("it goes by rules until it is analysed")
    for _ in range(20):
        prepared(sessions, State.SUCCEEDED)
    with sessions.begin() as tx:
        tx.execute(text("ANALYZE jobs"))
    for owner in "ab":
        many = [Submission(spec(seed=seed)) for seed in range(1000)]
        with sessions.begin() as tx:
            jobs.add_many(tx, many, by=replace(ANYONE, owner=owner))
    read = text("SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'jobs'")
    with sessions.begin() as tx:
        before = tx.execute(read).scalar_one()
        assert claims.claim(tx, worker="w", queues=["default"], lease=LEASE)
        assert tx.execute(read).scalar_one() - before < 100


def test_needs_say_what_is_missing_in_words() -> None:
    wanted = Needs(gpus=2, memory_gb=100, card="H200", labels=("fast",))
    assert missing(stored(wanted, ["model acme"]), CARD) == [
        "2 GPUs",
        "100 GB of memory",
        "a card called h200",
        "label fast",
        "model acme",
    ]


def test_what_a_later_version_needs_or_offers_harms_nobody() -> None:
    assert missing('{"disk_gb":5}', CARD) == ["a version that knows disk_gb"]
    assert Offer.model_validate({**CARD.model_dump(), "disk_gb": 5}) == CARD
