"""The migrations make the tables that the code expects, on both databases."""

import numpy as np
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from migrations.run import downgrade, newest, upgrade
from spec.states import State
from store import leases, series
from store.chunks import Chunk
from store.database import Sessions
from store.leases import Progress
from store.tables import metadata
from tests.factories import LEASE, claimed, queued, stored


def test_schema_and_code_do_not_drift(sessions: Sessions) -> None:
    with sessions.read() as tx:
        options = {"compare_type": False}  # Instant is a BigInteger to the database
        found = compare_metadata(MigrationContext.configure(tx, opts=options), metadata)
        indexes = {index["name"] for index in inspect(tx).get_indexes("jobs")}
    assert found == []
    assert {"ix_jobs_claim", "ix_jobs_expiry", "ix_jobs_siblings"} <= indexes


def test_check_constraints_are_in_the_database(sessions: Sessions) -> None:
    with sessions.read() as tx:
        found = {each["name"] for each in inspect(tx).get_check_constraints("jobs")}
    expected = {each.name for each in metadata.tables["jobs"].constraints if each.name}
    assert {name for name in expected if str(name).startswith("ck_")} <= found


def test_down_and_up_again(sessions: Sessions) -> None:
    downgrade(sessions, "base")
    with sessions.read() as tx:
        assert set(inspect(tx).get_table_names()) <= {"alembic_version"}
    assert upgrade(sessions) == newest()


def test_jobs_and_what_they_recorded_survive_a_step_down_and_up(sessions: Sessions) -> None:
    job = queued(sessions, population=True)
    lease = claimed(sessions)
    chunk = Chunk("train", 0, 0, {"loss": np.ones(3, np.float32)})
    with sessions.begin() as tx:
        leases.record(tx, [Progress(lease, 3, [chunk])], extend=LEASE)
    downgrade(sessions, "0001")
    with sessions.read() as tx:
        assert "population" not in {each["name"] for each in inspect(tx).get_columns("jobs")}
    assert upgrade(sessions) == newest()
    after = stored(sessions, job.id)
    assert (after.state, after.iteration, after.population) == (State.RUNNING, 3, None)
    with sessions.read() as tx:
        assert [each.count for each in series.summary(tx, job.id)] == [3]


def test_upgrade_twice_is_harmless(sessions: Sessions) -> None:
    assert upgrade(sessions) == newest()
