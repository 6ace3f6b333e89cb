"""The commands that move jobs and workers, and those that look at all that happened."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.unit.conftest import JOB, Fake, Run

STARTED = "2026-01-31T12:00:00Z"
ENDED = "2026-01-31T12:03:20Z"
TOLD = {
    **JOB,
    "kind": "training",
    "state": "running",
    "progress": {"iteration": 1812, "iterations": 3000},
    "checkpoint": 1800,
    "parent": {"job": "job_0", "iteration": 900},
    "pause_requested": True,
    "attempts": [
        {
            "attempt": 1,
            "worker": "cpu-1@host",
            "started_at": STARTED,
            "ended_at": ENDED,
            "outcome": "failed",
            "reason": "oom",
            "began": 900,
            "iterations": 1700,
        },
        {
            "attempt": 2,
            "worker": "cpu-2@host",
            "started_at": ENDED,
            "ended_at": None,
            "outcome": None,
            "reason": None,
            "began": 1700,
            "iterations": None,
        },
    ],
    "history": [
        {
            "at": STARTED,
            "actor": "cpu-1@host",
            "verb": "fail",
            "state": "queued",
            "attempt": 1,
            "iteration": 1700,
            "detail": "oom: [8 GiB] too little",
        }
    ],
}


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("verb", "answer", "said"),
    [
        ("cancel", {"state": "cancelled"}, "job_1 cancelled"),
        ("cancel", {"state": "running", "cancel_requested": True}, "job_1 was asked to stop"),
        ("pause", {"state": "paused"}, "job_1 paused"),
        ("pause", {"state": "running", "pause_requested": True}, "job_1 was asked to pause"),
        ("pause", {"state": "running", "cancel_requested": True}, "job_1 is about to be cancelled"),
        ("resume", {"state": "queued"}, "job_1 queued"),
        ("resume", {"state": "running"}, "job_1 running"),
        ("retry", {"state": "queued"}, "job_1 queued"),
    ],
)
def test_moves_say_what_became_of_the_job(
    fake: Fake, run: Run, verb: str, answer: dict[str, Any], said: str
) -> None:
    fake.answers[f"POST /v1/jobs/job_1/{verb}"] = (200, JOB | answer)
    assert run(verb, "job_1").stdout == f"{said}\n"
    assert json.loads(run(verb, "job_1", "--json").stdout).items() >= answer.items()


def test_a_refused_move_is_said(fake: Fake, run: Run) -> None:
    detail = "a job that is paused cannot be retried: resume it, or cancel it first"
    problem = {"title": "Conflict", "status": 409, "detail": detail}
    fake.answers["POST /v1/jobs/job_1/retry"] = (409, problem)
    done = run("retry", "job_1")
    assert done.exit_code == 1
    assert detail in done.stderr


def test_show_tells_attempts_and_history(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/jobs/job_1"] = (200, TOLD)
    done = run("show", "job_1")
    assert done.exit_code == 0
    shown = lines(done.stdout)
    for line in (
        "name digits [mlp]",
        "state running, a pause was asked for",
        "done 1,812 of 3,000 iterations",
        "goes on from job_0 at iteration 900",
        "checkpoint at iteration 1,800",
        "attempt worker started took from to outcome",
        "when who what state attempt iteration detail",
    ):
        assert line in shown
    first, second = (line for line in shown if line.startswith(("1 cpu-1", "2 cpu-2")))
    assert first.endswith("3m 900 1,700 failed (oom)")
    assert second.endswith("1,700 running")
    assert shown[-1].endswith("cpu-1@host fail queued 1 1,700 oom: [8 GiB] too little")
    assert json.loads(run("show", "job_1", "--json").stdout)["history"][0]["verb"] == "fail"


def test_show_says_why_a_job_waits(fake: Fake, run: Run) -> None:
    waiting = {"why": "no_worker", "detail": "no live worker of queue 'x' offers what it needs"}
    fake.answers["GET /v1/jobs/job_1"] = (200, {**TOLD, "state": "queued", "waiting": waiting})
    assert f"waits {waiting['detail']}" in lines(run("show", "job_1").stdout)


def test_show_ends_with_what_came_out(fake: Fake, run: Run) -> None:
    error = {"reason": "code", "detail": "it broke"}
    fake.answers["GET /v1/jobs/job_1"] = (200, {**JOB, "state": "failed", "error": error})
    assert "failed (code): it broke" in run("show", "job_1").stdout


def test_extend_submits_what_changes(fake: Fake, run: Run) -> None:
    spec = {"kind": "training", "seed": 3, "length": {"epochs": 5}}
    fake.answers["GET /v1/jobs/job_1"] = (200, {**JOB, "kind": "training", "spec": spec})
    fake.answers["POST /v1/jobs"] = (201, {**JOB, "id": "job_2"})
    schedule = {"policy": "constant", "lr": 0.01}
    done = run(
        *("extend", "job_1", "--length", "epochs=9", "--iteration", "300"),
        *("--set", f"schedule={json.dumps(schedule)}"),
    )
    assert (done.exit_code, done.stdout) == (0, "job_2\n")
    assert fake.asked[-1][3] == {
        "kind": "training",
        "seed": 3,
        "length": {"epochs": 9},
        "schedule": schedule,
        "from": {"job": "job_1", "iteration": 300},
    }
    run("extend", "job_1", "--length", "5000")
    assert fake.asked[-1][3] == spec | {"length": {"iterations": 5000}, "from": {"job": "job_1"}}


def test_checkpoints_are_listed_and_downloaded(
    fake: Fake, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = sha256(b"weights").hexdigest()
    listed = [
        {
            "iteration": 1200,
            "attempt": 2,
            "bytes": 6 << 20,
            "sha256": digest,
            "lasting": lasting,
            "created_at": STARTED,
        }
        for lasting in (True, False)
    ]
    fake.answers["GET /v1/jobs/job_1/checkpoints"] = (200, {"data": listed})
    shown = lines(run("checkpoints", "job_1").stdout)
    assert shown[0] == "iteration attempt size age kept as sha256"
    assert shown[1].startswith("1,200 2 6 MiB ")
    assert shown[1].endswith(f"end of a cycle {digest[:12]}")
    assert json.loads(run("checkpoints", "job_1", "--json").stdout) == listed

    fake.answers["GET /v1/jobs/job_1/checkpoints/1200"] = (200, b"weights")
    fake.headers["ETag"] = f'"{digest}"'
    monkeypatch.chdir(tmp_path)
    for options, name in (((), "job_1-1200.ckpt"), (("--output", "mine.ckpt"), "mine.ckpt")):
        done = run("checkpoints", "job_1", "--download", "1200", *options)
        assert (done.exit_code, done.stdout) == (0, f"{name}\n")
        assert Path(name).read_bytes() == b"weights"

    fake.answers["GET /v1/jobs/job_1/checkpoints"] = (200, {"data": []})
    assert run("checkpoints", "job_1").stderr == "no checkpoints\n"


def test_a_worker_is_drained(fake: Fake, run: Run) -> None:
    worker = {"name": "cpu-1@host", "state": "busy", "job": "job_1", "device": "cpu"}
    fake.answers["GET /v1/workers"] = (200, {"data": [worker]})
    assert lines(run("workers").stdout) == ["name state job device", "cpu-1@host busy job_1 cpu"]
    fake.answers["POST /v1/workers/cpu-1@host/drain"] = (200, worker)
    done = run("drain", "cpu-1@host")
    assert done.stdout == "cpu-1@host takes no more jobs after job_1\n"
    fake.answers["POST /v1/workers/cpu-1@host/undrain"] = (200, worker)
    assert run("drain", "cpu-1@host", "--undo").stdout == "cpu-1@host takes jobs again\n"
    assert json.loads(run("drain", "cpu-1@host", "--json").stdout).items() >= worker.items()


def test_a_worker_in_quarantine_is_explained_and_released(fake: Fake, run: Run) -> None:
    held = {"reason": "3 jobs were lost", "until": "2026-01-31T12:00:00Z"}
    worker = {"name": "cuda-1@host", "state": "quarantined", "quarantine": held}
    fake.answers["GET /v1/workers"] = (200, {"data": [worker]})
    done = run("workers")
    assert "cuda-1@host quarantined" in lines(done.stdout)[1]
    assert "cuda-1@host is given no jobs until " in done.stderr
    assert "3 jobs were lost" in done.stderr
    fake.answers["POST /v1/workers/cuda-1@host/release"] = (200, worker | {"state": "idle"})
    assert run("release", "cuda-1@host").stdout == "cuda-1@host is given jobs again\n"
    assert json.loads(run("release", "cuda-1@host", "--json").stdout)["state"] == "idle"


def test_no_workers_says_how_to_start_one(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/workers"] = (200, {"data": []})
    assert "stepsize worker" in run("workers").stderr
