"""Packages of one's own in the whole service: the example, and what the page leads to."""

import os
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from stepsize import Client
from tests.e2e.service import eventually, free_port

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "stepsize-example"

OFFLINE = {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1"}
"""pip installs what is there, with the tools that are there; 0 is its way to say no isolation."""


def run(command: list[str], *, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, **OFFLINE, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment_in(folder: Path) -> dict[str, str]:
    """A virtual environment where stepsize is installed: it looks into the one of the tests."""
    venv.create(folder, with_pip=True)
    (site,) = folder.glob("lib/python*/site-packages")
    ours = next(each for each in sys.path if each.endswith("site-packages"))
    # the one that comes with Python's pip is older than the packages ask for, and would be first
    run([str(folder / "bin" / "pip"), "uninstall", "-q", "-y", "setuptools"], cwd=folder)
    lines = [str(ROOT), f"import site; site.addsitedir({ours!r})"]
    (site / "stepsize-of-the-tests.pth").write_text("\n".join(lines))
    command = folder / "bin" / "stepsize"
    command.write_text(f'#!/bin/sh\nexec {folder}/bin/python -m stepsize "$@"\n')
    command.chmod(0o755)
    port = str(free_port())
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {
        "PATH": path,
        "VIRTUAL_ENV": str(folder),
        "STEPSIZE_PORT": port,
        "STEPSIZE_URL": f"http://127.0.0.1:{port}",
        "COLUMNS": "200",
        "OMP_NUM_THREADS": "1",
    }


@contextmanager
def up(command: list[str], *, cwd: Path, environment: Mapping[str, str]) -> Iterator[Client]:
    """The service until the block ends, in its own folder."""
    errors = cwd / "up.log"
    with errors.open("w") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=log, stderr=log, cwd=cwd
        )
    try:
        with Client(environment["STEPSIZE_URL"]) as client:
            eventually(
                lambda: process.poll() is not None or "stepsize is ready" in errors.read_text(),
                within=90,
            )
            assert process.poll() is None, errors.read_text()
            yield client
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.timeout(300)
def test_from_a_template_to_a_range_test_as_the_page_says(tmp_path: Path, texts: list[str]) -> None:
    environment = environment_in(tmp_path / "venv")
    installing, making, starting, asking = texts
    assert installing == "pip install 'stepsize[embedded]'\n"  # which is what the venv stands for
    said = run(["bash", "-euc", making], cwd=tmp_path, **environment)
    assert said.count("goes on from a checkpoint as if it had never stopped") == 2
    own_tests = ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "my-lab/tests"]
    assert "2 passed" in run(own_tests, cwd=tmp_path, **environment)
    with up(["bash", "-euc", f"exec {starting}"], cwd=tmp_path, environment=environment) as client:
        said = run(["bash", "-euc", asking], cwd=tmp_path, **environment)
        assert "max_lr" in said
        (job,) = client.jobs()
        assert job.spec["model"] == {"name": "my-lab-net", "params": {"width": 32}}
        assert job.succeeded


@pytest.mark.timeout(300)
def test_the_example_runs_a_range_test_in_the_service(tmp_path: Path) -> None:
    environment = environment_in(tmp_path / "venv")
    wheels, source = tmp_path / "wheels", tmp_path / "source"
    for path in EXAMPLE.rglob("*"):
        if path.suffix in {".py", ".toml", ".md"}:
            (source / path.relative_to(EXAMPLE)).parent.mkdir(parents=True, exist_ok=True)
            (source / path.relative_to(EXAMPLE)).write_bytes(path.read_bytes())
    run(["pip", "wheel", "-q", "-w", str(wheels), str(source)], cwd=tmp_path, **environment)
    (wheel,) = wheels.glob("*.whl")
    run(["pip", "install", "-q", str(wheel)], cwd=tmp_path, **environment)
    tests = ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(source / "tests")]
    assert "3 passed" in run(tests, cwd=tmp_path, **environment)
    with up(["stepsize", "up"], cwd=tmp_path, environment=environment) as client:
        spec = yaml.safe_load((EXAMPLE / "range_test.yaml").read_text())
        job = client.wait(client.submit(spec), timeout=120)
        assert job.succeeded, job.error
        detail = client.job(job.id)
        assert detail.spec["criterion"] == {"name": "focal", "params": {"gamma": 1.0}}
        listed = run(["stepsize", "plugin", "list"], cwd=tmp_path, **environment)
        assert "optimizer lion (stepsize-example 0.1.0)" in listed
