"""Are the suggested learning rates good? Trains at a grid of rates, and scores every rule on it."""

import argparse
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from outcomes import Record, Results, ramp_up, run_all, train
from suggestion_report import Case, report, tests_of, tuning

DIGITS = {"name": "digits"}
FASHION = {"name": "fashion-mnist"}
SGD = {"name": "sgd", "params": {"momentum": 0.9}}
ADAM = {"name": "adam"}
RANGE_TESTS = 3
REPEATS = 3
FIRST_SEED = 1000
"""Of the range tests: apart from the seeds of the trainings."""

SCHEDULES = ("one_cycle", "triangular", "constant", "cosine")
COARSE = 3
"""Rates are 10^(k/6); the coarse grid has every third, two a decade."""

NEAR = 5
"""Sixths of a decade around the best of the coarse grid in which every sixth is tried."""

WIDE = {"sgd": (-24, 6), "adam": (-30, 0)}
"""Ends of the coarse grid, in sixths of a decade: 1e-4 to 10 and 1e-5 to 1."""


@dataclass(frozen=True)
class Workload:
    """A model, its data and optimizer, and how long it is trained.

    Attributes:
        label: of the model.
        seconds: what a training takes, about.
        part: whether the rule was chosen by it, or what it was kept out of.
    """

    label: str
    model: Record
    data: Record
    optimizer: Record
    batch_size: int
    iterations: int
    seeds: int
    seconds: float
    part: str

    @property
    def name(self) -> str:
        """Data, model and optimizer; what its records are found by."""
        return f"{self.data['name']} {self.label} {self.optimizer['name']}"

    def job(self) -> Record:
        """What its range tests and trainings have in common."""
        return {
            "model": self.model,
            "data": self.data,
            "batch_size": self.batch_size,
            "optimizer": self.optimizer,
        }


def _workloads() -> Iterator[Workload]:
    # what is held out was chosen before any result was seen: a third, one model of each dataset;
    # what is new, after the rule had been changed for the last time
    for label, model, data, batch_size, iterations, seeds, seconds, part in (
        ("mlp", _model("mlp", hidden=[32]), DIGITS, 32, 704, 5, 0.15, "tuned on"),
        (
            "lenet",
            _model("lenet", channels=[8, 16], hidden=64),
            DIGITS,
            32,
            440,
            5,
            0.6,
            "tuned on",
        ),
        ("mlp", _model("mlp", hidden=[256]), FASHION, 200, 900, 3, 1.5, "tuned on"),
        ("resnet", _model("resnet", depth=8, width=4), FASHION, 64, 360, 3, 10.0, "tuned on"),
        ("resnet", _model("resnet", depth=8, width=4), DIGITS, 32, 600, 5, 1.5, "held out"),
        (
            "lenet",
            _model("lenet", channels=[6, 16], hidden=120),
            FASHION,
            128,
            480,
            3,
            5.5,
            "held out",
        ),
        (
            "deep tanh mlp",
            _model("mlp", hidden=[64, 64], activation="tanh"),
            DIGITS,
            16,
            880,
            3,
            0.25,
            "new",
        ),
        (
            "wide lenet",
            _model("lenet", channels=[16, 32], hidden=128),
            DIGITS,
            64,
            440,
            3,
            0.9,
            "new",
        ),
        (
            "deep tanh mlp",
            _model("mlp", hidden=[128, 128, 128], activation="tanh"),
            FASHION,
            64,
            900,
            3,
            1.3,
            "new",
        ),
    ):
        for optimizer in (SGD, ADAM):
            yield Workload(
                label, model, data, optimizer, batch_size, iterations, seeds, seconds, part
            )


def _model(name: str, **params: object) -> Record:
    return {"name": name, "params": params}


WORKLOADS = {workload.name: workload for workload in _workloads()}


@dataclass(frozen=True)
class RangeTest:
    """One range test of a workload, with the service's defaults."""

    workload: str
    seed: int

    def key(self) -> Hashable:
        """See `key_of`."""
        return key_of({"kind": "range_test", **asdict(self)})

    def cost(self) -> float:
        """Seconds."""
        workload = WORKLOADS[self.workload]
        return workload.seconds * 300 * REPEATS / workload.iterations

    def run(self, data_dir: Path) -> Record:
        """The raw losses of every repeat."""
        spec = {
            "kind": "range_test",
            "repeats": REPEATS,
            "seed": self.seed,
            **WORKLOADS[self.workload].job(),
        }
        return {"kind": "range_test", **asdict(self), **ramp_up(spec, data_dir)}


@dataclass(frozen=True)
class Training:
    """One training of a workload, at a rate of 10^(sixth/6)."""

    workload: str
    schedule: str
    sixth: int
    seed: int

    def key(self) -> Hashable:
        """See `key_of`."""
        return key_of({"kind": "training", **asdict(self)})

    def cost(self) -> float:
        """Seconds."""
        return WORKLOADS[self.workload].seconds

    def run(self, data_dir: Path) -> Record:
        """Final loss and error."""
        workload = WORKLOADS[self.workload]
        spec = {
            "kind": "training",
            "schedule": schedule(self.schedule, 10 ** (self.sixth / 6), workload.iterations),
            "length": {"iterations": workload.iterations},
            "seed": self.seed,
            **workload.job(),
        }
        return {"kind": "training", **asdict(self), **train(spec, data_dir)}


