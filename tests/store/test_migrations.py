"""The migrations make the tables that the code expects, on both databases."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from migrations.run import downgrade, newest, upgrade
from store.database import Sessions
from store.tables import metadata


def test_schema_and_code_do_not_drift(sessions: Sessions) -> None:
    with sessions.read() as tx:
        options = {"compare_type": False}  # Instant is a BigInteger to the database
        found = compare_metadata(MigrationContext.configure(tx, opts=options), metadata)
        indexes = {index["name"] for index in inspect(tx).get_indexes("jobs")}
    assert found == []
    assert {"ix_jobs_claim", "ix_jobs_expiry"} <= indexes


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


def test_upgrade_twice_is_harmless(sessions: Sessions) -> None:
    assert upgrade(sessions) == newest()
