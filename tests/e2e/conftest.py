"""One deployment of real processes per module and database; workers are the tests' own."""

from collections.abc import Iterator

import pytest

from tests.e2e.service import Service, deployed


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    url = f"sqlite:///{folder / 'stepsize.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    with deployed(folder, url) as running:
        yield running
