"""The chunk format: what goes in comes out to the bit, and damage is noticed."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from store.chunks import TYPES, VERSION, Chunk, DamagedChunkError, cut, decode, encode
from tests.store.make_chunks import FIXTURES, cases

DTYPES = st.sampled_from([np.float32, np.float64, np.int64])


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    points = draw(st.integers(1, 300))
    names = draw(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4, unique=True))
    columns = {name: draw(hnp.arrays(draw(DTYPES), points)) for name in names}
    return Chunk("train", 0, draw(st.integers(0, 2**40)), columns)


@given(chunks())
def test_round_trip_keeps_every_bit(chunk: Chunk) -> None:
    found = decode(encode(chunk))
    assert found.keys() == chunk.columns.keys()
    for name, values in chunk.columns.items():
        assert found[name].dtype == values.dtype
        assert found[name].tobytes() == values.tobytes()


@st.composite
def anything(draw: st.DrawFn) -> Chunk:
    """Any bits in columns of any type and length, as arrays that need not be contiguous."""
    points = draw(st.integers(1, 20) | st.sampled_from([255, 256, 257, 5000]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    columns = {}
    for name in draw(st.lists(st.sampled_from("abcd"), min_size=1, unique=True)):
        dtype = draw(st.sampled_from(TYPES))
        rough = random.integers(0, 256, 2 * points * dtype.itemsize, np.uint8).view(dtype)
        columns[name] = rough[:: draw(st.sampled_from([1, 2, -1]))][:points]
    start = draw(st.integers(0, 2**40))
    if draw(st.booleans()):
        columns["iteration"] = start + np.cumsum(random.integers(1, 2**20, points))
        start = int(columns["iteration"][0])
    return Chunk("train", 0, start, columns)


@given(anything())
def test_round_trip_keeps_whatever_bits_there_are(chunk: Chunk) -> None:
    found = decode(encode(chunk))
    assert found.keys() == chunk.columns.keys()
    for name, values in chunk.columns.items():
        assert found[name].tobytes() == values.tobytes()


@given(anything(), st.integers(0, 6000), st.integers(0, 6000))
def test_the_parts_of_a_chunk_have_its_rows(chunk: Chunk, one: int, other: int) -> None:
    start, stop = (chunk.start + each for each in sorted([one, other]))
    found = list(cut(chunk, start, stop))
    for name, values in chunk.columns.items():
        assert b"".join(each.columns[name].tobytes() for each in found) == values.tobytes()
    assert [t for each in found for t in each.iteration.tolist()] == chunk.iteration.tolist()
    for each in found:
        assert each.start == each.iteration[0]
        assert not each.start < start < each.stop
        assert not each.start < stop < each.stop


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.bin")), ids=lambda path: path.stem)
def test_chunks_of_every_version_are_read(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text())
    stored = path.read_bytes()
    assert stored[3] == int(path.stem.split("-")[0].removeprefix("v"))
    assert struct.unpack_from("<Q", stored, 8) == (expected["start"],)
    found = decode(stored)
    assert found.keys() == expected["columns"].keys()
    for name, column in expected["columns"].items():
        values = found[name].astype(found[name].dtype.newbyteorder("<"))
        assert values.dtype.str == column["type"]
        assert values.tobytes().hex() == column["bytes"]


def test_the_version_that_is_written_has_been_kept() -> None:
    """A new version needs chunks of its own: `python -m tests.store.make_chunks`."""
    kept = {path.stem for path in FIXTURES.glob("*.bin")}
    assert {f"v{VERSION}-{name}" for name in cases()} <= kept
    assert {name.split("-")[0] for name in kept} == {f"v{n}" for n in range(1, VERSION + 1)}


@given(chunks(), st.data())
def test_any_flipped_byte_is_noticed(chunk: Chunk, data: st.DataObject) -> None:
    stored = bytearray(encode(chunk))
    where = data.draw(st.integers(0, len(stored) - 1))
    stored[where] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DamagedChunkError):
        decode(bytes(stored))


@given(chunks(), st.data())
def test_a_chunk_cut_short_is_noticed(chunk: Chunk, data: st.DataObject) -> None:
    stored = encode(chunk)
    with pytest.raises(DamagedChunkError):
        decode(stored[: data.draw(st.integers(0, len(stored) - 1))])


def test_the_bytes_are_as_drawn() -> None:
    """docs/series-format.md, byte by byte."""
    stored = encode(Chunk("train", 0, 512, {"lr": np.array([0.5, 0.25])}))
    assert stored[:4] == b"SSC\x01"
    assert struct.unpack_from("<I", stored, 4) == (zlib.crc32(stored[8:]),)
    assert struct.unpack_from("<QIH", stored, 8) == (512, 2, 1)
    assert stored[22:26] == b"\x02lr\x01"
    assert struct.unpack_from("<I", stored, 26) == (len(stored) - 30,)


def test_a_column_that_cannot_be_decompressed_is_noticed() -> None:
    stored = encode(Chunk("train", 0, 0, {"lr": np.ones(3)}))
    body = stored[8:].replace(b"pco!", b"pco?")
    with pytest.raises(DamagedChunkError, match="cannot be decompressed"):
        decode(stored[:4] + struct.pack("<I", zlib.crc32(body)) + body)


def test_another_version_is_refused() -> None:
    stored = bytearray(encode(Chunk("train", 0, 0, {"lr": np.ones(3)})))
    stored[3] = VERSION + 1
    with pytest.raises(DamagedChunkError, match=f"version {VERSION + 1}, where version {VERSION}"):
        decode(bytes(stored))


@pytest.mark.parametrize("columns", [{}, {"loss": np.empty(0)}])
def test_a_chunk_has_a_row(columns: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="without rows"):
        encode(Chunk("train", 0, 0, columns))


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="column lr has 2 values for 3 rows"):
        encode(Chunk("train", 0, 0, {"loss": np.ones(3), "lr": np.ones(2)}))


def test_a_chunk_knows_its_iterations() -> None:
    dense = Chunk("train", 0, 7, {"loss": np.ones(3)})
    sparse = Chunk(
        "validation", 0, 300, {"iteration": np.array([300, 600]), "val_loss": np.ones(2)}
    )
    assert (dense.iteration.tolist(), dense.stop) == ([7, 8, 9], 10)
    assert (sparse.iteration.tolist(), sparse.stop) == ([300, 600], 601)
