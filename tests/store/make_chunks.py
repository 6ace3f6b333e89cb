"""Writes chunks of the current version beside what they hold, to be read by all later versions.

    python -m tests.store.make_chunks

A version that has been released is never written again: what is there stays as it is.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from store.chunks import VERSION, Chunk, Column, encode
from store.views import extremes

FIXTURES = Path(__file__).parent / "fixtures" / "chunks"

ROWS = 600


def cases() -> Mapping[str, Chunk]:
    """What the format has to carry, one chunk each."""
    t = np.arange(ROWS)
    noise = np.random.default_rng(0).random(ROWS)
    loss = (2 * np.exp(-t / 200) + 0.1 * noise).astype(np.float32)
    cosine = 0.05 * (1 + np.cos(np.pi * t / ROWS))
    kept = extremes(t, loss, 64)
    return {
        "training": Chunk("train", 0, 131_072, {"loss": loss, "lr": cosine}),
        "one-row": Chunk("train", 3, 0, {"loss": loss[:1], "lr": cosine[:1]}),
        "sparse": Chunk(
            "validation",
            0,
            300,
            {
                "iteration": np.array([300, 600, 2**40], np.int64),
                "val_loss": np.array([0.5, np.nan, 0.25]),
                "val_accuracy": np.array([0.5, 0.75, 1.0]),
            },
        ),
        "any-bits": Chunk("train", 0, 7, {"loss": bits(np.uint32), "lr": bits(np.uint64)}),
        "summary": Chunk(
            "train", 0, 0, {"iteration": t[kept], "loss": loss[kept], "lr": cosine[kept]}
        ),
    }


def bits(kind: type[np.uint32] | type[np.uint64]) -> Column:
    """Floats of that size: zeros, denormals, infinities, NaNs with payloads, of either sign."""
    size = np.dtype(kind).itemsize
    floats = np.dtype(f"f{size}")
    whole = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], floats).view(kind)
    smallest = np.array([1, 2, 12345], kind)
    payloads = whole[4] | np.array([1, 0x1234], kind)
    sign = kind(1) << kind(8 * size - 1)
    found = np.concatenate([whole, smallest, payloads])
    return np.concatenate([found, found ^ sign]).view(floats)


def described(chunk: Chunk) -> str:
    """What it holds, as JSON: bytes of the columns in hexadecimal, little-endian."""
    columns = {
        name: {"type": values.dtype.newbyteorder("<").str, "bytes": values.tobytes().hex()}
        for name, values in chunk.columns.items()
    }
    return json.dumps({"start": chunk.start, "columns": columns}, indent=1) + "\n"


def main() -> int:
    """Writes what is missing."""
    FIXTURES.mkdir(parents=True, exist_ok=True)
    for name, chunk in cases().items():
        target = FIXTURES / f"v{VERSION}-{name}.bin"
        if target.exists():
            print(f"{target.name} is there, and stays as it is")  # noqa: T201 - for who runs it
            continue
        target.write_bytes(encode(chunk))
        target.with_suffix(".json").write_text(described(chunk))
    return 0


if __name__ == "__main__":
    sys.exit(main())
