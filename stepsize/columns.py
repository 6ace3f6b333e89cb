"""Parameters and values as columns of text, for terminals and files."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any


def names(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Every key that some row has, in the order in which they are found."""
    return list(dict.fromkeys(name for row in rows for name in row))


def short(pointers: Sequence[str]) -> list[str]:
    """The last part of each, where that says which it is."""
    last = [pointer.rpartition("/")[2] for pointer in pointers]
    return [
        pointer if last.count(name) > 1 or name.isdigit() else name
        for pointer, name in zip(pointers, last, strict=True)
    ]


def number(value: object) -> str:
    """A value in few letters; nothing where there is none."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(plain(value))


def plain(value: object) -> object:
    """What is no number or text is JSON."""
    keep = value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))
    return value if keep else json.dumps(value)


def as_csv(rows: Sequence[dict[str, Any]], titles: Sequence[str] | None = None) -> str:
    """Rows of the same or of different keys; every digit is there."""
    out = io.StringIO()
    columns = names(rows) if titles is None else titles
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: plain(value) for name, value in row.items()})
    return out.getvalue()
