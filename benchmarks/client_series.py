"""How fast does a whole series reach numpy? The client with JSON alone, and with Arrow.

Starts a service of its own, trains once, and reads the losses and rates both ways, in turn.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from tables import machine, show

from stepsize import Client, Job, reading, training
from stepsize.embedded import Place, free_port, running

NEVER = 2**62


def read(client: Client, job: Job, *, arrow: bool) -> float:
    """The seconds of one reading."""
    reading.MANY = 0 if arrow else NEVER
    began = time.perf_counter()
    rows = client.series(job, ("loss", "lr"))
    taken = time.perf_counter() - began
    assert len(rows) == job.progress.iteration  # noqa: S101 - half a series would be quick
    return taken


def measure(client: Client, iterations: int, rounds: int) -> list[list[str]]:
    """A row for each way."""
    job = client.submit(
        training(
            {"name": "mlp", "params": {"hidden": [8]}},
            "digits",
            "sgd",
            batch_size=8,
            schedule={"policy": "triangular", "base_lr": 0.01, "max_lr": 0.1, "step_size": 500},
            length={"iterations": iterations},
        )
    ).wait(progress=True)
    times: dict[str, list[float]] = {"JSON": [], "Arrow": []}
    for ways in [times] * (rounds + 1):
        for name, taken in ways.items():
            taken.append(read(client, job, arrow=name == "Arrow"))
    return [
        [name, f"{iterations:,}", f"{median(taken[1:]):.3f}", f"{min(taken[1:]):.3f}"]
        for name, taken in times.items()
    ]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--markdown", action="store_true", help="for a document")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder) / "data", port=free_port())
        with running(place, say=print), Client(place.url) as client:
            rows = measure(client, options.iterations, options.rounds)
    show(
        "A whole series, loss and lr, as numpy",
        ["way", "rows", "seconds (median)", "(least)"],
        rows,
        notes=[f"{options.rounds} rounds, in turn; server and client share the machine", machine()],
        markdown=options.markdown,
    )


if __name__ == "__main__":
    main()
