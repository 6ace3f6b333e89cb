"""docs/client.md, followed word for word: its Python in a notebook, its commands in a shell."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stepsize import Client, range_test
from tests.documents import with_words
from tests.e2e.test_up import Up, started

NOTEBOOK = """
import json, sys
import nbformat
from nbclient import NotebookClient
cells = [nbformat.v4.new_code_cell(each) for each in json.load(sys.stdin)]
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
print(json.dumps([cell.outputs for cell in notebook.cells]))
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with started(tmp_path_factory.mktemp("up") / "data") as service:
        yield service


def environment(up: Up) -> dict[str, str]:
    # the command of these tests' own environment
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MPLBACKEND": "agg"}
    return {**os.environ, **quiet, "PATH": path, "STEPSIZE_URL": up.url}


def html_of(outputs: list[dict[str, Any]]) -> str:
    return "".join("".join(each.get("data", {}).get("text/html", "")) for each in outputs)


def text_of(outputs: list[dict[str, Any]]) -> str:
    return "".join("".join(each.get("text", "")) for each in outputs)


def test_the_python_runs_in_a_notebook(up: Up, tmp_path: Path, texts: list[str]) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK],
        input=json.dumps(texts),
        check=False,
        env=environment(up),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    cells = json.loads(done.stdout.splitlines()[-1])
    outputs = dict(zip(texts, cells, strict=True))

    def of(words: str) -> list[dict[str, Any]]:
        (found,) = [each for block, each in outputs.items() if words in block]
        return found

    first = of("test = test.wait(progress=True)")
    assert first[0]["output_type"] == "display_data"  # the bar, in its place
    assert "succeeded" in html_of(first[:1])
    assert html_of(first).count("<svg") == 2  # the bar's, and the job's
    for words in ("test.plot()", 'job.plot("training.png")', 'both.plot(along="epoch")'):
        shown = of(words)[-1]["data"]
        assert ("image/png" in shown) or "<svg" in "".join(shown["text/html"]), words
    assert "finished" in text_of(of("job.events"))
    assert "val_accuracy" in html_of(of("checked"))
    assert "/batch_size" in html_of(of("both.to_pandas"))
    assert html_of(of("rates.to_pandas")[-1:]).count("job_") == 3
    assert "The best is" in html_of(of("rates.ranking()"))
    assert "share" in html_of(of("rates.importance()"))
    assert "median" in html_of(of("rates.marginals("))
    said = text_of(of("nightly"))
    assert said.startswith("True\n")
    assert "/batch_size" in said
    assert (tmp_path / "training.png").stat().st_size > 10_000
    for cell in cells:
        assert not [each for each in cell if each.get("name") == "stderr"], cell


def test_the_commands_run_in_a_shell(up: Up, tmp_path: Path, texts: list[str]) -> None:
    spec, *commands = texts
    (tmp_path / "training.yaml").write_text(spec)
    if any(not _installed(name) for name in ("tensorboard", "mlflow")):
        commands = commands[:1]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(commands)],
        check=False,
        env=environment(up),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "validation accuracy" in done.stdout
    assert "/length/cycles" in done.stdout
    assert (tmp_path / "longer.png").stat().st_size > 10_000
    if len(commands) > 1:
        assert len(list((tmp_path / "runs").glob("*/events*"))) == 2
        assert (tmp_path / "mlflow.db").exists()


COMPLETED = """
offered() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _stepsize_completion "$1"
    echo "${COMPREPLY[@]}"
}
offered stepsize sweep-
offered stepsize range-test --batch
offered stepsize watch job_
"""


def test_the_shell_completes_what_was_typed(up: Up, tmp_path: Path, texts: list[str]) -> None:
    (both,) = texts
    with Client(up.url) as client:
        job = client.submit(range_test("mlp", "digits", "sgd", batch_size=32, repeats=1))
        client.cancel(job)
    environ = environment(up) | {"HOME": str(tmp_path)}
    install, here = both.splitlines()
    done = subprocess.run(
        ["bash", "-euc", f"{{ {install}\n}} >&2\nsource ~/.bashrc\n{here}\n{COMPLETED}"],
        check=False,
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    commands, options, ids = done.stdout.splitlines()
    assert {"sweep-ranking", "sweep-pick"} <= set(commands.split())
    assert options == "--batch-size"
    assert job.id in ids.split()


def _installed(name: str) -> bool:
    script = f"import {name}"
    return subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_pandas_reads_the_csv_as_it_is(up: Up, tmp_path: Path) -> None:
    (spec,) = with_words("docs/client.md", "kind: training")
    (tmp_path / "training.yaml").write_text(spec.text)
    script = (
        "id=$(stepsize submit training.yaml); stepsize watch $id >&2;"
        " stepsize series $id --names loss,lr -o rows.csv"
    )
    subprocess.run(["bash", "-euc", script], check=True, env=environment(up), cwd=tmp_path)
    frame = pd.read_csv(tmp_path / "rows.csv")
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "iteration": "int64",
        "loss": "float64",
        "lr": "float64",
    }
    assert frame["iteration"].tolist() == list(range(len(frame)))
    assert len(frame) > 100
