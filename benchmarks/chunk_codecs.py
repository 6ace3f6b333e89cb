"""What one chunk of a series costs in bytes and time, by codec."""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray
from pcodec import ChunkConfig, standalone
from rich.console import Console
from rich.table import Table

from schedules import Triangular

Array = NDArray[Any]


def shuffled_zstd(values: Array) -> bytes:
    """Bytes of equal rank side by side, then zstd at its default level."""
    planes = values.view(np.uint8).reshape(len(values), -1).T
    return zstandard.compress(np.ascontiguousarray(planes).tobytes())


def unshuffled(data: bytes, like: Array) -> Array:
    """The inverse of shuffled_zstd."""
    planes = np.frombuffer(zstandard.decompress(data), np.uint8).reshape(like.itemsize, -1)
    return np.ascontiguousarray(planes.T).view(like.dtype).ravel()


def timed(work: Callable[[], Any], rounds: int) -> float:
    """Median seconds of a call."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=8192, help="iterations in the chunk")
    parser.add_argument("--rounds", type=int, default=50, help="timings to take the median of")
    options = parser.parse_args()

    n = options.points
    t = np.arange(n)
    noise = np.random.default_rng(0).random(n)
    schedule = Triangular(base_lr=0.001, max_lr=0.006, step_size=600)
    columns = {
        "loss, float32": (2 * np.exp(-t / 2000) + 0.1 * noise).astype(np.float32),
        "lr, float64, triangular": schedule.lr_at(t, iterations=n),
    }
    table = Table(title=f"one column of {n:,} iterations")
    for heading in ("column", "codec", "bytes/point", "encode, M points/s", "decode, M points/s"):
        table.add_column(heading, justify="left" if heading in {"column", "codec"} else "right")
    for name, values in columns.items():
        config = ChunkConfig()
        codecs: dict[str, tuple[Callable[[], bytes], Callable[[bytes], Array]]] = {
            "pcodec": (
                lambda v=values, c=config: standalone.simple_compress(v, c),
                standalone.simple_decompress,
            ),
            "shuffle + zstd": (
                lambda v=values: shuffled_zstd(v),
                lambda data, v=values: unshuffled(data, v),
            ),
        }
        for codec, (encode, decode) in codecs.items():
            data = encode()
            if not np.array_equal(decode(data), values):
                raise SystemExit(f"{codec} lost bits of {name}")
            table.add_row(
                name,
                codec,
                f"{len(data) / n:.2f}",
                f"{n / timed(encode, options.rounds) / 1e6:.0f}",
                f"{n / timed(lambda d=data, f=decode: f(d), options.rounds) / 1e6:.0f}",
            )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
