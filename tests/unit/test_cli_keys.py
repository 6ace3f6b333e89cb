"""The commands about API keys, over HTTP and in the database itself."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import Result

from migrations.run import upgrade
from spec.access import Scope
from store import audit, keys
from store.database import Sessions, connect
from tests.unit.conftest import Fake, Run

KEY = {
    "id": "key_1",
    "name": "laptop",
    "owner": "ada",
    "prefix": "ss_0123456789ab",
    "scopes": ["read", "write"],
    "created_at": "2026-01-31T12:00:00Z",
    "expires_at": None,
    "last_used_at": "2026-02-01T12:00:00Z",
}
SECRET = "ss_0123456789ab_" + "0" * 48


@pytest.fixture(autouse=True)
def _no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEPSIZE_DATABASE_URL", raising=False)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    sessions = connect(f"sqlite:///{tmp_path / 'stepsize.db'}")
    upgrade(sessions)
    sessions.close()
    return tmp_path


def found(data_dir: Path, done: Result) -> keys.Key | None:
    sessions: Sessions = connect(f"sqlite:///{data_dir / 'stepsize.db'}")
    with sessions.read() as tx:
        key = keys.held(tx, done.stdout.strip())
        assert [each.target for each in audit.find(tx, before=None, limit=9)] == [key and key.id]
    sessions.close()
    return key


def test_a_key_is_asked_of_the_server_and_printed_alone(fake: Fake, run: Run) -> None:
    fake.answers["POST /v1/keys"] = (201, {**KEY, "secret": SECRET})
    done = run("keys", "create", "laptop", "--owner", "ada", "--days", "30")
    assert done.exit_code == 0
    assert done.stdout == f"{SECRET}\n"
    assert "key_1: read, write for ada" in done.stderr
    ((_, _, _, body),) = fake.asked
    assert body.pop("expires_at") > "2026"
    assert body == {"name": "laptop", "owner": "ada", "scopes": ["read", "write"]}
    assert json.loads(run("keys", "create", "laptop", "--json").stdout)["secret"] == SECRET


def test_keys_are_listed_and_revoked(fake: Fake, run: Run) -> None:
    fake.answers["GET /v1/keys"] = (200, {"data": [KEY]})
    listed = " ".join(run("keys", "list").stdout.split())
    assert "key_1 laptop ada ss_0123456789ab read write 2026-02-01 12:00 never" in listed
    assert json.loads(run("keys", "list", "--json").stdout)[0]["id"] == "key_1"
    fake.answers["DELETE /v1/keys/key_1"] = (204, b"")
    assert run("keys", "revoke", "key_1").stdout == "key_1 is revoked\n"
    assert run("keys", "revoke", "key_2").exit_code == 1


def test_it_is_said_who_one_is(fake: Fake, run: Run) -> None:
    me = {"owner": "ada", "name": "laptop", "key": "key_1", "scopes": ["read"]}
    fake.answers["GET /v1/session"] = (200, me)
    assert run("whoami").stdout == "laptop, read for ada\n"
    assert json.loads(run("whoami", "--json").stdout)["owner"] == "ada"


def test_the_first_key_is_made_in_the_data_directory(data_dir: Path, run: Run) -> None:
    key = found(data_dir, run("keys", "create", "root", "--data-dir", str(data_dir)))
    assert key
    assert (key.name, key.owner, key.scopes) == ("root", "root", set(Scope))


def test_or_in_the_database_of_the_environment(
    data_dir: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{data_dir / 'stepsize.db'}"
    monkeypatch.setitem(os.environ, "STEPSIZE_DATABASE_URL", url)
    key = found(data_dir, run("keys", "create", "--owner", "ada", "--scope", "read"))
    assert key
    assert (key.owner, key.scopes) == ("ada", {Scope.READ})


def test_what_cannot_be_a_key_is_said(data_dir: Path, run: Run, tmp_path: Path) -> None:
    done = run("keys", "create", "a" * 65, "--data-dir", str(data_dir))
    assert done.exit_code == 1
    assert "name: String should have at most 64 characters" in " ".join(done.stderr.split())
    done = run("keys", "create", "--data-dir", str(tmp_path / "none"))
    assert "start `stepsize up` once" in " ".join(done.stderr.split())
