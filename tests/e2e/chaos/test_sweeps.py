"""Sweeps while everything breaks: what was promised runs, once, never too much of it at a time."""

import os
import sys
from typing import Any

import pytest

from store import sweep_moves, sweeps
from store.database import Sessions, connect
from tests.e2e.chaos.faults import SEED, Chaos
from tests.e2e.service import eventually, free_port
from tests.factories import training_json

STRIKES = int(os.environ.get("STEPSIZE_CHAOS_STRIKES", "25"))
PEAK = "/schedule/max_lr"
TEMPLATE = training_json(
    model={"name": "mlp", "params": {"hidden": [128]}},
    length={"iterations": 2000},
    evaluate={"every": {"iterations": 500}},
)
ANY_RATE = {PEAK: {"low": 0.01, "high": 1.0, "log": True}}
SPENT = 10_000
"""Iterations of a budget that ends before all configurations of its sweep have run."""

SWEEPS: dict[str, dict[str, Any]] = {
    "grid": {
        "space": {PEAK: [0.01, 0.03, 0.1, 0.3], "/seed": [0, 1, 2]},
        "budget": {"parallel": 3},
    },
    "tpe": {
        "space": ANY_RATE,
        "sampler": {"name": "tpe", "startup": 4},
        "budget": {"jobs": 10, "parallel": 3},
    },
    "spent": {
        "space": ANY_RATE,
        "sampler": {"name": "quasi_random"},
        "budget": {"jobs": 9, "iterations": SPENT, "parallel": 2},
    },
    "coarse to fine": {
        "space": {},
        "sampler": {
            "name": "coarse_to_fine",
            "low": 1e-3,
            "iterations": 60,
            "rounds": 1,
            "points": 3,
        },
        "budget": {"parallel": 2},
    },
    "asha": {
        "space": {PEAK: [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]},
        "stopping": {"name": "asha"},
        "budget": {"parallel": 2},
    },
}

RECIPE: dict[str, Any] = {
    "kind": "recipe",
    "name": "recipe",
    "template": {name: each for name, each in TEMPLATE.items() if name not in {"kind", "schedule"}},
    "schedules": [{"policy": "cosine"}, {"policy": "triangular"}],
    "seeds": [0, 1],
    "budget": {"parallel": 2},
}
"""What looks for its rates is left alone by clients: cancelled, there is nothing to go on with."""


@pytest.mark.timeout(240 + 12 * STRIKES)
def test_what_was_promised_runs_once(chaos: Chaos, capsys: pytest.CaptureFixture[str]) -> None:
    # a second API leads the same sweeps on, and lives while the first is killed
    chaos.service.spawn("second", sys.executable, "-m", "api", STEPSIZE_PORT=str(free_port()))
    ids = {
        name: chaos.submit({"name": name, "template": TEMPLATE, **spec}, "/v1/sweeps")
        for name, spec in SWEEPS.items()
    }
    ids["recipe"] = chaos.submit(RECIPE, "/v1/sweeps")
    sessions = connect(chaos.service.database_url)
    for _ in range(STRIKES):
        if not (under_way := looked(sessions, ids)):
            break
        chaos.strike(under_way)
        if len(chaos.paused) > 1:  # they keep their places meanwhile
            chaos.resume([])
        some_end(chaos, sessions, ids)
    chaos.calm()
    for sweep_id in ids.values():
        finished(chaos, sessions, sweep_id, ids)
    for name, sweep_id in ids.items():
        check(chaos, sessions, name, sweep_id)
    sessions.close()
    survived = ", ".join(f"{count} x {name}" for name, count in chaos.counts.most_common())
    with capsys.disabled():
        print(f"\nseed {SEED}: {len(ids)} sweeps; survived {survived}")  # noqa: T201 - as above


def looked(sessions: Sessions, ids: dict[str, str]) -> list[str]:
    """The jobs that have not ended; no sweep has more of them going than it may."""
    found: list[str] = []
    for name, sweep_id in ids.items():
        with sessions.read() as tx:
            sweep = sweeps.get(tx, sweep_id)
            going = sweep_moves.under_way(tx, sweep_id)
            trials = sweeps.trials_of(tx, sweep_id)
        assert sweep.parallel is not None
        assert going <= sweep.parallel, name
        assert len(trials) <= sweep.promised, name
        found += [
            each.job.id
            for each in trials
            if each.job and not each.job.state.finished and each.memory.get("stage") != "find"
        ]
    return found


def some_end(chaos: Chaos, sessions: Sessions, ids: dict[str, str]) -> None:
    """Waits for a job to end, unless all have."""
    before = ended(sessions, ids)

    def moved() -> bool:
        chaos.mend()
        return not looked(sessions, ids) or ended(sessions, ids) > before

    eventually(moved, within=60, what="a job to end")


def ended(sessions: Sessions, ids: dict[str, str]) -> int:
    with sessions.read() as tx:
        counts = sweeps.counts(tx, list(ids.values()))
    return sum(n for each in counts.values() for state, n in each.items() if state.finished)


def finished(chaos: Chaos, sessions: Sessions, sweep_id: str, ids: dict[str, str]) -> None:
    def done() -> bool:
        chaos.mend()
        looked(sessions, ids)
        answer = chaos.ask("GET", f"/v1/sweeps/{sweep_id}").json()
        return answer["finished_at"] is not None

    eventually(done, within=180, what=f"{sweep_id} to end")


def check(chaos: Chaos, sessions: Sessions, name: str, sweep_id: str) -> None:
    """Every configuration was run, once, to its end, unless somebody cancelled it."""
    with sessions.read() as tx:
        sweep = sweeps.get(tx, sweep_id)
        trials = sweeps.trials_of(tx, sweep_id)
    jobs = [each.job for each in trials if each.job is not None]
    looking = {each.job.id for each in trials if each.job and each.memory.get("stage") == "find"}
    assert [each.number for each in trials] == list(range(len(trials)))
    assert len({str(each.parameters) for each in trials}) == len(trials) == len(jobs)
    assert sweep.state == "succeeded", name
    if name == "spent":
        assert sweep.ending == f"its budget of {SPENT} iterations is spent"
        assert 0 < sum(job.iteration for job in jobs) <= SPENT
    else:
        assert sweep.ending == sweep_moves.DONE
        assert len(trials) == sweep.promised or name == "coarse to fine"
    for job in jobs:
        told = chaos.ask("GET", f"/v1/jobs/{job.id}").json()
        outcomes = [each["outcome"] for each in told["attempts"]]
        if job.state == "succeeded":
            assert outcomes.count("succeeded") == 1
            assert job.iteration == told["result"]["iterations"]
            if job.id not in looking:  # a range test, which has a series for each repeat
                points = chaos.ask("GET", f"/v1/jobs/{job.id}/series").json()["total_points"]
                assert points == job.iteration
        else:
            assert job.state == "cancelled", told["error"]
            assert job.id in chaos.cancelled or (name == "spent" and not outcomes)
