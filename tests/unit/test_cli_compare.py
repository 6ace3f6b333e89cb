"""The commands that look at several jobs, open the dashboard, complete ids, and export."""

import json
import os
import webbrowser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from stepsize import commands_compare, commands_export
from stepsize.cli import EPILOG, app
from stepsize.following import any_ids, job_ids
from tests.recorded import Recorded, falling, range_test, training
from tests.unit.conftest import Fake, Run


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    recorded = Recorded()
    recorded.add(training("job_1"), [falling(300)])
    recorded.add(training("job_2", spec={"seed": 7, "batch_size": 64}), [falling(300, noise=1)])
    recorded.add(range_test("job_3"), [falling(100)], [falling(90)])
    for module in (commands_compare, commands_export):
        monkeypatch.setattr(module, "Client", recorded.client)
    return recorded


def test_compare_prints_what_differs_and_what_came_out(server: Recorded, run: Run) -> None:
    done = run("compare", "job_1", "job_2")
    assert done.exit_code == 0, done.output
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert rows["job"] == ["job_1", "job_2"]
    assert rows["/batch_size"] == ["32", "64"]
    assert rows["val_accuracy"] == ["0.9", "0.9"]
    assert "/optimizer/name" not in rows
    assert "│" not in done.stdout  # a chart is for terminals


def test_compare_in_json_has_a_row_for_each_job(server: Recorded, run: Run, tmp_path: Path) -> None:
    done = run("compare", "job_1", "job_2", "--json", "--plot", str(tmp_path / "both.png"))
    assert [row["/batch_size"] for row in json.loads(done.stdout)] == [32, 64]
    assert (tmp_path / "both.png").exists()


def test_compare_draws_in_a_terminal(
    server: Recorded, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(force_terminal=True, width=80, highlight=False)
    monkeypatch.setattr(commands_compare, "output", console)
    with console.capture() as drawn:
        done = run("compare", "job_1", "job_2", "--along", "epoch")
    assert done.exit_code == 0, done.output
    assert "loss by epoch" in drawn.get()
    assert drawn.get().count("│") > 10


def test_a_sweep_stands_for_its_jobs(
    server: Recorded, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.client()
    found = {"swp_1": ["job_2", "job_1"], "swp_2": [], "swp_3": [f"job_{i}" for i in range(60)]}

    def jobs(*, sweep: str, limit: int) -> list[Any]:
        known = [training(job) for job in found[sweep]][:limit]
        return [client.job("job_1").model_copy(update={"id": each["id"]}) for each in known]

    monkeypatch.setattr(client, "jobs", jobs)
    assert commands_compare.jobs_of(client, ["job_1", "swp_1"]) == ["job_1", "job_2"]
    with pytest.raises(Exception, match="has no jobs yet"):
        commands_compare.jobs_of(client, ["swp_2"])
    with pytest.raises(Exception, match="more than 50 jobs"):
        commands_compare.jobs_of(client, ["swp_3"])


def test_open_prints_the_address(
    server: Recorded, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands_compare, "opened", lambda _: False)
    done = run("open", "job_1")
    assert done.stdout == "http://stepsize.test/#job_1\n"
    assert "no browser here" in done.stderr
    assert json.loads(run("open", "job_1", "--json").stdout) == {
        "url": "http://stepsize.test/#job_1"
    }
    assert run("open", "job_9").exit_code == 1


def test_a_browser_of_this_terminal_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BROWSER", raising=False)
    asked: list[str] = []

    class Browser(webbrowser.BaseBrowser):
        def open(self, url: str, *_: object) -> bool:
            asked.append(url)
            return True

    def nothing() -> None:
        raise webbrowser.Error

    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser("lynx"))
    assert not commands_compare.opened("http://x")
    monkeypatch.setattr(webbrowser, "get", nothing)
    assert not commands_compare.opened("http://x")
    monkeypatch.setattr(webbrowser, "get", Browser)
    assert commands_compare.opened("http://x")
    assert asked == ["http://x"]


def test_ids_are_completed_by_the_shell(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [{**training("job_12"), "state": "running"}, training("job_2", name=None)]
    fake.answers["GET /v1/jobs"] = (200, {"data": jobs, "next_cursor": None})
    sweep = {"id": "swp_1", "state": "running", "promised": 2, "counts": {}, "name": "lr"}
    fake.answers["GET /v1/sweeps"] = (200, {"data": [sweep], "next_cursor": None})
    assert job_ids("job_1") == [("job_12", "digits (running)")]
    assert any_ids("") == [
        ("swp_1", "lr (running)"),
        ("job_12", "digits (running)"),
        ("job_2", "training (succeeded)"),
    ]
    asked = {
        "_STEPSIZE_COMPLETE": "complete_bash",
        "COMP_WORDS": "stepsize watch job_1",
        "COMP_CWORD": "2",
    }
    done = CliRunner().invoke(app, [], env={**os.environ, **asked}, prog_name="stepsize")
    assert done.stdout.split() == ["job_12"]
    monkeypatch.setenv("STEPSIZE_URL", "http://127.0.0.1:1")
    assert any_ids("") == []  # nobody is there: nothing is offered, and nothing said


def test_export_says_where_it_went(server: Recorded, run: Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    done = run("export", "job_1", "job_3", "--to", "tensorboard", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        str(tmp_path / "digits-job_1"),
        str(tmp_path / "range-test-job_3"),
    ]
    assert "job_1: 300 iterations" in done.stderr
    told = run("export", "job_1", "--to", "tensorboard", str(tmp_path), "--json").stdout
    assert json.loads(told) == {"job_1": str(tmp_path / "digits-job_1")}
    assert run("export", "job_1", "--to", "excel", "x").exit_code == 2


def test_every_exit_code_is_told() -> None:
    page = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
    for code in ("0", "1", "2", "3", "130"):
        assert f" {code} " in f" {EPILOG} ".replace(",", " ").replace("\n", " ")
        assert f"\n| {code} |" in page
