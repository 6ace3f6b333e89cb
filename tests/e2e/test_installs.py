"""Each part runs with its own extra alone, in a fresh virtual environment."""

import os
import subprocess
import sys
import time
import urllib.request
import venv
from pathlib import Path

import pytest

from tests.e2e.service import eventually, free_port

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, folder: str | Path = "/", **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git tracks, or would."""
    source = tmp_path_factory.mktemp("source")
    listed = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    return source


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it would be published."""
    built = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", built, source)
    (found,) = built.glob("*.whl")
    return found


def installed(folder: Path, wheel: Path, extra: str) -> Path:
    """Python of a new virtual environment with the wheel and one extra."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    run(python, "-m", "pip", "install", "-q", "-c", constraints, f"{wheel}{extra}")
    return python


@pytest.mark.timeout(300)
def test_the_api_needs_no_torch(tmp_path: Path, wheel: Path) -> None:
    python = installed(tmp_path / "venv", wheel, "[api]")
    packages = run(python, "-m", "pip", "list", "--format=freeze").lower()
    assert "torch" not in packages
    assert "scikit-learn" not in packages
    port = str(free_port())
    environment = {
        "STEPSIZE_DATABASE_URL": f"sqlite:///{tmp_path}/stepsize.db",
        "STEPSIZE_BROKER_URL": "redis://127.0.0.1:1/0",
        "STEPSIZE_PORT": port,
    }
    stepsize = tmp_path / "venv" / "bin" / "stepsize"
    run(stepsize, "migrate", **environment)
    server = subprocess.Popen([str(stepsize), "api"], env=os.environ | environment, cwd=tmp_path)
    try:
        url = f"http://127.0.0.1:{port}"

        def page(path: str) -> bytes:
            with urllib.request.urlopen(url + path, timeout=5) as answer:
                body: bytes = answer.read()
                return body

        def alive() -> bool:
            try:
                return bool(page("/healthz"))
            except OSError:
                return False

        eventually(alive)
        assert b"stepsize" in page("/")
        assert b"swagger" in page("/docs").lower()
        assert b'"data":[]' in page("/v1/jobs")
        answer = run(stepsize, "jobs", "--json", STEPSIZE_URL=url)
        assert "data" in answer or answer.strip() == "[]"
    finally:
        server.terminate()
        server.wait(timeout=10)


@pytest.mark.timeout(300)
def test_the_client_needs_neither_server_nor_torch(tmp_path: Path, wheel: Path) -> None:
    python = installed(tmp_path / "venv", wheel, "")
    packages = run(python, "-m", "pip", "list", "--format=freeze").lower()
    for absent in ("torch", "fastapi", "sqlalchemy", "celery", "redis", "matplotlib"):
        assert f"{absent}==" not in packages, absent
    assert "range-test" in run(tmp_path / "venv" / "bin" / "stepsize", "--help")
    start = time.perf_counter()
    run(python, "-c", "from stepsize import Client; Client()")
    assert time.perf_counter() - start < 10
