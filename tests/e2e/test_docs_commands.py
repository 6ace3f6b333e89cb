"""The commands and programs of the README and of the documents, followed as they stand."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
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


def block(document: str, words: str) -> str:
    """The one block of a document in which these words are."""
    found = re.findall(
        r"^```\w*\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL
    )
    (text,) = [each for each in found if words in each]
    return str(text)


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


def test_the_readme_leads_to_bounds(up: Up, tmp_path: Path) -> None:
    first, *rest = block("README.md", "stepsize range-test").splitlines()
    assert first.startswith("stepsize up ")  # which is what runs here
    said = shell(up, tmp_path, "\n".join(rest).replace("localhost:8000", up.url))
    assert "max_lr" in said
    assert '"range_test"' in said  # what curl prints


def test_the_readme_pauses_and_goes_on(up: Up, tmp_path: Path) -> None:
    pause, resume, extend = block("README.md", "stepsize pause").splitlines()
    with Client(up.url) as client:
        job = client.submit(
            training(
                {"name": "mlp", "params": {"hidden": [8]}},
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


def test_a_sweep_is_previewed_watched_and_read(up: Up, tmp_path: Path) -> None:
    (tmp_path / "lr.yaml").write_text(block("docs/sweeps.md", "name: peak x momentum"))
    session = block("docs/sweeps.md", "$ stepsize sweep lr.yaml --preview")
    commands = re.findall(r"^\$ (.+)$", session, re.MULTILINE)
    assert len(commands) == 2
    preview, watched = (shell(up, tmp_path, command) for command in commands)
    assert preview.split()[:4] == ["jobs", "12", "iterations", "7,200"]
    # numbers are those of a machine; the words are those of the page
    head = next(line for line in session.splitlines() if line.startswith("val_accuracy"))
    assert head.split() == watched.splitlines()[0].split()
    program = block("docs/sweeps.md", 'client.sweeps.submit("lr.yaml")')
    said = run(up, tmp_path, sys.executable, "-c", program + "    print(len(frame))\n")
    assert "value=0.9" in said
    assert said.split()[-1] == "12"


def test_events_are_followed_as_the_api_page_shows(up: Up, tmp_path: Path) -> None:
    before = (
        "from stepsize import Client, End, Job, Points, training\n"
        "client, drawn = Client(), []\n"
        "job = client.submit(training('mlp', 'digits', 'sgd', batch_size=32,\n"
        "    schedule={'policy': 'constant', 'lr': 0.01}, length={'iterations': 200}))\n"
        "plot = lambda x, y: drawn.extend(x)\n"
    )
    after = "print(len(drawn))\n"
    program = before + block("docs/api.md", "client.events(job") + after
    said = run(up, tmp_path, sys.executable, "-c", program).split()
    assert said[-2:] == ["finished", "200"]
    assert "succeeded" in said
