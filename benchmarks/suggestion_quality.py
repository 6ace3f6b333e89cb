"""Are the suggested learning rates good? Trains at a grid of rates, and scores every rule on it."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from outcomes import Record, Results, command_line, ramp_up, run_all, train
from suggestion_report import Case, report, tests_of, tuning
from workloads import WORKLOADS, Workload

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
    parser = command_line(
        f"{__doc__} `measure` trains (about 160 minutes of one core, resumable: "
        "what the results file holds is not run again); `report` reads the file, applies the "
        "rules as they are now to the stored losses of the range tests, and prints Markdown; "
        "`tuning` prints what other divisors of the landmarks would have led to.",
        steps=("measure", "report", "tuning"),
        results="suggestion_quality.jsonl",
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
