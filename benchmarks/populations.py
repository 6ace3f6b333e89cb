"""What do populations gain? K runs trained as one program, against the same runs one by one."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from bystanders import said
from contest import Contestant, OutError, Results, Seat, contest, ratio
from peers.population import FIRST, Group, Measured
from tables import machine, show
from tasks import ADAM, WORKLOADS, Workload

from worker.__main__ import environment

LOOPS: dict[str, tuple[Workload, int]] = {
    "digits-sgd": (WORKLOADS["digits"], 3000),
    "digits-adam": (
        replace(WORKLOADS["digits"], title="MLP 64-32-10, digits, Adam, batch 32", optimizer=ADAM),
        3000,
    ),
    "mlp-200": (WORKLOADS["mlp-200"], 150),
    "lenet": (WORKLOADS["lenet"], 110),
}
"""Workload, and iterations of each run."""

SINGLE = "one by one"


def name_of(group: Group) -> str:
    """As in the table."""
    return f"{group.size}, compiled" if group.compile else f"{group.size}"


def groups(single: Group, sizes: list[int], *, compiled: bool) -> Iterator[Group]:
    """Of each size, as it is and compiled."""
    for size in sizes:
        together = replace(single, size=size, together=True)
        yield together
        if compiled:
            yield replace(together, compile=True)


def rows(
    results: Results, together: list[Group], alone: np.ndarray[Any, np.dtype[np.float64]]
) -> Iterator[list[str]]:
    """One by one, then a line for each population."""
    speeds = [each.speed for each in results.answers[SINGLE]]
    yield [SINGLE, f"{median(speeds):.0f}", "1", *_costs(results.warm_up[SINGLE]), ""]
    for group in together:
        name = name_of(group)
        answers: list[Measured] = results.answers.get(name, [])
        if not answers:
            continue
        losses, reference = answers[0].losses, alone[: group.size]
        far = np.max(np.abs(losses - reference[:, : losses.shape[1]]) / np.abs(reference))
        here = [each.speed for each in answers]
        yield [
            name,
            f"{median(here):.0f}",
            f"{group.size * ratio(here, speeds):.2f}",
            *_costs(results.warm_up[name]),
            f"{far:.1e}",
        ]


def _costs(first: Measured) -> list[str]:
    """Of a process that has not run yet: later it finds what was compiled, and keeps its memory."""
    return [f"{first.set_up:.1f}", f"{first.memory / 1e6:.0f}"]


HEADERS = (
    "runs",
    "it/s of each run",
    "gain: time of a run one by one / together",
    "s until the first block",
    "MB of memory",
    "largest difference of losses",
)


def main() -> int:
    """Parse the command line, measure, print; 1 if something failed."""
    parser = argparse.ArgumentParser(
        description=f"{__doc__} The runs differ in learning rate, momentum and seed. One by one "
        "is the engine's loop for a single job. Speeds count from the first block on: what comes "
        "before, compilation above all, is in a column of its own. Memory is by how much the "
        "process grew at most, or what was allocated on a GPU; differences of losses are relative, "
        f"over the first {FIRST} iterations.",
        epilog="Each group lives in a process of its own, in the environment of a worker; they run "
        "in turn, round after round, and gains are medians of each round's. A measurement during "
        "which other processes were busy is made again, up to three times. Compiling takes about "
        "half a minute for each size.",
    )
    parser.add_argument(
        "--workload", choices=LOOPS, action="append", help="one of them (default: each)"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 8, 16, 32], metavar="K")
    parser.add_argument("--no-compile", action="store_true", help="leave out the compiled ones")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default 3)")
    parser.add_argument("--iterations", type=int, help=f"of a run (at least {FIRST + 1})")
    parser.add_argument("--threads", type=int, help="default: as the engine chooses")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="of fashion-mnist/")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    options = parser.parse_args()

    broken = []
    ours = environment(os.environ)
    for loop in options.workload or LOOPS:
        workload, usual = LOOPS[loop]
        single = Group(
            workload,
            1,
            together=False,
            compile=False,
            iterations=options.iterations or usual,
            threads=options.threads,
            device=options.device,
            data_dir=options.data_dir,
        )
        largest = replace(single, size=max(options.sizes))
        with closing(
            Seat(Contestant(loop, "peers.population:one_by_one", largest, ours))
        ) as reference:
            try:
                alone = reference.ask()
            except OutError as error:
                parser.exit(1, f"{loop}: {error}\n")
        together = list(groups(single, options.sizes, compiled=not options.no_compile))
        contestants = [
            Contestant(SINGLE, "peers.population:measure", single, ours),
            *(Contestant(name_of(g), "peers.population:measure", g, ours) for g in together),
        ]
        results = contest(contestants, options.rounds, title=loop)
        notes = [machine(options.device, f"rounds: {results.rounds}"), said(results.others)]
        notes += [f"left out: {name}: {why}" for name, why in results.out.items()]
        broken += results.broken
        show(
            f"{workload.title}, {single.iterations} iterations",
            HEADERS,
            list(rows(results, together, alone)) if SINGLE in results.answers else [],
            notes=notes,
            markdown=options.markdown,
        )
        if results.interrupted:
            break
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
