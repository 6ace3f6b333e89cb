"""The bytes of a chunk: thousands of rows as compressed columns (docs/series-format.md)."""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pcodec import ChunkConfig, standalone

Column = NDArray[Any]

MAGIC = b"SSC"
VERSION = 1
TYPES: tuple[np.dtype[Any], ...] = (np.dtype("f4"), np.dtype("f8"), np.dtype("i8"))

_PREFIX = struct.Struct("<3sBI")
_HEAD = struct.Struct("<QIH")
_COLUMN = struct.Struct("<BI")
_CONFIG = ChunkConfig()


class DamagedChunkError(Exception):
    """The bytes are not a chunk of a version this code reads."""


@dataclass(frozen=True)
class Chunk:
    """Rows `[start, stop)` of one series; every column has one value a row.

    `after` is the iteration of the checkpoint that all of them were recorded after, 0 for none.
    """

    series: str
    repeat: int
    start: int
    columns: Mapping[str, Column]
    after: int = 0

    @property
    def points(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))

    @property
    def iteration(self) -> NDArray[np.int64]:
        """The iteration of each row."""
        if "iteration" in self.columns:
            return self.columns["iteration"]
        return np.arange(self.start, self.start + self.points, dtype=np.int64)

    @property
    def stop(self) -> int:
        """One past the iteration of the last row."""
        if "iteration" in self.columns:
            return int(self.columns["iteration"][-1]) + 1
        return self.start + self.points


def cut(chunk: Chunk, start: int, stop: int) -> Iterator[Chunk]:
    """The chunk in parts: its rows before `start`, from there to `stop`, and after."""
    bounds = [0, *chunk.iteration.searchsorted([start, stop]).tolist(), chunk.points]
    for a, b in pairwise(bounds):
        if a == b:
            continue
        columns = {name: values[a:b] for name, values in chunk.columns.items()}
        yield replace(chunk, start=int(chunk.iteration[a]), columns=columns)


def encode(chunk: Chunk) -> bytes:
    """The bytes of a chunk, which has a row at least; the columns keep every bit."""
    if not (chunk.columns and chunk.points):
        raise ValueError("a chunk without rows is not written")
    parts = [_HEAD.pack(chunk.start, chunk.points, len(chunk.columns))]
    for name, values in chunk.columns.items():
        if len(values) != chunk.points:
            raise ValueError(f"column {name} has {len(values)} values for {chunk.points} rows")
        payload = standalone.simple_compress(np.ascontiguousarray(values), _CONFIG)
        label = name.encode()
        parts += [
            bytes([len(label)]),
            label,
            _COLUMN.pack(TYPES.index(values.dtype), len(payload)),
            payload,
        ]
    body = b"".join(parts)
    return _PREFIX.pack(MAGIC, VERSION, zlib.crc32(body)) + body


def decode(data: bytes, *, names: frozenset[str] | None = None) -> dict[str, Column]:
    """The columns of a chunk by name, or those among `names` only.

    Raises:
        DamagedChunkError: the checksum, the version or the layout is wrong.
    """
    body = check(data)
    try:
        _, points, count = _HEAD.unpack_from(body)
        columns: dict[str, Column] = {}
        offset = _HEAD.size
        for _ in range(count):
            end = offset + 1 + body[offset]
            name = bytes(body[offset + 1 : end]).decode()
            kind, size = _COLUMN.unpack_from(body, end)
            offset = end + _COLUMN.size + size
            if names is None or name in names:
                columns[name] = _column(bytes(body[offset - size : offset]), kind, points)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise DamagedChunkError(f"cut short: {error}") from error
    return columns


def check(data: bytes) -> memoryview:
    """What follows the checksum, which is right; nothing is decompressed.

    Raises:
        DamagedChunkError: the checksum or the version is wrong.
    """
    if len(data) < _PREFIX.size:
        raise DamagedChunkError("cut short: it has no header")
    magic, version, checksum = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise DamagedChunkError("not a chunk")
    if version != VERSION:
        raise DamagedChunkError(f"version {version}, where version {VERSION} is read")
    body = memoryview(data)[_PREFIX.size :]
    if zlib.crc32(body) != checksum:
        raise DamagedChunkError("checksum does not match")
    return body


def _column(payload: bytes, kind: int, points: int) -> Column:
    try:
        values = standalone.simple_decompress(payload)
    except RuntimeError as error:  # of another version of pcodec, perhaps
        raise DamagedChunkError(f"a column cannot be decompressed: {error}") from error
    if values is None or len(values) != points or values.dtype != TYPES[kind]:
        raise DamagedChunkError("a column has not the type or length it announces")
    column: Column = values
    return column
