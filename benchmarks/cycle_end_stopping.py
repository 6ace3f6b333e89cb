"""Does early stopping at the ends of cycles keep the best? Replays it on searches run to their end.

Every configuration of a search over cyclical schedules is trained to its end, and evaluated all
along. Both rules are then replayed on what was measured: successive halving that compares runs at
the ends of their cycles, and the ordinary one, which compares after fixed numbers of iterations.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from cycle_end_replay import Study
from cycle_end_report import page, picture
from outcomes import CPU, Record, Results, command_line, number, run_all

from spec.jobs import JOB_SPEC, TrainingSpec
from worker.engine import Block, run_population

DOCS = Path(__file__).parents[1] / "docs"

ITERATIONS, CYCLE, FIRST = 960, 96, 64
"""Of a run, of one of its ten equal cycles, and of the first of four that double."""

RATES = tuple(float(f"{each:.3g}") for each in np.geomspace(0.02, 2, 12))
SOME = RATES[1::2]
LENGTHS = (48, 96, 160, 240, 480)
"""Of cycles: 20, 10, 6, 4 and 2 of them make a run."""

Schedules = tuple[Record, ...]


def triangles(
    policy: str, rates: Iterable[float], bases: Iterable[float], cycles: Iterable[int]
) -> Schedules:
    """Cyclical ones; a base is a share of the peak."""
    return tuple(
        {"policy": policy, "base_lr": lr * base, "max_lr": lr, "step_size": cycle // 2}
        for lr, base, cycle in product(rates, bases, cycles)
    )


def restarts(rates: Iterable[float], floors: Iterable[float]) -> Schedules:
    """Cosines with restarts, each twice as long as the one before; a floor is a share of the peak.

    Their ends are after 1, 3, 7 and 15 times the first.
    """
    return tuple(
        {"policy": "sgdr", "lr": lr, "min_lr": lr * floor, "t_0": FIRST, "t_mult": 2}
        for lr, floor in product(rates, floors)
    )


@dataclass(frozen=True)
class Search:
    """The configurations of a search, schedules x momenta, and what is trained.

    Attributes:
        grace: about how long a cycle is, around which ordinary rules begin to compare.
        every: iterations between two evaluations.
        seconds: of a seed, about.
    """

    schedules: Schedules
    momenta: tuple[float, ...]
    grace: int = CYCLE
    data: str = "digits"
    hidden: int = 32
    batch_size: int = 32
    every: int = 8
    seeds: int = 10
    seconds: float = 8.0

    def jobs(self, seed: int) -> list[TrainingSpec]:
        """One for each configuration; they are trained as one program."""
        common = {
            "kind": "training",
            "model": {"name": "mlp", "params": {"hidden": [self.hidden]}},
            "data": {"name": self.data},
            "batch_size": self.batch_size,
            "length": {"iterations": ITERATIONS},
            "evaluate": {"every": {"iterations": self.every}},
            "population": True,
            "seed": seed,
        }
        optimizers = [{"name": "sgd", "params": {"momentum": each}} for each in self.momenta]
        specs = [
            JOB_SPEC.validate_python({**common, "schedule": schedule, "optimizer": optimizer})
            for schedule, optimizer in product(self.schedules, optimizers)
        ]
        return [each for each in specs if isinstance(each, TrainingSpec)]

    def study(self, name: str, records: Sequence[Record]) -> Study:
        """What was measured, with a row for each configuration."""
        values = {
            record["seed"]: np.array(
                [[math.inf if v is None else v for v in row] for row in record["values"]]
            )
            for record in records
            if record["study"] == name
        }
        schedules = [job.schedule for job in self.jobs(0)]
        return Study(name, schedules, ITERATIONS, self.every, self.grace, values)


MOMENTA = (0.8, 0.9)
MIXED = (
    *triangles("triangular", RATES, (0.1,), (CYCLE,)),
    *triangles("triangular2", RATES, (0.1,), (CYCLE,)),
    *restarts(RATES, (0.0,)),
)
SEARCHES: Mapping[str, Search] = {
    "triangular": Search(triangles("triangular", RATES, (0.02, 0.25), (CYCLE,)), MOMENTA),
    "triangular2": Search(triangles("triangular2", RATES, (0.02, 0.25), (CYCLE,)), MOMENTA),
    "sgdr": Search(restarts(RATES, (0.0, 0.1)), MOMENTA, grace=FIRST),
    "three policies": Search(MIXED, (0.9,)),
    "cycles of different lengths": Search(
        triangles("triangular", RATES[::-1], (0.1,), LENGTHS), (0.9,)
    ),
    "three policies, Fashion-MNIST": Search(
        (
            *triangles("triangular", SOME, (0.1,), (CYCLE,)),
            *triangles("triangular2", SOME, (0.1,), (CYCLE,)),
            *restarts(SOME, (0.0,)),
        ),
        (0.9, 0.95),
        data="fashion-mnist",
        hidden=64,
        batch_size=128,
        every=16,
        seeds=4,
        seconds=90,
    ),
}


@dataclass(frozen=True)
class Runs:
    """All configurations of a search with one seed."""

    study: str
    seed: int

    def key(self) -> Hashable:
        """See `key_of`."""
        return (self.study, self.seed)

    def cost(self) -> float:
        """Seconds."""
        return SEARCHES[self.study].seconds

    def run(self, data_dir: Path) -> Record:
        """The validation losses of each configuration; None from where it diverged."""
        search = SEARCHES[self.study]
        specs = search.jobs(self.seed)
        values: list[list[float | None]] = [[] for _ in specs]
        for index, event in run_population(specs, device=CPU, data_dir=data_dir):
            if isinstance(event, Block) and event.series == "validation":
                values[index] += [number(each) for each in event.columns["val_loss"].tolist()]
        count = ITERATIONS // search.every
        padded = [[*each, *[None] * (count - len(each))] for each in values]
        return {"study": self.study, "seed": self.seed, "values": padded}


def key_of(record: Record) -> Hashable:
    """What tells one record from another."""
    return (record["study"], record["seed"])


def runs(study: str, _: list[Record]) -> list[Runs]:
    """All seeds of a search."""
    return [Runs(study, seed) for seed in range(SEARCHES[study].seeds)]


def main() -> None:
    """Parse the command line; measure, or write the page and its picture."""
    parser = command_line(
        f"{__doc__} `measure` trains (about 15 minutes of one core, resumable); `report` replays "
        "the rules as they are now, and writes the page and the picture (about 3 minutes).",
        steps=("measure", "report"),
        results="cycle_end_stopping.jsonl",
    )
    parser.add_argument("--orders", type=int, default=40, help="of arrival (default %(default)s)")
    parser.add_argument("--parallel", type=int, default=4, help="at a time (default %(default)s)")
    parser.add_argument("--study", choices=SEARCHES, action="append", help="default: all of them")
    parser.add_argument(
        "--page", type=Path, default=DOCS / "early-stopping.md", help="default %(default)s"
    )
    options = parser.parse_args()
    results, wanted = Results(options.results), options.study or list(SEARCHES)
    if options.step == "measure":
        stages: list[tuple[str, Callable[[list[Record]], list[Runs]]]] = [
            (name, partial(runs, name)) for name in wanted
        ]
        run_all(
            stages,
            results,
            key=key_of,
            data_dir=options.data_dir,
            processes=options.processes,
        )
        return
    records = list(results.read())
    there = {record["study"] for record in records}
    studies = [SEARCHES[name].study(name, records) for name in wanted if name in there]
    drawn = options.page.with_suffix(".svg")
    outcomes = [each.replayed(orders=options.orders, parallel=options.parallel) for each in studies]
    options.page.write_text(page(outcomes, options.orders, options.parallel, drawn.name))
    picture(outcomes, drawn)


if __name__ == "__main__":
    main()
