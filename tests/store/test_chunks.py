"""The chunk format: what goes in comes out to the bit, and damage is noticed."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from store.chunks import Chunk, DamagedChunkError, decode, encode

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


def test_another_version_is_refused() -> None:
    stored = bytearray(encode(Chunk("train", 0, 0, {"lr": np.ones(3)})))
    stored[3] = 2
    with pytest.raises(DamagedChunkError, match="version 1"):
        decode(bytes(stored))


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
