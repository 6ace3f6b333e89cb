"""The commands and programs of the README and of the documents, followed as they stand."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from stepsize import Client, training
from tests.e2e.service import eventually
from tests.e2e.test_up import Up, started

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with started(tmp_path_factory.mktemp("up") / "data") as service:
        yield service


def sessions(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a session, and the lines that it printed."""
    found = re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)
    return [(command, printed.splitlines()) for command, printed in found]


def run(up: Up, folder: Path, *command: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        check=False,
        env={**os.environ, "PATH": path, "STEPSIZE_URL": up.url, "COLUMNS": "200"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, (command, done.stderr[-4000:])
    return done.stdout


def shell(up: Up, folder: Path, script: str) -> str:
    return run(up, folder, "bash", "-euc", script)


def test_make_has_the_two_commands(up: Up, texts: list[str]) -> None:
    (text,) = texts
    does = {}
    for line in text.splitlines():
        make, target = shlex.split(line, comments=True)
        does[target] = run(up, ROOT, make, "--dry-run", target, "VENV=/nowhere")
    assert does.keys() == {"demo", "test"}
    assert "stepsize demo --data digits" in does["demo"]
    assert "tests/e2e tests/browser" in does["test"]


def test_the_readme_pauses_and_goes_on(up: Up, tmp_path: Path, texts: list[str]) -> None:
    (text,) = texts
    pause, resume, extend = text.splitlines()
    with Client(up.url) as client:
        job = client.submit(
            training(
                # so slow that no command comes after its end
                {"name": "mlp", "params": {"hidden": [1024, 1024]}},
                "digits",
                "sgd",
                batch_size=1,
                schedule={"policy": "constant", "lr": 0.001},
                length={"epochs": 19},
            )
        )
        eventually(lambda: job.refresh().progress.iteration > 0, what="a first iteration")
        for command, done in ((pause, "paused"), (resume, "running")):
            shell(up, tmp_path, command.replace("job_…", job.id))
            eventually(lambda done=done: job.refresh().state == done, what=done)  # type: ignore[misc]
        longer = shell(up, tmp_path, extend.replace("job_…", job.id)).strip()
        assert client.job(longer).spec["length"] == {"epochs": 20}
        for each in (longer, job.id):
            client.cancel(each)
        assert job.wait(timeout=30).finished


def test_a_sweep_is_previewed_watched_and_read(up: Up, tmp_path: Path, texts: list[str]) -> None:
    spec, session, program = texts
    (tmp_path / "lr.yaml").write_text(spec)
    (preview, planned), (watch, shown) = sessions(session)
    assert shell(up, tmp_path, preview).split()[:4] == " ".join(planned[:2]).split()[:4]
    # numbers are those of a machine; the words are those of the page
    said = shell(up, tmp_path, watch)
    assert said.splitlines()[0].split() in [line.split() for line in shown]
    said = run(up, tmp_path, sys.executable, "-c", program + "    print(len(frame))\n")
    assert "value=0.9" in said
    assert said.split()[-1] == "12"


def test_a_sweep_is_judged(up: Up, tmp_path: Path, texts: list[str]) -> None:
    lr = {"policy": "triangular", "base_lr": 0.01, "step_size": 22}
    parts = {"name": "mlp", "params": {"hidden": [8]}}, "digits", "sgd"
    spec = {
        "template": training(*parts, batch_size=32, schedule=lr, length={"cycles": 1}),
        "space": {
            "/schedule/max_lr": [0.03, 0.3, 3, 30],
            "/optimizer/params/momentum": [0.8, 0.9],
            "/seed": [0, 1, 2],
        },
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
    }
    with Client(up.url) as client:
        sweep = client.sweeps.submit(spec).wait(timeout=60)
    for command, shown in sessions("".join(texts)):
        said = shell(up, tmp_path, command.replace("ID", sweep.id)).splitlines()
        head = 1 if "--together" in command else 0
        assert said[head].split() == shown[head].split(), command
        assert len(said) >= len([*takewhile(bool, shown)]), command


def test_a_setting_is_picked(up: Up, tmp_path: Path, texts: list[str]) -> None:
    spec, session = texts
    with Client(up.url) as client:
        sweep = client.sweeps.submit(json.loads(spec)).wait(timeout=60)
    ((command, shown),) = sessions(session)
    said = shell(up, tmp_path, command.replace("ID", sweep.id)).splitlines()
    assert said[0].split() == shown[0].split()
    assert {line.split()[0] for line in said[1:5]} == {"16", "32", "64", "128"}
    assert said[6].startswith("/batch_size = ")


def test_a_recipe_compares_schedules(up: Up, tmp_path: Path, texts: list[str]) -> None:
    (session,) = texts
    ((command, _),) = sessions(session)
    said = shell(up, tmp_path, command)
    for policy in ("constant", "cosine", "sgdr", "one_cycle", "triangular2"):
        assert policy in said
    assert "The best is" in said


def test_webhooks_are_made_and_looked_after(up: Up, tmp_path: Path, texts: list[str]) -> None:
    (text,) = texts
    names: dict[str, str] = {}
    for line in text.splitlines():
        command = line
        for name, value in names.items():
            command = command.replace(name, value)
        if command.startswith("stepsize webhooks test"):  # there is no hooks.example
            assert "has not arrived" in shell(up, tmp_path, f"! {command}")
            with Client(up.url) as client:
                names["msg_..."] = client.webhooks.deliveries(names["whk_..."])[0].id
            continue
        shell(up, tmp_path, command)
        if not names:
            with Client(up.url) as client:
                (made,) = client.webhooks.list()
            names["whk_..."] = made.id
            assert made.tags == {"project": "demo"}
    with Client(up.url) as client:
        assert client.webhooks.list() == []


def test_benchmarks_take_these_words(up: Up, tmp_path: Path, texts: list[str]) -> None:
    """They take hours: what is shown is that they know these commands."""
    lines = [shlex.split(line, comments=True) for text in texts for line in text.splitlines()]
    for script in {line[1] for line in lines}:
        choices = re.search(
            r"\{([\w,]+)\}\s*$",
            run(up, tmp_path, sys.executable, str(ROOT / script), "--help").split("\n\n")[0],
        )
        assert choices is not None
        wanted = {word for _, name, word in lines if name == script}
        assert wanted <= set(choices[1].split(","))


def test_events_are_followed_as_the_api_page_shows(
    up: Up, tmp_path: Path, texts: list[str]
) -> None:
    (shown,) = texts
    before = (
        "from stepsize import Client, End, Job, Points, training\n"
        "client, drawn = Client(), []\n"
        "job = client.submit(training('mlp', 'digits', 'sgd', batch_size=32,\n"
        "    schedule={'policy': 'constant', 'lr': 0.01}, length={'iterations': 200}))\n"
        "plot = lambda x, y: drawn.extend(x)\n"
    )
    after = "print(len(drawn))\n"
    program = before + shown + after
    said = run(up, tmp_path, sys.executable, "-c", program).split()
    assert said[-2:] == ["finished", "200"]
    assert "succeeded" in said
