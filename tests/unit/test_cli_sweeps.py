"""The commands about sweeps, and what a client does with them."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from spec.recipes import ANY_SWEEP, RecipeSpec
from stepsize import ApiError, Client, StepsizeError
from stepsize.sweep_values import Sweep, ranked
from tests.judged import IMPORTANCE, MARGINALS, PAIR, PICK, RANKING, SETTING, ranked_
from tests.unit.conftest import Fake, Run

COUNTS = dict.fromkeys(("queued", "running", "paused", "succeeded", "failed", "cancelled"), 0)
SPEC = {
    "template": {"kind": "training"},
    "space": {"/schedule/max_lr": [0.1, 0.2], "/optimizer/params/momentum": [0.9]},
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
}
SWEEP: dict[str, Any] = {
    "id": "swp_1",
    "owner": "default",
    "name": "bounds [wide]",
    "state": "queued",
    "spec": {**SPEC, "sampler": {"name": "grid"}},
    "promised": 4,
    "counts": {**COUNTS, "queued": 4},
    "best": None,
    "ending": None,
    "created_at": "2026-01-31T12:00:00Z",
    "started_at": None,
    "finished_at": None,
}
RUNNING = {**SWEEP, "state": "running", "counts": {**COUNTS, "running": 2, "succeeded": 2}}
ENDED = {
    **SWEEP,
    "state": "succeeded",
    "counts": {**COUNTS, "succeeded": 3, "failed": 1},
    "best": {"job": "job_2", "parameters": {}, "value": 0.97119},
    "ending": "every configuration has been chosen",
}


def result(number: int, value: float | None, **more: Any) -> dict[str, Any]:
    return {
        "job": f"job_{number}",
        "number": number,
        "state": "succeeded",
        "parameters": {"/schedule/max_lr": 0.1 * number, "/optimizer/params/momentum": 0.9},
        "value": value,
        "metrics": {"val_accuracy": value, "iterations": 600},
        "short": False,
        **more,
    }


RESULTS = {
    "data": [
        result(0, 0.5),
        result(1, None, state="failed", metrics={}, job=None),
        result(2, 0.97119),
        result(3, 0.99, short=True),
    ]
}
RANGE_TESTS = {**ENDED, "spec": {**SPEC, "template": {"kind": "range_test"}}, "best": None}
BEST_FIRST = ["job_2", "job_0", "job_3", None]


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "sweep.yaml"
    path.write_text("template: {kind: training}\nspace: {/schedule/max_lr: [1e-1, 0.2]}\n")
    return str(path)


def test_a_sweep_prints_its_id_alone(fake: Fake, run: Run, file: str) -> None:
    fake.answers["POST /v1/sweeps"] = (201, SWEEP)
    done = run("sweep", file)
    assert (done.exit_code, done.stdout) == (0, "swp_1\n")
    assert done.stderr == "4 jobs; follow it with `stepsize watch swp_1`\n"
    body = {"template": {"kind": "training"}, "space": {"/schedule/max_lr": [0.1, 0.2]}}
    assert fake.asked[0][3] == body
    assert json.loads(run("sweep", file, "--json").stdout)["promised"] == 4
    assert run("sweep", "-", stdin=json.dumps(SPEC)).exit_code == 0
    assert fake.asked[-1][3] == SPEC


def test_a_preview_queues_nothing(fake: Fake, run: Run, file: str) -> None:
    told = {
        "jobs": 64,
        "iterations": 38_400,
        "seconds": 95.2,
        "at_most": False,
        "sample": [{"/schedule/max_lr": 0.0135935639, "/model/params/hidden/0": 64}],
        "steps": None,
    }
    fake.answers["POST /v1/sweeps/preview"] = (200, told)
    assert lines(run("sweep", file, "--preview").stdout) == [
        "jobs 64",
        "iterations 38,400",
        "computing about 0:01:35",
        "",
        "max_lr /model/params/hidden/0",
        "0.01359 64",
        "... 63 more",
    ]
    assert json.loads(run("sweep", file, "--preview", "--json").stdout) == told
    fake.answers["POST /v1/sweeps/preview"] = (200, {**told, "at_most": True})
    shown = lines(run("sweep", file, "--preview").stdout)
    assert shown[1:3] == ["iterations at most 38,400", "computing at most 0:01:35"]
    unknown = {**told, "iterations": None, "seconds": None}
    fake.answers["POST /v1/sweeps/preview"] = (200, unknown)
    shown = lines(run("sweep", file, "--preview").stdout)
    assert "computing not known before a job like these has run" in shown
    assert {path for _, path, _, _ in fake.asked} == {"/v1/sweeps/preview"}
    assert run("sweep", file, "--preview", "--watch").exit_code == 2


def test_what_is_wrong_is_said_where_it_is(fake: Fake, run: Run, file: str, tmp_path: Path) -> None:
    wrong = [{"pointer": "/space/~1schedule~1max_lr/1", "detail": "must be >= base_lr"}]
    problem = {"title": "Unprocessable Content", "detail": "the request is not valid"}
    fake.answers["POST /v1/sweeps"] = (422, {**problem, "errors": wrong})
    done = run("sweep", file)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "/space/~1schedule~1max_lr/1: must be >= base_lr" in done.stderr
    job = tmp_path / "job.json"
    job.write_text('{"kind": "training"}')
    done = run("sweep", str(job))
    assert done.exit_code == 1
    assert "`stepsize submit` queues it" in done.stderr
    assert len(fake.asked) == 1


@pytest.mark.parametrize("option", ["--watch", "--wait"])
def test_followed_to_its_end_it_shows_the_best(
    fake: Fake, run: Run, file: str, option: str
) -> None:
    fake.answers["POST /v1/sweeps"] = (201, SWEEP)
    paused = {**RUNNING, "state": "paused"}
    fake.answers["GET /v1/sweeps/swp_1"] = [(200, SWEEP), (200, paused), (200, ENDED)]
    fake.answers["GET /v1/sweeps/swp_1/ranking"] = (200, RANKING)
    done = run("sweep", file, option)
    assert done.exit_code == 0
    shown = lines(done.stdout)
    assert shown[0] == "mean val_accuracy sd seeds max_lr momentum behind p told apart"
    assert shown[1] == "0.9712 0.0021 3 0.2 0.9"
    assert shown[2] == "0.5 0.0021 2 of 3 0.1 0.9 0.471 0.002 yes"
    assert shown[3] == "diverged 0 of 3 0.3 0.9"
    assert shown[4:] == [
        "... 2 more",
        "",
        "The best is better than [all] by 0.47.",
        "left out: 2 stopped early, 1 failed (`stepsize sweep-results swp_1` has all)",
    ]
    assert fake.asked[-1][1:3] == (
        "/v1/sweeps/swp_1/ranking",
        {"repeated": ["/seed"], "limit": ["10"]},
    )
    told = " ".join(done.stderr.split())
    for part in (
        "submitted swp_1",
        "swp_1 is paused: `stepsize resume swp_1` lets it go on",
        "4/4 1 failed best job 0.9712",
        "succeeded: 3 succeeded, 1 failed",
        "`stepsize retry swp_1` runs it again",
    ):
        assert part in told, part


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 3)])
def test_watch_follows_a_sweep_too(fake: Fake, run: Run, state: str, code: int) -> None:
    fake.answers["GET /v1/sweeps/swp_1"] = (200, {**ENDED, "state": state})
    empty = {**RANKING, "data": [], "trials": 0, "configurations": 0, "left_out": {}}
    fake.answers["GET /v1/sweeps/swp_1/ranking"] = (200, empty)
    done = run("watch", "swp_1")
    assert done.exit_code == code
    assert done.stdout == "no job has a val_accuracy yet\n"
    done = run("watch", "swp_1", "--json")
    assert (done.exit_code, json.loads(done.stdout)["state"]) == (code, state)
    done = run("watch", "swp_1", "--plot", "x.png")
    assert done.exit_code == 1
    assert "a sweep cannot be drawn" in done.stderr


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ending": "its budget of 60 s is spent"}, "its budget of 60 s is spent"),
        ({"ending": "its budget of 900 iterations is spent"}, "900 iterations is spent"),
        ({"spec": {**SPEC, "budget": {"jobs": 4}}}, "its budget of 4 jobs is spent"),
        ({"spec": {**SPEC, "budget": {"jobs": 5}}}, ""),
    ],
)
def test_the_end_of_watching_names_the_budget_that_ended_it(
    fake: Fake, run: Run, changes: dict[str, Any], why: str
) -> None:
    fake.answers["GET /v1/sweeps/swp_1"] = (200, ENDED | changes)
    fake.answers["GET /v1/sweeps/swp_1/ranking"] = (200, RANKING)
    done = run("watch", "swp_1")
    assert done.exit_code == 0
    assert ("it ended here because" in done.stderr) == bool(why)
    assert why in done.stderr
    assert why in run("show", "swp_1").stdout


def test_sweeps_are_listed(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/sweeps"] = (200, {"data": [ENDED, RUNNING], "next_cursor": None})
    shown = lines(run("sweeps").stdout)
    assert shown[0] == "id state done best job age name"
    assert shown[1].startswith("swp_1 succeeded 4/4 val_accuracy 0.9712 ")
    assert shown[2].startswith("swp_1 running 2/4 ")
    assert shown[2].endswith("bounds [wide]")
    assert json.loads(run("sweeps", "--json").stdout)[0]["best"]["job"] == "job_2"
    fake.answers["GET /v1/sweeps"] = (200, {"data": [], "next_cursor": None})
    assert "stepsize sweep FILE" in run("sweeps").stderr


def test_results_come_best_first_in_every_form(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/sweeps/swp_1"] = (200, ENDED)
    fake.answers["GET /v1/sweeps/swp_1/results"] = (200, RESULTS)
    shown = lines(run("sweep-results", "swp_1").stdout)
    assert len(shown) == 5
    assert shown[3].startswith("0.99 (short) ")
    for options in (("--json",), ("--format", "json")):
        found = json.loads(run("sweep-results", "swp_1", *options).stdout)
        assert [each["job"] for each in found] == BEST_FIRST
    rows = list(
        csv.DictReader(io.StringIO(run("sweep-results", "swp_1", "--format", "csv").stdout))
    )
    assert [row["job"] for row in rows] == ["job_2", "job_0", "job_3", ""]
    assert rows[0] == {
        "job": "job_2",
        "number": "2",
        "state": "succeeded",
        "stopped": "",
        "/schedule/max_lr": "0.2",
        "/optimizer/params/momentum": "0.9",
        "value": "0.97119",
        "val_accuracy": "0.97119",
        "iterations": "600",
    }
    assert rows[-1]["iterations"] == ""
    assert len(lines(run("sweep-results", "swp_1", "--limit", "1").stdout)) == 2
    assert "`stepsize sweeps` lists them" in run("sweep-results", "job_1").stderr


def test_those_that_were_stopped_early_come_after_the_others(fake: Fake, run: Run) -> None:
    why = "stopped after 9 cycles: 0.99 is number 3 of 6, and the best 2 go on"
    fake.answers["GET /v1/sweeps/swp_1"] = (200, ENDED)
    answer = {"data": [result(0, 0.99, stopped=why), result(1, 0.5)]}
    fake.answers["GET /v1/sweeps/swp_1/results"] = (200, answer)
    shown = lines(run("sweep-results", "swp_1").stdout)
    assert shown[1].endswith(" succeeded job_1")
    assert shown[2].endswith(" stopped early job_0")
    rows = csv.DictReader(io.StringIO(run("sweep-results", "swp_1", "--format", "csv").stdout))
    assert [row["stopped"] for row in rows] == ["", why]


def test_whole_objects_and_truth_are_json(fake: Fake, run: Run) -> None:
    odd = {"/schedule": {"policy": "constant"}, "/compile": True}
    fake.answers["GET /v1/sweeps/swp_1"] = (200, ENDED)
    answer = {"data": [result(0, 0.5, parameters=odd)]}
    fake.answers["GET /v1/sweeps/swp_1/results"] = (200, answer)
    assert '{"policy": "constant"} true' in lines(run("sweep-results", "swp_1").stdout)[1]
    (row,) = csv.DictReader(io.StringIO(run("sweep-results", "swp_1", "--format", "csv").stdout))
    assert (row["/schedule"], row["/compile"]) == ('{"policy": "constant"}', "true")


@pytest.mark.parametrize(
    ("verb", "answer", "said"),
    [
        ("cancel", {"state": "cancelled"}, "swp_1 cancelled: 4 queued"),
        ("cancel", {"state": "running"}, "swp_1 was asked to stop: 4 queued"),
        ("pause", {"state": "paused"}, "swp_1 paused: 4 queued"),
        ("resume", {"state": "running"}, "swp_1 running: 4 queued"),
        ("retry", {"state": "running", "counts": COUNTS}, "swp_1 running: no jobs yet"),
    ],
)
def test_sweeps_are_moved_as_jobs_are(
    fake: Fake, run: Run, verb: str, answer: dict[str, Any], said: str
) -> None:
    fake.answers[f"POST /v1/sweeps/swp_1/{verb}"] = (200, SWEEP | answer)
    assert run(verb, "swp_1").stdout == f"{said}\n"
    assert json.loads(run(verb, "swp_1", "--json").stdout).items() >= answer.items()


def test_show_says_how_a_sweep_stands(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/sweeps/swp_1"] = (200, ENDED)
    fake.answers["GET /v1/sweeps/swp_1/ranking"] = (200, RANKING)
    shown = lines(run("show", "swp_1").stdout)
    for line in (
        "name bounds [wide]",
        "sampler grid",
        "objective largest val_accuracy",
        "done 4 of 4 jobs: 3 succeeded, 1 failed",
        "best job 0.9712 by job_2",
        "begins no more every configuration has been chosen",
        "0.9712 0.0021 3 0.2 0.9",
    ):
        assert line in shown
    assert json.loads(run("show", "swp_1", "--json").stdout)["id"] == "swp_1"


def test_show_of_what_cannot_be_ranked_says_why(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/sweeps/swp_1"] = (200, ENDED)
    problem = {"title": "Conflict", "detail": "its objective [is] that of another version"}
    fake.answers["GET /v1/sweeps/swp_1/ranking"] = (409, problem)
    done = run("show", "swp_1")
    assert done.exit_code == 0
    assert "its objective [is] that of another version" in done.stderr
    fake.answers["GET /v1/sweeps/swp_1/ranking"] = (404, {"title": "Not Found"})
    assert run("show", "swp_1").exit_code == 1


def test_range_tests_are_shown_as_settings(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/sweeps/swp_1"] = (200, RANGE_TESTS)
    fake.answers["GET /v1/sweeps/swp_1/pick"] = (200, PICK)
    expected = [
        "batch_size lowest loss stable to max_lr status seconds",
        "16 0.1614 0.24 0.06 ok 0.15",
        "32 0.1614 10+ 0.06 no_edge_in_range",
        "",
        "/batch_size = 16 falls lowest.",
        'Train with it: "max_lr": {"range_test": "job_1"}',
        "left out: 2 not finished",
    ]
    for words in (("show", "swp_1"), ("sweep-pick", "swp_1")):
        assert lines(run(*words).stdout)[-7:] == expected
    (first, _) = csv.DictReader(io.StringIO(run("sweep-pick", "swp_1", "--csv").stdout))
    assert (first["/batch_size"], first["iterations"], first["jobs"]) == ("16", "712.0", "job_1")
    assert json.loads(run("sweep-pick", "swp_1", "--json").stdout)["chosen"] == SETTING
    nothing = {**PICK, "chosen": None, "settings": [], "left_out": {"unfinished": 0}}
    fake.answers["GET /v1/sweeps/swp_1/pick"] = (200, nothing)
    assert run("sweep-pick", "swp_1").stdout == "no range test has ended yet\n"


def test_a_ranking_in_every_form(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/sweeps/swp_1/ranking"] = (200, RANKING)
    shown = lines(run("sweep-ranking", "swp_1", "--limit", "3").stdout)
    assert shown[1] == "0.9712 0.0021 3 0.2 0.9"
    assert json.loads(run("sweep-ranking", "swp_1", "--json").stdout) == RANKING
    rows = list(csv.DictReader(io.StringIO(run("sweep-ranking", "swp_1", "--csv").stdout)))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert (rows[0]["p"], rows[1]["p"], rows[1]["interval_low"]) == ("", "0.002", "0.4")
    assert rows[1]["jobs"] == "job_10 job_11"
    run("sweep-ranking", "swp_1", "--repeated", "/seed", "--repeated", "/batch_size")
    assert fake.asked[-1][2]["repeated"] == ["/seed", "/batch_size"]
    assert "`stepsize sweeps` lists them" in run("sweep-ranking", "job_1").stderr


def test_without_repeats_a_ranking_says_how_to_have_them(fake: Fake, run: Run) -> None:
    alone = {"n": 1, "diverged": 0, "sd": None, "jobs": ["job_7"], "verdict": "best"}
    data = [ranked_(2, 0.9, **alone, against_best=None), ranked_(1, 0.5, **alone)]
    answer = {**RANKING, "data": data, "configurations": 2, "left_out": {}}
    fake.answers["GET /v1/sweeps/swp_1/ranking"] = (200, answer)
    assert lines(run("sweep-ranking", "swp_1").stdout) == [
        "val_accuracy max_lr momentum behind",
        "0.9 0.2 0.9",
        "0.5 0.1 0.9 0.471",
        "",
        "The best is best.",
        "Its job is job_7.",
        'One seed each: with "/seed": [0, 1, 2] in the space chance can be told apart.',
    ]


def test_importance_has_bars_and_warnings(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/sweeps/swp_1/importance"] = (200, IMPORTANCE)
    assert lines(run("sweep-importance", "swp_1").stdout) == [
        "parameter share p trials",
        f"max_lr 73% {'█' * 15} < 0.001 24",
        "seed 0% 0.9 24",
        "",
        "two together, beyond each alone share",
        "max_lr x seed 20%",
        "",
        "note: shares of 6 trials are mostly chance",
        "left out: 2 stopped early, 1 failed (`stepsize sweep-results swp_1` has all)",
    ]
    run("sweep-importance", "swp_1", "--by-value")
    assert fake.asked[-1][2] == {"by": ["value"]}
    text = run("sweep-importance", "swp_1", "--csv").stdout.splitlines()
    assert text[:2] == ["parameters,share,p,n", "/schedule/max_lr,0.731,0.0002,24"]
    assert text[3] == "/schedule/max_lr /seed,0.2,,24"
    nothing = {**IMPORTANCE, "data": [], "interactions": [], "warnings": [], "left_out": {}}
    fake.answers["GET /v1/sweeps/swp_1/importance"] = (200, nothing)
    assert "no parameter can be given a share" in run("sweep-importance", "swp_1").stdout


def test_values_along_parameters_alone_and_together(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/sweeps/swp_1"] = (200, ENDED)
    fake.answers["GET /v1/sweeps/swp_1/marginals"] = (200, MARGINALS)
    fake.answers["GET /v1/sweeps/swp_1/pairs"] = (200, PAIR)
    shown = lines(run("sweep-marginals", "swp_1").stdout)
    assert shown[:3] == [
        "max_lr trials diverged mean best 25 % median 75 %",
        "0.1 3 0 0.5 0.5 0.5 0.5 0.5",
        "0.2 .. 0.4 2 1 0.25 0.25 0.25 0.25 0.25",
    ]
    assert shown[4:7] == [
        "name trials mean best 25 % median 75 %",
        "sgd 3 0.5 0.5 0.5 0.5 0.5",
        '["adam"] 2 0.25 0.25 0.25 0.25 0.25',
    ]
    run("sweep-marginals", "swp_1", "max_lr", "/nowhere")
    assert fake.asked[-1][2] == {"parameter": ["/schedule/max_lr", "/nowhere"]}
    assert "names no one parameter" in run("sweep-marginals", "swp_1", "lr").stderr
    rows = run("sweep-marginals", "swp_1", "--csv").stdout.splitlines()
    assert rows[0].startswith("parameter,value,low,high,others,n,diverged,mean")
    assert len(rows) == 5
    both = ("sweep-marginals", "swp_1", "max_lr", "momentum", "--together")
    assert lines(run(*both).stdout)[:3] == [
        "mean val_accuracy: momentum down, max_lr across",
        "momentum 0.1 0.2 .. 0.4",
        "0.9 0.5 diverged",
    ]
    assert fake.asked[-1][2] == {"x": ["/schedule/max_lr"], "y": ["/optimizer/params/momentum"]}
    table = list(csv.DictReader(io.StringIO(run(*both, "--csv").stdout)))
    assert table[1]["/schedule/max_lr low"] == "0.2"
    assert (table[1]["diverged"], table[1]["mean"]) == ("2", "")
    assert json.loads(run(*both, "--json").stdout) == PAIR
    assert run("sweep-marginals", "swp_1", "max_lr", "--together").exit_code == 2


def test_results_are_asked_for_in_pages(fake: Fake) -> None:
    first = {**RESULTS, "next_cursor": "4"}
    fake.answers["GET /v1/sweeps/swp_1/results"] = [(200, first), (200, RESULTS)]
    with Client() as client:
        assert len(client.sweeps.results("swp_1")) == 8
    assert [query for _, _, query, _ in fake.asked] == [
        {"limit": ["1000"]},
        {"limit": ["1000"], "cursor": ["4"]},
    ]


def test_jobs_of_a_sweep_are_listed(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/jobs"] = (200, {"data": [], "next_cursor": None})
    assert run("jobs", "--sweep", "swp_1", "--state", "failed").exit_code == 0
    query = fake.asked[0][2]
    assert (query["sweep"], query["state"]) == (["swp_1"], ["failed"])


def test_a_client_waits_for_a_sweep_and_reads_its_rows(fake: Fake) -> None:
    fake.answers["POST /v1/sweeps"] = (201, SWEEP)
    busy = (503, {"title": "Service Unavailable"})
    fake.answers["GET /v1/sweeps/swp_1"] = [(200, RUNNING), busy, (200, ENDED)]
    fake.answers["GET /v1/sweeps/swp_1/results"] = (200, RESULTS)
    with Client() as client:
        sweep = client.sweeps.submit(SPEC, key="k")
        assert not sweep.finished
        last = client.sweeps.wait(sweep, timeout=30)
        assert (last.state, last.done, last.succeeded) == ("succeeded", 4, True)
        best, *_ = ranked(last, client.sweeps.results(last))
        assert best.row == {
            "job": "job_2",
            "number": 2,
            "state": "succeeded",
            "stopped": None,
            "/schedule/max_lr": 0.2,
            "/optimizer/params/momentum": 0.9,
            "value": 0.97119,
            "val_accuracy": 0.97119,
            "iterations": 600,
        }
        frame = client.sweeps.to_pandas(last)
        assert frame["/schedule/max_lr"].tolist() == [0.0, 0.1, 0.2, pytest.approx(0.3)]
        with pytest.raises(ApiError, match="Not Found"):
            client.sweeps.get("swp_2")


def test_a_wait_that_is_too_long_says_so(fake: Fake) -> None:
    fake.answers["GET /v1/sweeps/swp_1"] = (200, RUNNING)
    with Client() as client, pytest.raises(TimeoutError, match="swp_1 is still running"):
        client.sweeps.wait("swp_1", timeout=0.01)


def test_the_smallest_is_best_unless_said_otherwise(fake: Fake) -> None:
    fake.answers["GET /v1/sweeps/swp_1/results"] = (200, RESULTS)
    with Client() as client:
        found = client.sweeps.results("swp_1")
    sweep = Sweep.model_validate({**ENDED, "spec": {}})
    assert sweep.metric == "val_loss"
    assert [each.job for each in ranked(sweep, found)] == ["job_0", "job_2", "job_3", None]


def test_pages_of_sweeps_are_followed(fake: Fake) -> None:
    page = {"data": [SWEEP], "next_cursor": "swp_1"}
    fake.answers["GET /v1/sweeps"] = [(200, page), (200, {**page, "next_cursor": None})]
    with Client() as client:
        assert len(client.sweeps.list(limit=150)) == 2
    (_, _, first, _), (_, _, second, _) = fake.asked
    assert first == {"limit": ["100"]}
    assert second == {"limit": ["100"], "cursor": ["swp_1"]}


def test_a_file_that_is_not_there_is_said(fake: Fake) -> None:
    with Client() as client, pytest.raises(StepsizeError, match="cannot read none"):
        client.sweeps.submit("none.yaml")
    assert not fake.asked


RECIPE: dict[str, Any] = {
    **SWEEP,
    "name": None,
    "spec": {
        "kind": "recipe",
        "find": {"name": "range_test"},
        "schedules": [{"policy": "cosine"}, {"policy": "one_cycle"}],
        "seeds": [0, 1],
        "objective": {"metric": "val_loss", "direction": "minimize"},
    },
}
ASKED = ("--model", "mlp", "--data", "digits", "--optimizer", "sgd", "--batch-size", "32")


def test_a_recipe_needs_no_file(fake: Fake, run: Run) -> None:
    fake.answers["POST /v1/sweeps"] = (201, RECIPE)
    extra = ("--schedule", "cosine", "--schedule", "rex", "--metric", "val_accuracy")
    done = run(
        *("recipe", *ASKED, "--length", "30e", "--seeds", "2", *extra, "--no-watch"),
        *("--model-param", "hidden=[8]", "--set", 'record=["accuracy"]', "--parallel", "4"),
    )
    assert (done.exit_code, done.stdout) == (0, "swp_1\n")
    ((_, _, _, body),) = fake.asked
    assert body == {
        "kind": "recipe",
        "name": None,
        "template": {
            "kind": "training",
            "model": {"name": "mlp", "params": {"hidden": [8]}},
            "data": {"name": "digits", "params": {}},
            "optimizer": {"name": "sgd", "params": {}},
            "batch_size": 32,
            "length": {"epochs": 30},
            "record": ["accuracy"],
        },
        "find": {"name": "range_test"},
        "schedules": [{"policy": "cosine"}, {"policy": "rex"}],
        "seeds": [0, 1],
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
        "budget": {"parallel": 4},
    }
    assert isinstance(ANY_SWEEP.validate_python(body), RecipeSpec)


@pytest.mark.parametrize(
    ("length", "expected"),
    [("3000", {"iterations": 3000}), ("2.5e", {"epochs": 2.5}), ("x", None), ("3e4", None)],
)
def test_lengths_on_the_command_line(
    fake: Fake, run: Run, length: str, expected: dict[str, Any] | None
) -> None:
    fake.answers["POST /v1/sweeps"] = (201, RECIPE)
    done = run("recipe", *ASKED, "--length", length, "--no-watch")
    assert done.exit_code == (0 if expected else 2)
    if expected:
        assert fake.asked[0][3]["template"]["length"] == expected


def test_a_recipe_is_followed_through_its_steps(fake: Fake, run: Run) -> None:
    counts = {**COUNTS, "succeeded": 1, "queued": 3}
    found = {**RECIPE, "state": "running", "counts": counts}
    ended = {**found, "state": "succeeded", "counts": {**COUNTS, "succeeded": 5}, "ending": "done"}
    fake.answers["POST /v1/sweeps"] = (201, RECIPE)
    fake.answers["GET /v1/sweeps/swp_1"] = [(200, RECIPE), (200, found), (200, ended)]
    suggestion = {"base_lr": 0.02, "max_lr": 0.08123456, "fixed_lr": 0.05, "schedules": {}}
    listed = {"data": [{"result": {"suggestion": suggestion}}], "next_cursor": None}
    fake.answers["GET /v1/jobs"] = (200, listed)
    fake.answers["GET /v1/sweeps/swp_1/ranking"] = (200, RANKING)
    done = run("recipe", *ASKED, "--length", "3000")
    assert done.exit_code == 0
    told = " ".join(done.stderr.split())
    assert told.count("range test: base_lr 0.02, max_lr 0.08123, fixed_lr 0.05") == 1
    assert [path for _, path, _, _ in fake.asked].count("/v1/jobs") == 1


def test_a_recipe_that_finds_nothing_says_why(fake: Fake, run: Run) -> None:
    why = "there is nothing to go on with: [the range test failed]"
    fake.answers["GET /v1/sweeps/swp_1"] = (200, {**RECIPE, "state": "failed", "ending": why})
    empty = {**RANKING, "data": [], "trials": 0, "configurations": 0, "left_out": {"short": 1}}
    fake.answers["GET /v1/sweeps/swp_1/ranking"] = (200, empty)
    done = run("watch", "swp_1")
    assert done.exit_code == 1
    assert why in " ".join(done.stderr.split())


def test_what_is_said_of_a_recipe(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/sweeps/swp_1"] = (200, RECIPE)
    empty = {**RANKING, "data": [], "trials": 0, "configurations": 0, "left_out": {}}
    fake.answers["GET /v1/sweeps/swp_1/ranking"] = (200, empty)
    shown = lines(run("show", "swp_1").stdout)
    assert "learning rates found by range_test" in shown
    assert "compares cosine, one_cycle, each with seeds 0, 1" in shown


def test_a_preview_of_a_recipe_shows_its_steps(fake: Fake, run: Run) -> None:
    steps = [
        {"name": "range_test", "jobs": 1, "iterations": 2700, "seconds": 2.0},
        {"name": "compare", "jobs": 4, "iterations": None, "seconds": None},
    ]
    told = {"jobs": 5, "iterations": None, "seconds": None, "sample": [], "steps": steps}
    fake.answers["POST /v1/sweeps/preview"] = (200, told)
    shown = lines(run("recipe", *ASKED, "--length", "9e", "--preview").stdout)
    assert "range_test 1 2,700 0:00:02" in shown
    assert "compare 4" in shown
