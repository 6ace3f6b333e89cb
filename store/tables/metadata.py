"""What all tables have in common."""

from sqlalchemy import MetaData

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    },
)


def one_of(column: str, values: list[str]) -> str:
    """The rule that a column has one of these values."""
    return f"{column} IN ({', '.join(repr(value) for value in sorted(values))})"
