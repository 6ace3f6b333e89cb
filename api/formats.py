"""Rows of a series as CSV, Arrow and Parquet, page by page, so that no answer has to fit memory."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from store.series import Rows

JSON = "application/json"


class _Writer(Protocol):
    def write_table(self, table: pa.Table) -> None: ...

    def close(self) -> None: ...


class _Pipe(io.RawIOBase):
    """What a writer has written since it was last asked for."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def drain(self) -> bytes:
        found = b"".join(self._parts)
        self._parts.clear()
        return found


def _arrow(pipe: _Pipe, schema: pa.Schema) -> _Writer:
    writer: _Writer = pa.ipc.new_stream(pipe, schema)
    return writer


def _parquet(pipe: _Pipe, schema: pa.Schema) -> _Writer:
    writer: _Writer = parquet.ParquetWriter(pipe, schema, compression="zstd")
    return writer


def _csv(pipe: _Pipe, schema: pa.Schema) -> _Writer:
    options = csv.WriteOptions(quoting_style="none", quoting_header="none")
    writer: _Writer = csv.CSVWriter(pipe, schema, write_options=options)
    return writer


WRITERS: dict[str, Callable[[_Pipe, pa.Schema], _Writer]] = {
    "text/csv": _csv,
    "application/vnd.apache.arrow.stream": _arrow,
    "application/vnd.apache.parquet": _parquet,
}

SHORT = {
    JSON: "json",
    "text/csv": "csv",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.apache.parquet": "parquet",
}
"""Names of the types in an ETag."""

SERVED = (JSON, *WRITERS)

_BINARY = {"schema": {"type": "string", "format": "binary"}}
DESCRIBED = {
    "text/csv": {
        "schema": {"type": "string"},
        "example": "iteration,loss,lr\n0,2.31,0.01\n1,2.27,0.0145\n",
    },
    "application/vnd.apache.arrow.stream": _BINARY,
    "application/vnd.apache.parquet": _BINARY,
}
"""What is served besides JSON, for the contract."""


def media(accept: str) -> str | None:
    """The first type the client names that is served; weights are ignored. None: there is none."""
    for each in (accept or "*/*").split(","):
        name = each.split(";")[0].strip().lower()
        if name in {"*/*", "application/*"}:
            return JSON
        if name in SERVED:
            return name
    return None


def written(
    pages: Iterable[Rows], media: str, *, metadata: Mapping[str, str] | None = None
) -> Iterator[bytes]:
    """The bytes of pages of one series in one of the WRITERS' types, at least one page.

    `metadata` is the schema's, which CSV has no place for.
    """
    pipe = _Pipe()
    writer: _Writer | None = None
    schema: pa.Schema | None = None
    for page in pages:
        table = _table(page, wide=media == "text/csv")
        if writer is None:
            schema = table.schema.with_metadata(dict(metadata or {}) or None)
            writer = WRITERS[media](pipe, schema)
        # what a job recorded has the same types all along, but for a page without rows
        writer.write_table(table.cast(schema))
        yield pipe.drain()
    if writer is not None:
        writer.close()
        yield pipe.drain()


def _table(rows: Rows, *, wide: bool) -> pa.Table:
    """Columns of a page; `wide` ones are doubles: a float32's digits read back as another."""
    columns = {
        name: values.astype(np.float64) if wide else values for name, values in rows.columns.items()
    }
    return pa.table({"iteration": rows.iteration, **columns})
