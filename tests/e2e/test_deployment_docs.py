"""The commands of docs/deployment.md, where `docker` only writes down what it was asked for.

The services that it would start are a broker and an API of this machine, on PostgreSQL.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from stepsize import Client
from tests.compose import SERVICES
from tests.e2e.service import Service

ADDRESS = "http://127.0.0.1:8000"
NAME = "deployment_docs"
DOCKER = """#!/bin/bash
printf '%s\\n' "${*@Q}" >> "$ASKED"
"""
TAKES_SERVICES = {"up", "ps"}


@dataclass
class Machine:
    """A folder with what the page writes there, and the service that it leads to."""

    folder: Path
    service: Service

    @property
    def url(self) -> str:
        return ADDRESS.replace("8000", str(self.service.port))

    def shell(self, script: str) -> str:
        """What the commands print, with the address of the service in place of the page's."""
        port = str(self.service.port)
        python = Path(sys.executable).parent
        tools = (self.folder / "bin", python, os.environ["PATH"])
        variables = {
            "PATH": os.pathsep.join(map(str, tools)),
            "ASKED": str(self.folder / "asked"),
            "STEPSIZE_URL": self.url,
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace(":8000", f":{port}")],
            check=False,
            env=os.environ | variables,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def asked(self) -> list[list[str]]:
        """What docker has been asked for since the last look: subcommands with their words."""
        file = self.folder / "asked"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [compose(shlex.split(line)) for line in lines]


def compose(words: list[str]) -> list[str]:
    """The subcommand and its words; what is no service of the file is an error."""
    assert words.pop(0) == "compose"
    if words[0] == "--profile":
        assert words[1] in {"gpu", "watching"}
        words = words[2:]
    verb, *rest = words
    assert verb in TAKES_SERVICES, words
    assert {word for word in rest if not word.startswith("-")} <= SERVICES.keys(), words
    return words


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, postgresql_url: str) -> Iterator[Machine]:
    if "host" not in parse_qs(urlsplit(postgresql_url).query):
        pytest.skip("the page's commands are run against the PostgreSQL of the wheel alone")
    if missing := [name for name in ("curl", "openssl") if shutil.which(name) is None]:
        pytest.skip(f"the page's commands need {' and '.join(missing)}")
    with psycopg.connect(postgresql_url, autocommit=True) as made:
        made.execute(f"CREATE ROLE {NAME} LOGIN SUPERUSER")
        made.execute(f"CREATE DATABASE {NAME} OWNER {NAME}")
    folder = tmp_path_factory.mktemp("machine")
    (folder / "bin").mkdir()
    (folder / "bin" / "docker").write_text(DOCKER)
    (folder / "bin" / "docker").chmod(0o755)
    url = postgresql_url.replace("postgres@/postgres", f"{NAME}@/{NAME}")
    assert url != postgresql_url
    service = Service(tmp_path_factory.mktemp("service"), url)
    try:
        service.migrate()
        service.start_broker()
        yield Machine(folder, service)
    except BaseException as error:
        error.add_note(service.logs())
        raise
    finally:
        service.stop()
        with psycopg.connect(postgresql_url, autocommit=True) as made:
            made.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
            made.execute(f"DROP ROLE {NAME}")


def test_the_page_is_followed_from_the_first_start_to_the_last(
    machine: Machine, texts: list[str]
) -> None:
    first_start, watching, keys = texts

    write, up, rest = first_start.partition("docker compose up -d --build\n")
    machine.shell(write + up)
    secrets = {each.name: each for each in (machine.folder / "secrets").iterdir()}
    assert (machine.folder / "secrets").stat().st_mode & 0o777 == 0o700
    assert secrets.keys() >= {"database_password", "api_key", "grafana_password", "metrics_key"}
    key = secrets["api_key"].read_text().strip()
    machine.service.start_api(STEPSIZE_API_KEY_FILE=str(secrets["api_key"]))
    assert json.loads(machine.shell(rest)) == {"data": []}
    assert machine.asked() == [["up", "-d", "--build"], ["ps"]]

    machine.shell(watching)
    assert machine.asked() == [["up", "-d"]]
    with Client(machine.url, secrets["metrics_key"].read_text().strip()) as client:
        assert client.whoami().scopes == ["read"]

    *made, revoke = keys.splitlines(keepends=True)
    export = f"export STEPSIZE_API_KEY={key}\n"
    assert "prometheus" in machine.shell(export + "".join(made))
    with Client(machine.url, key) as client:
        owners = {each.name: (each.owner, each.scopes) for each in client.keys.list()}
        assert owners["ada"] == ("ada", ["read", "write"])
        assert owners["ada-ci"] == ("ada", ["write"])
        assert owners["prometheus"][1] == ["read"]
        (ada,) = [each.id for each in client.keys.list() if each.name == "ada"]
        machine.shell(export + revoke.replace("key_...", ada))
        assert ada not in [each.id for each in client.keys.list()]
