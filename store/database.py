"""Opens the database and hands out transactions: a block is a transaction, nobody commits."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, NewType

from sqlalchemy import Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

ReadTx = NewType("ReadTx", Connection)
"""A transaction that only reads."""

WriteTx = NewType("WriteTx", ReadTx)
"""A transaction that may write; it can do whatever a reading one can."""

Unavailable = (
    exc.OperationalError,
    exc.InterfaceError,
    exc.InternalError,
    exc.ProgrammingError,
    exc.TimeoutError,
)
"""What a statement raises when the database is away, full, read-only, not migrated, or locked."""


class BadUrlError(Exception):
    """The address of the database is not one."""


_READ_ONLY = "stepsize_read_only"

KEPT_OPEN, AT_MOST = 20, 40
"""Connections of one process."""

BUSY_SECONDS = 15
"""That a writer waits for others, on SQLite."""

# Nothing waits for ever: neither for a server that has gone, nor for the lock of a process that
# was frozen in the middle of a transaction.
_POSTGRESQL = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "tcp_user_timeout": 30_000,
    "options": "-c lock_timeout=10s -c idle_in_transaction_session_timeout=60s",
}


class Sessions:
    """Transactions on one database, from any thread."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = Lock() if engine.dialect.name == "sqlite" else None
        options: dict[str, Any] = {_READ_ONLY: True}
        if engine.dialect.name == "postgresql":
            # two statements of one read see the same moment, as they do on SQLite
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reading = engine.execution_options(**options)

    @contextmanager
    def begin(self) -> Iterator[WriteTx]:
        """A transaction that writes: committed when the block ends, undone when it raises."""
        with self._turn(), self.engine.begin() as connection:
            yield WriteTx(ReadTx(connection))

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Lets the writers of this process wait for each other in order.

        SQLite has one writer, and those that find it busy sleep and look again: some starve.
        """
        if self._writing is None:
            yield
            return
        if not self._writing.acquire(timeout=BUSY_SECONDS):
            raise exc.TimeoutError(f"others have been writing for {BUSY_SECONDS} s")
        try:
            yield
        finally:
            self._writing.release()

    @contextmanager
    def read(self) -> Iterator[ReadTx]:
        """A transaction that only reads; it takes no lock."""
        with self._reading.begin() as connection:
            yield ReadTx(connection)

    @property
    def connections(self) -> tuple[int, int]:
        """How many are in use, and how many are open and wait for it."""
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)  # noqa: S101 - `connect` makes no other
        return pool.checkedout(), pool.checkedin()

    def close(self) -> None:
        """Returns every connection."""
        self.engine.dispose()


def connect(url: str) -> Sessions:
    """Sessions on a `sqlite:///` or `postgresql://` URL; connects when first used.

    Raises:
        BadUrlError: it cannot be understood.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise BadUrlError(f"STEPSIZE_DATABASE_URL cannot be understood: {error}") from error
    if parsed.drivername in {"postgresql", "postgres", "postgres+psycopg"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, pool_size=KEPT_OPEN, max_overflow=AT_MOST - KEPT_OPEN)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return Sessions(engine)
    return Sessions(
        create_engine(
            parsed,
            pool_size=KEPT_OPEN,
            max_overflow=AT_MOST - KEPT_OPEN,
            pool_pre_ping=True,
            connect_args=_POSTGRESQL,
        ),
    )


def describe(error: Exception) -> str:
    """One line about a database error, without the statement and its values."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return str(error.orig).strip().splitlines()[0]
    return str(error).strip().splitlines()[0]


def _prepare_sqlite(connection: Any, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        f"busy_timeout={1000 * BUSY_SECONDS}",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails at once when another has written
    # in between, whatever the busy timeout: those that write must say so at the start.
    reading = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
