"""A client in another language, whose types come from openapi.json alone, talks to the service."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from store.database import connect
from tests.documents import run_by
from tests.e2e.service import Service
from tests.factories import claimed, queued, record, rows

CONTRACT = Path(__file__).parents[2] / "openapi.json"
SOURCES = Path(__file__).parent / "typescript"
OFFLINE = ("EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "ENOTFOUND", "ETIMEDOUT")
"""What npm says where there is no network."""

pytestmark = [
    pytest.mark.timeout(300),
    # the client cannot tell databases apart
    pytest.mark.parametrize("service", ["sqlite"], indirect=True),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, with the packages of its lock file, and types made from the contract."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("the client in TypeScript needs node and npm (Debian packages nodejs, npm)")
    folder = tmp_path_factory.mktemp("typescript")
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    packages = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    installed = subprocess.run(packages, cwd=folder, capture_output=True, text=True, check=False)
    if any(sign in installed.stderr for sign in OFFLINE):
        pytest.skip("the client in TypeScript needs a network, for packages of npm")
    assert installed.returncode == 0, installed.stderr
    shutil.copy(CONTRACT, folder)
    (block,) = run_by("tests/e2e/test_typescript.py::project")
    npx, program, *arguments = shlex.split(block.text)
    assert npx == "npx"  # which runs what has been installed
    run(folder, program, *arguments)
    return folder


def run(folder: Path, program: str, *arguments: str) -> str:
    local = folder / "node_modules" / ".bin" / program
    command = [str(local) if local.exists() else program, *arguments]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, f"{program}:\n{found.stdout}{found.stderr}"
    return found.stdout


def test_a_generated_client_compiles_and_works(project: Path, service: Service) -> None:
    run(project, "tsc")
    sessions = connect(service.database_url)
    job = queued(sessions)
    record(sessions, claimed(sessions), 20, rows(0, 20))
    sessions.close()

    url = f"http://127.0.0.1:{service.port}"
    told = json.loads(run(project, "node", "built/client.js", url, job.id))

    first, again, second = told["ids"]
    assert first == again != second
    assert told["verbs"] == ["submit"]
    assert told["state"] == "queued"
    assert told["unchanged"] == 304
    assert told["listed"] == [second, first]
    assert told["columns"]["iteration"][0] == 0
    assert told["columns"]["loss"][-1] == 1
    assert told["csv"].splitlines()[:2] == ["iteration,loss,lr", "0,1,1"]
    assert told["refused"] == 422
    assert told["pointers"] == ["/schedule/max_lr"]
    assert told["missing"] == "there is no job job_0"
