"""What every move out of `running` sets, wherever it leads."""

from typing import Any

from sqlalchemy import ColumnElement, case

from spec.states import State
from store.instants import now
from store.tables import jobs

Choice = tuple[ColumnElement[bool], State]


def leaving(otherwise: State, *choices: Choice) -> dict[str, Any]:
    """Values of an UPDATE that leaves to the first state whose condition holds, or `otherwise`.

    A job that has ended gets its time of end; one that will run again has not been started, and
    waits from now on.
    """

    def by_state(finished: Any, waiting: Any) -> Any:
        worth = [(when, finished if state.finished else waiting) for when, state in choices]
        last = finished if otherwise.finished else waiting
        return case(*worth, else_=last) if worth else last

    return {
        "state": case(*choices, else_=otherwise) if choices else otherwise,
        "finished_at": by_state(now(), None),
        "started_at": by_state(jobs.c.started_at, None),
        "run_after": now(),
        "pause_requested": False,
        "lease_owner": None,
        "lease_expires": None,
        "version": jobs.c.version + 1,
    }
