"""The commands as people type them, against a small server in a thread."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepsize.pool import Node
from tests.unit.conftest import JOB, Fake, Run

TESTED = {
    **JOB,
    "state": "succeeded",
    "progress": {"iteration": 640, "iterations": 900},
    "result": {
        "status": "ok",
        "suggestion": {"base_lr": 0.00123, "max_lr": 0.00456, "fixed_lr": 0.002},
        "interval": {"max_lr": [0.003, 0.006]},
        "agreement": "high",
        "landmarks": {"lr_edge": 0.0182},
        "checks": {"curvature": {"lr": 0.0171}, "line_search": {"lr": None}},
        "accuracy": {"base_lr": 0.0004, "max_lr": 0.0098},
        "iterations": 640,
        "seconds": 3.2,
    },
}
TRAINED = {
    **JOB,
    "kind": "training",
    "state": "succeeded",
    "result": {
        "iterations": 450,
        "seconds": 1.5,
        "train_loss": 0.0312,
        "val_loss": 0.1,
        "val_accuracy": 0.9722,
        "diverged_at": None,
    },
}
NO_SERIES = (404, {"title": "Not Found", "status": 404})


def test_submit_prints_the_id_alone(fake: Fake, run: Run, tmp_path: Path) -> None:
    fake.answers["POST /v1/jobs"] = (201, JOB)
    file = tmp_path / "job.yaml"
    file.write_text("kind: range_test\nrange: {start: 1e-7}\n")
    done = run("submit", str(file))
    assert (done.exit_code, done.stdout) == (0, "job_1\n")
    assert "stepsize watch job_1" in done.stderr
    assert fake.asked[0][3] == {"kind": "range_test", "range": {"start": 1e-7}}


def test_submit_reads_standard_input(fake: Fake, run: Run) -> None:
    fake.answers["POST /v1/jobs"] = (201, JOB)
    assert run("submit", "-", stdin='{"kind": "training"}').exit_code == 0
    assert fake.asked[0][3] == {"kind": "training"}


def test_a_dry_run_queues_nothing(fake: Fake, run: Run) -> None:
    told = {"valid": True, "problems": [], "warnings": ["it stops inside a cycle"], "spec": {}}
    told |= {"iterations": 2_700, "seconds": 95.2}
    fake.answers["POST /v1/jobs/preview"] = (200, told)
    done = run("submit", "-", "--dry-run", stdin='{"kind": "training"}')
    assert done.exit_code == 0
    shown = [line.split() for line in done.stdout.splitlines()]
    assert [" ".join(words) for words in shown] == [
        "iterations at most 2,700",
        "computing at most 0:01:35",
    ]
    assert done.stderr == "note: it stops inside a cycle\n"
    options = ("--model", "mlp", "--data", "digits", "--optimizer", "sgd", "--batch-size", "8")
    done = run("range-test", *options, "--dry-run", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, told)
    assert {path for _, path, _, _ in fake.asked} == {"/v1/jobs/preview"}
    assert run("submit", "-", "--dry-run", "--watch", stdin="{}").exit_code == 2


def test_a_dry_run_says_all_that_is_wrong(fake: Fake, run: Run) -> None:
    wrong = [
        {"pointer": "/model/name", "detail": "unknown: '[x]'"},
        {"pointer": "", "detail": "no"},
    ]
    told = {"valid": False, "problems": wrong, "spec": None, "iterations": None, "seconds": None}
    fake.answers["POST /v1/jobs/preview"] = (200, told)
    done = run("submit", "-", "--dry-run", stdin="{}")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "error: the server would refuse this\n  /model/name: unknown: '[x]'\n  /: no\n"
    )
    assert run("submit", "-", "--dry-run", "--json", stdin="{}").exit_code == 1


def test_a_refusal_is_said_with_its_fields(fake: Fake, run: Run) -> None:
    fake.answers["POST /v1/jobs"] = (
        422,
        {
            "title": "Unprocessable Content",
            "status": 422,
            "detail": "the request is not valid",
            "errors": [{"pointer": "/schedule/[0]", "detail": "must be >= base_lr"}],
        },
    )
    done = run("submit", "-", stdin="{}")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr == (
        "error: Unprocessable Content (422): the request is not valid\n"
        "  /schedule/[0]: must be >= base_lr\n"
    )


def test_nobody_there_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPSIZE_URL", "http://127.0.0.1:1")
    done = run("jobs")
    assert done.exit_code == 1
    assert done.stderr == (
        "error: no stepsize server at http://127.0.0.1:1: "
        "start one with `stepsize up` or set STEPSIZE_URL\n"
    )


def test_an_address_that_is_too_long_is_said(
    fake: Fake, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.answers["GET /below/v1/jobs/job_1"] = (
        404,
        {"title": "Not Found", "status": 404, "detail": "there is no job job_1"},
    )
    monkeypatch.setenv("STEPSIZE_URL", f"{fake.url}/below")
    assert run("show", "job_1").stderr == "error: Not Found (404): there is no job job_1\n"
    for path in ("v1", "v1/"):
        monkeypatch.setenv("STEPSIZE_URL", f"{fake.url}/{path}")
        assert run("jobs").stderr == (
            "error: Not Found (404): STEPSIZE_URL ends in /v1, where no stepsize server answers:"
            " leave that out\n"
        )


def test_range_test_makes_a_spec_of_its_options(fake: Fake, run: Run) -> None:
    fake.answers["POST /v1/jobs"] = (201, JOB)
    done = run(
        *("range-test", "--model", "mlp", "--model-param", "hidden=[64, 32]"),
        *("--model-param", "activation=tanh", "--data", "digits"),
        *("--optimizer", "sgd", "--optimizer-param", "momentum=0.9", "--batch-size", "32"),
        *("--start", "1e-5", "--end", "1", "--iterations", "200", "--ramp", "linear"),
        *("--repeats", "5", "--record", "accuracy", "--seed", "7", "--precision", "bf16"),
        *("--name", "trial", "--tag", "project:demo", "--no-watch"),
        *("--extensions", "1", "--loss", "probe", "--check", "curvature", "--check", "line_search"),
        *("--set", "compile=true", "--set", 'clipping={"norm": 1}', "--set", "seed=9"),
    )
    assert (done.exit_code, done.stdout) == (0, "job_1\n")
    assert fake.asked[0][3] == {
        "kind": "range_test",
        "extensions": 1,
        "loss": "probe",
        "checks": ["curvature", "line_search"],
        "name": "trial",
        "model": {"name": "mlp", "params": {"hidden": [64, 32], "activation": "tanh"}},
        "data": {"name": "digits", "params": {}},
        "optimizer": {"name": "sgd", "params": {"momentum": 0.9}},
        "batch_size": 32,
        "range": {"start": 1e-5, "end": 1.0, "iterations": 200, "ramp": "linear"},
        "repeats": 5,
        "record": ["accuracy"],
        "seed": 9,
        "compile": True,
        "clipping": {"norm": 1},
        "precision": "bf16",
        "tags": {"project": "demo"},
    }


def test_a_parameter_without_a_value_is_a_wrong_command_line(run: Run) -> None:
    options = ("--model", "mlp", "--data", "digits", "--optimizer", "sgd", "--batch-size", "8")
    done = run("range-test", *options, "--model-param", "hidden")
    assert done.exit_code == 2
    assert "KEY=VALUE" in done.stderr


def test_range_test_ends_with_the_suggestion(fake: Fake, run: Run) -> None:
    fake.answers["POST /v1/jobs"] = (201, JOB)
    fake.answers["GET /v1/jobs/job_1"] = (200, TESTED)
    fake.answers["GET /v1/jobs/job_1/series/summary"] = NO_SERIES
    options = ("--model", "mlp", "--data", "digits", "--optimizer", "sgd", "--batch-size", "8")
    done = run("range-test", *options)
    assert done.exit_code == 0
    for line in (
        "status    ok, agreement high",
        "base_lr   0.00123",
        "max_lr    0.00456  (between 0.003 and 0.006)",
        'use it    "max_lr": {"range_test": "job_1"}',
        "limits    edge 0.0182, curvature 0.0171, line search -",
        "accuracy  rises from 0.0004 to 0.0098",
        "done      640 iterations in 3.2 s (200 it/s)",
    ):
        assert line in done.stdout


def test_watch_says_what_a_status_without_suggestion_means(fake: Fake, run: Run) -> None:
    result = {
        "status": "no_edge_in_range",
        "advice": "Raise the end of the ramp.",
        "suggestion": None,
        "range": {"start": 1e-7, "end": 977.0, "iterations": 374, "extended": 2},
        "iterations": 9,
        "seconds": 1,
    }
    fake.answers["GET /v1/jobs/job_1"] = (200, {**TESTED, "result": result})
    done = run("watch", "job_1")
    assert done.exit_code == 0
    for line in (
        "status    no_edge_in_range: no upper limit was found in the range",
        "advice    Raise the end of the ramp.",
        "extended  the ramp went on to 977",
    ):
        assert line in done.stdout


def test_watch_ends_with_the_accuracy(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/jobs/job_1"] = [(200, {**TRAINED, "state": "running"}), (200, TRAINED)]
    done = run("watch", "job_1")
    assert done.exit_code == 0
    assert "validation accuracy  97.22%" in done.stdout
    assert "stopped early" not in done.stdout


def test_a_job_that_was_stopped_early_says_so(fake: Fake, run: Run) -> None:
    stopped = {"iteration": 450, "why": "stopped after 1 cycle: 0.1 is number 2 of 3"}
    early = {**TRAINED, "result": {**TRAINED["result"], "stopped": stopped}}
    fake.answers["GET /v1/jobs/job_1"] = (200, early)
    done = run("show", "job_1")
    assert "stopped early        after 1 cycle: 0.1 is number 2 of 3" in done.stdout


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        (
            {"state": "failed", "error": {"reason": "oom", "detail": "[8 GiB] too little"}},
            1,
            "failed (oom): [8 GiB] too little",
        ),
        ({"state": "cancelled"}, 3, "job_1 was cancelled after 0 iterations"),
    ],
)
def test_watch_exits_by_how_the_job_ended(
    fake: Fake, run: Run, end: dict[str, Any], code: int, words: str
) -> None:
    fake.answers["GET /v1/jobs/job_1"] = (200, {**JOB, **end})
    done = run("watch", "job_1")
    assert (done.exit_code, done.stdout.strip()) == (code, words)


def test_watch_in_json_is_the_job_and_nothing_else(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/jobs/job_1"] = (200, {**TESTED, "later": 1})
    done = run("watch", "job_1", "--json")
    assert json.loads(done.stdout)["later"] == 1
    assert done.stderr == ""


def test_watch_says_that_a_job_is_paused_and_waits(fake: Fake, run: Run) -> None:
    held = {**TRAINED, "state": "paused", "result": None, "progress": {"iteration": 1300}}
    fake.answers["GET /v1/jobs/job_1"] = [(200, held), (200, held), (200, TRAINED)]
    done = run("watch", "job_1")
    assert done.exit_code == 0
    words = "job_1 is paused at iteration 1,300: `stepsize resume job_1` lets it go on"
    assert done.stderr.count(words) == 1
    assert "validation accuracy" in done.stdout


def test_watch_says_once_why_a_job_waits(fake: Fake, run: Run) -> None:
    waiting = {"why": "no_worker", "detail": "no live worker serves queue 'x'"}
    waits = {**TRAINED, "state": "queued", "result": None, "waiting": waiting}
    fake.answers["GET /v1/jobs/job_1"] = [(200, waits), (200, waits), (200, TRAINED)]
    done = run("watch", "job_1")
    assert done.exit_code == 0
    assert done.stderr.count("job_1 waits: no live worker serves queue 'x'") == 1


def test_watch_gives_up_at_its_timeout(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/jobs/job_1"] = (200, JOB)
    done = run("watch", "job_1", "--timeout", "0.1")
    assert done.exit_code == 1
    assert "job_1 is still queued after 0.1 s" in done.stderr


def test_jobs_are_listed_with_whole_ids(fake: Fake, run: Run) -> None:
    long_id = "job_" + "0" * 32
    name = "a name " * 20
    fake.answers["GET /v1/jobs"] = (200, {"data": [{**TESTED, "id": long_id, "name": name}]})
    done = run("jobs", "--state", "queued", "--state", "running", "--kind", "range_test")
    assert done.exit_code == 0
    assert long_id in done.stdout
    assert name.strip() in done.stdout
    assert "71%" in done.stdout
    assert fake.asked[0][2] == {
        "state": ["queued", "running"],
        "kind": ["range_test"],
        "limit": ["20"],
    }


def test_jobs_in_json_are_an_array(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/jobs"] = (200, {"data": [JOB]})
    assert [job["id"] for job in json.loads(run("jobs", "--json").stdout)] == ["job_1"]


def test_series_are_printed_as_they_come(fake: Fake, run: Run, tmp_path: Path) -> None:
    fake.answers["GET /v1/jobs/job_1/series"] = (200, b"iteration,loss\n0,2.5\n")
    printed = run("series", "job_1", "--names", "loss", "--points", "10", "--repeat", "1")
    assert (printed.exit_code, printed.stdout) == (0, "iteration,loss\n0,2.5\n")
    assert fake.asked[0][2] == {
        "names": ["loss"],
        "start": ["0"],
        "points": ["10"],
        "repeat": ["1"],
    }
    file = tmp_path / "loss.csv"
    assert run("series", "job_1", "--output", str(file)).stdout == ""
    assert file.read_bytes() == b"iteration,loss\n0,2.5\n"


def test_a_format_that_is_not_served_is_said(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/jobs/job_1/series"] = (406, {"title": "Not Acceptable", "status": 406})
    done = run("series", "job_1", "--format", "parquet")
    assert done.exit_code == 1
    assert "does not serve parquet: use --format csv or json" in done.stderr


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_binary_series_go_to_a_file_or_a_pipe(
    fake: Fake, run: Run, tmp_path: Path, form: str
) -> None:
    content = bytes(range(256)) * 1000
    fake.answers["GET /v1/jobs/job_1/series"] = (200, content)
    file = tmp_path / f"loss.{form}"
    done = run("series", "job_1", "--format", form, "--output", str(file))
    assert (done.exit_code, done.stdout) == (0, "")
    assert file.read_bytes() == content
    assert run("series", "job_1", "--format", form).stdout_bytes == content
    assert run("series", "job_1", "--format", form, "--output", os.devnull).exit_code == 0


def test_a_file_stays_as_it_was_where_the_server_refuses(
    fake: Fake, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "loss.csv"
    file.write_text("before")
    assert run("series", "job_1", "--output", str(file)).exit_code == 1
    assert [each.name for each in tmp_path.iterdir()] == ["loss.csv"]
    assert file.read_text() == "before"


def test_a_connection_that_is_lost_on_the_way_leaves_no_file(
    fake: Fake, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(_: httpx.Response) -> Iterator[bytes]:
        yield b"iteration,loss\n0,"
        raise httpx.RemoteProtocolError("peer closed connection")

    fake.answers["GET /v1/jobs/job_1/series"] = (200, b"iteration,loss\n0,2.5\n")
    monkeypatch.setattr(httpx.Response, "iter_bytes", cut_short)
    done = run("series", "job_1", "--output", str(tmp_path / "loss.csv"))
    assert done.exit_code == 1
    assert "the connection was lost on the way" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_said(fake: Fake, run: Run, tmp_path: Path) -> None:
    fake.answers["GET /v1/jobs/job_1/series"] = (200, b"iteration,loss\n")
    done = run("series", "job_1", "--output", str(tmp_path / "missing" / "loss.csv"))
    assert done.exit_code == 1
    assert "No such file or directory" in done.stderr


def test_every_command_helps(run: Run) -> None:
    overview = run("--help")
    assert overview.exit_code == 0
    for command in (
        *("up", "demo", "submit", "range-test", "watch", "series", "jobs", "show"),
        *(
            "cancel",
            "pause",
            "resume",
            "retry",
            "extend",
            "checkpoints",
            "workers",
            "drain",
            "release",
        ),
        *("api", "worker", "migrate"),
    ):
        assert f" {command} " in overview.stdout
        assert run(command, "--help").exit_code == 0


def test_worker_starts_a_node_for_each_gpu_that_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool = tmp_path / "nvidia-smi"
    lines = [f"echo 'GPU {i}: NVIDIA H100 (UUID: GPU-{i}a)'" for i in range(4)]
    tool.write_text("\n".join(["#!/bin/sh", *lines]))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    started: list[tuple[list[Node], dict[str, str]]] = []

    def note(nodes: list[Node], environ: dict[str, str], **_: object) -> int:
        started.append((nodes, environ))
        return 0

    monkeypatch.setattr("stepsize.pool.run", note)
    assert run("worker", "--devices", "1,3", "--queues", "gpu", "--per-gpu", "2").exit_code == 0
    nodes, environ = started[0]
    assert [node.name for node in nodes] == ["gpu1.0", "gpu1.1", "gpu3.0", "gpu3.1"]
    assert [node.environ["CUDA_VISIBLE_DEVICES"] for node in nodes[1:3]] == ["GPU-1a", "GPU-3a"]
    assert environ["STEPSIZE_QUEUES"] == "gpu"
    monkeypatch.setenv("STEPSIZE_DEVICE", "cpu")
    assert run("worker").exit_code == 0
    assert [node.name for node in started[1][0]] == ["cpu"]
    monkeypatch.setenv("STEPSIZE_DEVICE", "cuda:9")
    assert "cuda:9 is no single GPU" in run("worker").stderr


def test_a_missing_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepsize.becoming.find_spec", lambda _: None)
    done = run("worker")
    assert done.exit_code == 1
    assert "pip install 'stepsize[worker]'" in done.stderr
