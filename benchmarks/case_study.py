"""The common case study done right: same weights, batch and budget, several seeds, all schedules.

MLP 784-784-10 with Adam for 10 epochs at batch 200, and LeNet with the cyclical recipe of Smith
(arXiv 1803.09820) against longer trainings at a slowly falling rate.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from case_report import PER_EPOCH, Study, plot, report
from outcomes import Record, Results, command_line, ramp_up, run_all, train

from schedules.analysis import Suggestion, analyse

SEEDS = 5
RANGE_TEST_SEED = 1000
REPEATS = 3
FEW, MORE = 12, 30
"""Epochs of LeNet: of the recipe, and of the longer baseline, which has 85 in the paper."""

MLP = {
    "model": {"name": "mlp", "params": {"hidden": [784]}},
    "batch_size": 200,
    "optimizer": {"name": "adam"},
}
# with 6, 16 and 120 units, LeNet-5's own, a seed takes minutes on a CPU rather than an hour
LENET = {
    "model": {"name": "lenet", "params": {"channels": [6, 16], "hidden": 120}},
    "batch_size": 512,
    "optimizer": {"name": "sgd", "params": {"momentum": 0.9, "weight_decay": 5e-4}},
}
# where the cycle's learning rate is highest, its momentum is .8 rather than .9
GENTLE = {**LENET, "optimizer": {"name": "sgd", "params": {"momentum": 0.8, "weight_decay": 5e-4}}}
JOBS: dict[str, Record] = {"mlp": MLP, "lenet": LENET}
RANGE_TESTS: dict[str, Record] = {**JOBS, "lenet at momentum .8": GENTLE}
SECONDS_PER_EPOCH = {"mlp": 1.5, "lenet": 5.0}


@dataclass(frozen=True)
class Arm:
    """Epochs, and the schedule made from what a range test suggests."""

    epochs: float
    schedule: Callable[[Suggestion], Record]
    range_test: str


def mlp_arms() -> dict[str, Arm]:
    """Ten epochs of everything; cyclical schedules end where a cycle ends."""
    half = {"epochs": 2.5}
    end = 10 * PER_EPOCH

    def cyclical(found: Suggestion, policy: str, **more: float) -> Record:
        bounds = {"base_lr": found.base_lr, "max_lr": found.max_lr}
        return {"policy": policy, **bounds, "step_size": half, **more}

    def falling(found: Suggestion, policy: str, **more: object) -> Record:
        return {**found.schedules["cosine"], "policy": policy, **more}

    arms: dict[str, Callable[[Suggestion], Record]] = {
        "fixed": lambda found: dict(found.schedules["constant"]),
        "default 1e-3": lambda _: {"policy": "constant", "lr": 1e-3},
        "step": partial(falling, policy="step", step_size={"epochs": 4.0}, gamma=0.1),
        "cosine": partial(falling, policy="cosine"),
        # 1, 2 and 4 parts of 7: the last restart ends with the run
        "sgdr": partial(falling, policy="sgdr", t_0={"epochs": 10 / 7}, t_mult=2),
        "triangular": partial(cyclical, policy="triangular"),
        "triangular2": partial(cyclical, policy="triangular2"),
        "exp_range": partial(cyclical, policy="exp_range", gamma=0.1 ** (1 / end)),
        "one_cycle": lambda found: dict(found.schedules["one_cycle"]),
    }
    return {name: Arm(10.0, schedule, "mlp") for name, schedule in arms.items()}


def lenet_arms() -> dict[str, Arm]:
    """The recipe with the bounds of the paper and of the range test, against longer trainings."""

    def recipe(max_lr: float) -> Record:
        return {
            "policy": "one_cycle",
            "max_lr": max_lr,
            "div_factor": 10.0,
            "final_div_factor": 100.0,
            "pct_start": 5 / FEW,  # 5 epochs up, 5 down, 2 to a hundredth
            "anneal_strategy": "linear",
            "three_phase": True,
            "base_momentum": 0.8,
            "max_momentum": 0.95,
        }

    def falling(_: Suggestion, epochs: int) -> Record:
        gamma = 0.6 ** (1 / epochs)  # where 85 epochs of Caffe's "inv" policy end
        return {"policy": "step", "lr": 0.01, "step_size": {"epochs": 1.0}, "gamma": gamma}

    def suggested(found: Suggestion) -> Record:
        return recipe(found.schedules["one_cycle"]["max_lr"])

    def cycle(bounds: str) -> str:
        return f"cycle, {bounds}, {FEW} epochs"

    return {
        f"falling, {MORE} epochs": Arm(MORE, partial(falling, epochs=MORE), "lenet"),
        f"falling, {FEW} epochs": Arm(FEW, partial(falling, epochs=FEW), "lenet"),
        cycle(".01 - .1"): Arm(FEW, lambda _: recipe(0.1), "lenet"),
        cycle("range test"): Arm(FEW, suggested, "lenet"),
        cycle("range test at momentum .8"): Arm(FEW, suggested, "lenet at momentum .8"),
    }


ARMS = {"mlp": mlp_arms(), "lenet": lenet_arms()}


@dataclass(frozen=True)
class Test:
    """A range test that bounds are taken from."""

    study: str
    data: str

    def key(self) -> Hashable:
        """See `key_of`."""
        return (self.study, self.data, None, None, None)

    def cost(self) -> float:
        """Seconds."""
        return 3 * SECONDS_PER_EPOCH[self.study.split()[0]] * REPEATS

    def run(self, data_dir: Path) -> Record:
        """The raw losses of every repeat."""
        spec = {
            "kind": "range_test",
            "repeats": REPEATS,
            "seed": RANGE_TEST_SEED,
            "data": {"name": self.data},
            **RANGE_TESTS[self.study],
        }
        return {"study": self.study, "data": self.data, **ramp_up(spec, data_dir)}


@dataclass(frozen=True)
class Training:
    """One schedule with one seed, which decides the initial weights and the order of the data."""

    study: str
    data: str
    arm: str
    seed: int
    suggestion: Suggestion

    def schedule(self) -> Record:
        """With its bounds filled in."""
        return ARMS[self.study][self.arm].schedule(self.suggestion)

    def key(self) -> Hashable:
        """See `key_of`."""
        return (self.study, self.data, self.arm, self.seed, str(self.schedule()))

    def cost(self) -> float:
        """Seconds."""
        return ARMS[self.study][self.arm].epochs * SECONDS_PER_EPOCH[self.study]

    def run(self, data_dir: Path) -> Record:
        """Final loss and error, and the least error of any epoch."""
        spec = {
            "kind": "training",
            "schedule": self.schedule(),
            "length": {"epochs": float(ARMS[self.study][self.arm].epochs)},
            "evaluate": {"every": {"epochs": 1.0}},
            "seed": self.seed,
            "data": {"name": self.data},
            **JOBS[self.study],
        }
        return {
            "study": self.study,
            "data": self.data,
            "arm": self.arm,
            "seed": self.seed,
            "schedule": self.schedule(),
            **train(spec, data_dir),
        }


def key_of(record: Record) -> Hashable:
    """What tells one record from another: with other bounds, a training is another one."""
    schedule = str(record["schedule"]) if "arm" in record else None
    return (record["study"], record["data"], record.get("arm"), record.get("seed"), schedule)


def suggestion(records: list[Record], name: str, data: str) -> Suggestion:
    """What a range test suggests, read by the rules as they are now."""
    test = next(r for r in records if key_of(r) == Test(name, data).key())
    losses = [np.array(each, dtype=np.float64) for each in test["losses"]]
    lr = np.geomspace(test["start"], test["end"], test["planned"])
    found = analyse(lr, losses, family=RANGE_TESTS[name]["optimizer"]["name"])
    if found.suggestion is None:
        raise SystemExit(f"The range test of {name} suggests nothing: {found.status.value}")
    return found.suggestion


def trainings(data: str, study: str, records: list[Record]) -> list[Training]:
    """All seeds of every schedule."""
    found = {name: suggestion(records, name, data) for name in RANGE_TESTS}
    return [
        Training(study, data, name, seed, found[arm.range_test])
        for seed in range(SEEDS)
        for name, arm in ARMS[study].items()
    ]


def studies(records: list[Record], data: str) -> Iterable[Study]:
    """The trainings there are under the bounds that the range tests suggest now."""
    for study, arms in ARMS.items():
        names = dict.fromkeys(arm.range_test for arm in arms.values())
        found = {name: suggestion(records, name, data) for name in names}
        now = {task.key() for task in trainings(data, study, records)}
        done = [record for record in records if key_of(record) in now]
        yield Study(study, data, found, next(iter(arms)), list(arms), done)


def main() -> None:
    """Parse the command line; measure, report or draw."""
    parser = command_line(
        "Compares learning-rate schedules from the same initial weights over "
        "several seeds, each with bounds from a range test. `measure` trains (about 50 minutes "
        "of one core, resumable); `report` prints Markdown; `plot` draws the MLP's curves.",
        steps=("measure", "report", "plot"),
        results="case_study.jsonl",
    )
    parser.add_argument("--data", choices=("fashion-mnist", "mnist"), default="fashion-mnist")
    parser.add_argument(
        "--picture",
        type=Path,
        default=Path("docs/case-study.svg"),
        help="what `plot` writes; the name says whether SVG, PNG or PDF (default %(default)s)",
    )
    options = parser.parse_args()
    results, data = Results(options.results), options.data
    match options.step:
        case "measure":
            run_all(
                (
                    ("range tests", lambda _: [Test(name, data) for name in RANGE_TESTS]),
                    ("MLP", partial(trainings, data, "mlp")),
                    ("LeNet", partial(trainings, data, "lenet")),
                ),
                results,
                key=key_of,
                data_dir=options.data_dir,
                processes=options.processes,
            )
        case "report":
            for study in studies(list(results.read()), data):
                print(report(study))
        case "plot":
            plot(next(iter(studies(list(results.read()), data))), options.picture)


if __name__ == "__main__":
    main()
