"""Runs Alembic without an ini file, on connections of the store."""

from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from store.database import Sessions


def config() -> Config:
    """Where the revisions lie."""
    found = Config()
    found.set_main_option("script_location", str(files("migrations")).replace("%", "%%"))
    return found


def upgrade(sessions: Sessions, revision: str = "head") -> str | None:
    """Brings the schema to a revision; returns the one it is at then."""
    settings = config()
    with sessions.begin() as tx:
        if tx.dialect.name == "postgresql":  # two upgrades at once: the second waits
            tx.exec_driver_sql("SELECT pg_advisory_xact_lock(7_368_539)")
        settings.attributes["connection"] = tx
        command.upgrade(settings, revision)
        return MigrationContext.configure(tx).get_current_revision()


def downgrade(sessions: Sessions, revision: str) -> None:
    """Takes the schema back to a revision (`base` for an empty database)."""
    settings = config()
    with sessions.begin() as tx:
        settings.attributes["connection"] = tx
        command.downgrade(settings, revision)


def newest() -> str | None:
    """The revision this code was written for."""
    return ScriptDirectory.from_config(config()).get_current_head()
