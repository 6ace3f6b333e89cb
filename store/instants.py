"""Points in time as the databases keep them: whole microseconds since 1970, UTC.

One integer type on both databases keeps comparison, arithmetic and indexes the same, and
`now()` is the database's own clock, so that hosts need not agree about theirs.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, type_coerce
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, stored as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - the interface
        """To the database."""
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the interface
        """From the database."""
        return None if value is None else _EPOCH + value * _MICROSECOND


class now(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it is
    """The database's clock at the start of the statement."""

    type = Instant()
    inherit_cache = True


@compiles(now, "sqlite")
def _sqlite_now(element: now, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ARG001 - the interface
    return (
        "(CAST(strftime('%s','now') AS INTEGER) * 1000000"
        " + CAST(substr(strftime('%f','now'), 4) AS INTEGER) * 1000)"
    )


@compiles(now, "postgresql")
def _postgresql_now(element: now, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ARG001 - the interface
    # clock_timestamp() is volatile and would keep the planner from using an index
    return "CAST(extract(epoch FROM statement_timestamp()) * 1000000 AS BIGINT)"


def from_now(delay: timedelta) -> ColumnElement[Any]:
    """The database's clock plus `delay`."""
    return type_coerce(now(), BigInteger) + delay // _MICROSECOND
