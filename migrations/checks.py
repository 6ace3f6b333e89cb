"""Changes CHECK constraints, which ALTER TABLE does on PostgreSQL alone."""

from alembic import op
from sqlalchemy import Connection, text


def replace(table: str, name: str, before: str, after: str) -> None:
    """Gives the constraint `name` another condition."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        _rewrite(connection, table, _written(name, before), _written(name, after))
        return
    op.drop_constraint(op.f(name), table, type_="check")
    op.create_check_constraint(op.f(name), table, after)


def add(table: str, name: str, condition: str, *, beside: tuple[str, str]) -> None:
    """Adds a constraint; `beside` are name and condition of one that the table has."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        there = _written(*beside)
        _rewrite(connection, table, there, f"{there}, {_written(name, condition)}")
        return
    op.create_check_constraint(op.f(name), table, condition)


def drop(table: str, name: str, condition: str) -> None:
    """Takes a constraint away."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        _rewrite(connection, table, f", {_written(name, condition)}", "")
        return
    op.drop_constraint(op.f(name), table, type_="check")


def _written(name: str, condition: str) -> str:
    return f"CONSTRAINT {name} CHECK ({condition})"


def _rewrite(connection: Connection, table: str, before: str, after: str) -> None:
    """Edits the text of a table's definition, as sqlite.org/lang_altertable.html describes it.

    Nothing about the stored rows changes. A copy of the table would have to delete the original,
    and with it whatever refers to its rows.
    """
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema=ON")
    changed = connection.execute(
        text(
            "UPDATE sqlite_master SET sql = replace(sql, :before, :after)"
            " WHERE type = 'table' AND name = :name AND instr(sql, :before) > 0"
        ),
        {"name": table, "before": before, "after": after},
    )
    if changed.rowcount != 1:
        raise LookupError(f"table {table} has no {before}")
    connection.exec_driver_sql(f"PRAGMA schema_version={version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema=OFF")