def schedule(policy: str, lr: float, iterations: int) -> Record:
    """The policy with its highest rate at `lr`; momentum is not cycled, to compare rates alone."""
    match policy:
        case "one_cycle":
            momenta = {"base_momentum": None, "max_momentum": None}
            return {"policy": policy, "max_lr": lr, "div_factor": 25.0, **momenta}
        case "triangular":
            step_size = iterations // 4
            return {"policy": policy, "base_lr": lr / 4, "max_lr": lr, "step_size": step_size}
        case "cosine":
            return {"policy": policy, "lr": lr, "min_lr": 0.0}
        case _:
            return {"policy": policy, "lr": lr}


def key_of(record: Record) -> Hashable:
    """What tells one record from another."""
    return tuple(record.get(f) for f in ("kind", "workload", "schedule", "sixth", "seed"))


def range_tests(_: list[Record]) -> Iterable[RangeTest]:
    """A few of every workload."""
    return [RangeTest(name, FIRST_SEED + i) for i in range(RANGE_TESTS) for name in WORKLOADS]


def coarse(_: list[Record]) -> Iterable[Training]:
    """Two rates a decade over five decades, with the first seed."""
    for name, workload in WORKLOADS.items():
        for policy in SCHEDULES:
            for sixth in _wide(workload):
                yield Training(name, policy, sixth, 0)


def fine(records: list[Record]) -> Iterable[Training]:
    """Six rates a decade around the best so far."""
    for name in WORKLOADS:
        for policy in SCHEDULES:
            for sixth in near(records, name, policy):
                yield Training(name, policy, sixth, 0)


def seeds(records: list[Record]) -> Iterable[Training]:
    """The other seeds of these."""
    for seed in range(1, max(workload.seeds for workload in WORKLOADS.values())):
        for name, workload in WORKLOADS.items():
            for policy in SCHEDULES if seed < workload.seeds else ():
                for sixth in near(records, name, policy):
                    yield Training(name, policy, sixth, seed)


def rest(_: list[Record]) -> Iterable[Training]:
    """The other seeds of the coarse grid."""
    for seed in range(1, max(workload.seeds for workload in WORKLOADS.values())):
        for name, workload in WORKLOADS.items():
            for policy in SCHEDULES if seed < workload.seeds else ():
                for sixth in _wide(workload):
                    yield Training(name, policy, sixth, seed)


def near(records: list[Record], name: str, policy: str) -> range:
    """Every sixth of a decade around the lowest loss of the coarse grid."""
    losses = {
        record["sixth"]: record["loss"]
        for record in records
        if (record["workload"], record.get("schedule"), record["seed"]) == (name, policy, 0)
        and record["sixth"] % COARSE == 0
    }
    best = min(losses, key=lambda sixth: losses[sixth])
    return range(best - NEAR, best + NEAR + 1)


def _wide(workload: Workload) -> range:
    low, high = WIDE[workload.optimizer["name"]]
    return range(low, high + 1, COARSE)


def cases(records: list[Record]) -> Iterator[Case]:
    """What training came to, wherever the coarse grid is complete."""
    for name, workload in WORKLOADS.items():
        for policy in SCHEDULES:
            grid: dict[int, list[tuple[float, float]]] = defaultdict(list)
            for record in records:
                if (record["workload"], record.get("schedule")) == (name, policy):
                    grid[record["sixth"]].append((record["loss"], record["error"]))
            if not grid.keys() >= set(_wide(workload)):
                continue
            means = np.array([np.mean(grid[sixth], axis=0) for sixth in sorted(grid)])
            yield Case(
                name,
                policy,
                workload.optimizer["name"],
                workload.part,
                10 ** (np.array(sorted(grid)) / 6),
                *means.T,
            )


def main() -> None:
    """Parse the command line; measure or report."""
    parser = argparse.ArgumentParser(
        description=f"{__doc__} `measure` trains (about 160 minutes of one core, resumable: "
        "what the results file holds is not run again); `report` reads the file, applies the "
        "rules as they are now to the stored losses of the range tests, and prints Markdown; "
        "`tuning` prints what other divisors of the landmarks would have led to.",
    )
    parser.add_argument("step", choices=("measure", "report", "tuning"))
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("suggestion_quality.jsonl"),
        help="a JSON line for each finished job (default %(default)s)",
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=2,
        help="trainings at a time, of one thread each and at low priority (default %(default)s)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path("data"),
        help="where to look for fashion-mnist/ if the system has none; it is downloaded into here",
    )
    options = parser.parse_args()
    stages = [(s.__name__.replace("_", " "), s) for s in (range_tests, coarse, fine, seeds, rest)]
    results = Results(options.results)
    if options.step == "measure":
        run_all(
            stages,
            results,
            key=key_of,
            data_dir=options.data_dir,
            processes=options.processes,
        )
        return
    records = list(results.read())
    for part in (report if options.step == "report" else tuning)(
        list(cases(records)), tests_of(records)
    ):
        print(part)


if __name__ == "__main__":
    main()
