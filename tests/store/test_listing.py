"""Finding jobs: newest first, page by page, whatever they are asked to be."""

from itertools import product

from spec.jobs import JOB_SPEC
from spec.states import State
from store import jobs, moves, pages
from store.database import Sessions
from tests.factories import range_test_json, training_json


def ten(sessions: Sessions) -> list[jobs.Job]:
    """Jobs of both kinds, queued, paused and cancelled in turn; the newest first."""
    added = []
    for number in range(10):
        of = (training_json, range_test_json)[number % 2]
        with sessions.begin() as tx:
            job = jobs.add(tx, JOB_SPEC.validate_python(of(name="ab"[number // 5])))
            match number % 3:
                case 1:
                    job = moves.pause(tx, job.id)
                case 2:
                    job = moves.cancel(tx, job.id)
        added.append(job)
    return added[::-1]


def test_any_filters_at_once_find_what_matches_newest_first(sessions: Sessions) -> None:
    known = ten(sessions)
    some = [(), (State.QUEUED,), (State.QUEUED, State.CANCELLED), (State.FAILED, State.PAUSED)]
    for states, kind, name in product(some, (None, "training"), (None, "b")):
        expected = [
            job
            for job in known
            if job.state in (states or State)
            and kind in {None, job.kind}
            and name in {None, job.name}
        ]
        with sessions.read() as tx:
            found = pages.find(tx, states=states, kind=kind, name=name, limit=50)
        assert found == expected, (states, kind, name)


def test_pages_follow_each_other_without_gap_or_repeat(sessions: Sessions) -> None:
    known = ten(sessions)
    for states in ((), (State.QUEUED, State.PAUSED, State.CANCELLED)):
        seen: list[jobs.Job] = []
        before = None
        while len(seen) < len(known):
            with sessions.read() as tx:
                page = pages.find(tx, states=states, before=before, limit=3)
            assert 0 < len(page) <= 3
            seen += page
            before = page[-1].id
        assert seen == known
