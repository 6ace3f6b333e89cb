"""How long does a search take, and what does it find? stepsize, Optuna and Ray Tune side by side.

64 runs of a small MLP on the digits, learning rate x schedule: the same data, batches, updates and
machine for all. Ours goes through the whole service, over HTTP: from the POST of the sweep until
it has ended. Theirs is a plain PyTorch objective.
"""

import argparse
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from contest import progress, ratio
from pydantic import TypeAdapter
from tables import machine, show

from schedules import Policy
from spec.components import DATASETS
from spec.jobs import JOB_SPEC, TrainingSpec
from stepsize import Client
from stepsize.embedded import free_port
from worker.engine import Finished, run_population
from worker.engine.data import open_dataset
from worker.engine.splits import Dataset

PAGE = Path(__file__).parents[1] / "docs" / "sweeps-speed.md"
SEARCHES = Path(__file__).parent / "peers" / "searches.py"
CPU = torch.device("cpu")

HIDDEN, BATCH, MOMENTUM = 32, 32, 0.9
LOW, HIGH = 0.01, 2.0
FRESH = range(1000, 1016)
"""Seeds that the best of each search is trained with again."""

PARALLEL = 16
"""Runs under way at one time where our sampler learns."""

INTRODUCTION = """# How fast a search is

Printed by `{command}`: a search of {runs} runs of an MLP 64-{hidden}-10 on the digits, batch size
{batch}, SGD with momentum {momentum}, {iterations} updates each. Searched are the peak rate, from
{low} to {high}, and one of four schedules.

- *stepsize* runs as `stepsize up` does, with one worker. "Cold" counts from the start of that
  command, "warm" from the POST of the sweep to a service that has run one before; both end when
  the client hears that the sweep has ended. Every iteration of every run is recorded meanwhile.
- *Optuna* and *Ray Tune* call a function that trains with PyTorch and returns the validation loss;
  nothing of the way there is recorded. "Cold" counts from the start of their process, "warm" from
  when everything is imported (and Ray has started) to the last result. Their careful loop keeps
  the data in memory as tensors, takes one gather a batch, uses the fused optimizer and asks for no
  number before the end; "DataLoader" is the loop of tutorials. Each computes with one thread, which
  is fastest for this model, in as many processes as there are processors.

Rounds alternate; each has a search seed of its own. Times are medians (least to most), "x ours" is
the median of each round's ratio to stepsize with the kind of sampler that the search has: how many
times longer it takes. What a search found is judged alike: its best configuration is trained again,
with {fresh} fresh seeds.
"""


def schedules(iterations: int) -> dict[str, dict[str, Any]]:
    """The four, without their peak; none cycles the momentum, so that all can be written plainly.

    The triangles end with a whole cycle.
    """
    step_size = iterations // 8
    still = {"base_momentum": None, "max_momentum": None}
    return {
        "triangular": {"policy": "triangular", "base_lr": LOW / 10, "step_size": step_size},
        "triangular2": {"policy": "triangular2", "base_lr": LOW / 10, "step_size": step_size},
        "one_cycle": {"policy": "one_cycle", **still},
        "slanted_triangular": {"policy": "slanted_triangular"},
    }


def training(iterations: int) -> dict[str, Any]:
    """What all runs have in common."""
    return {
        "kind": "training",
        "model": {"name": "mlp", "params": {"hidden": [HIDDEN]}},
        "data": {"name": "digits"},
        "batch_size": BATCH,
        "optimizer": {"name": "sgd", "params": {"momentum": MOMENTUM}},
        "length": {"iterations": iterations},
    }


def sweep(options: argparse.Namespace, sampler: str, seed: int) -> dict[str, Any]:
    """The search as a sweep."""
    learns = sampler == "tpe"
    return {
        "template": training(options.iterations),
        "space": {
            "/schedule": list(schedules(options.iterations).values()),
            "/schedule/max_lr": {"low": LOW, "high": HIGH, "log": True},
        },
        "sampler": {"name": sampler, "seed": seed},
        "objective": {"metric": "val_loss"},
        "budget": {"jobs": options.runs, **({"parallel": PARALLEL} if learns else {})},
    }


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        cold: seconds, None where it was not started for this.
        warm: seconds, None where it was.
    """

    cold: float | None
    warm: float | None
    max_lr: float
    policy: str
    value: float


@dataclass
class Searcher:
    """One line of the table.

    Attributes:
        found: one each round.
        out: why it does not take part, if so.
    """

    name: str
    sampler: str
    found: list[Found] = field(default_factory=list)
    out: str | None = None


@contextmanager
def service(folder: Path) -> Iterator[str]:
    """`stepsize up`, once it is ready; its URL."""
    command = [sys.executable, "-m", "stepsize", "up", "--json"]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [*command, "--data-dir", str(folder / "data"), "--port", str(free_port())],
        stdout=subprocess.PIPE,
        stderr=log,
    )
    try:
        told = process.stdout.readline() if process.stdout else b""
        if not told:
            raise RuntimeError(f"it does not start: {(folder / 'log').read_text()}")
        yield json.loads(told)["url"]
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def searched(client: Client, spec: Mapping[str, Any], since: float | None = None) -> Found:
    """One sweep from its POST to its end; with `since`, from then on, as a cold start."""
    began = perf_counter()
    last = client.sweeps.wait(client.sweeps.submit(spec), timeout=600)
    ended = perf_counter()
    if last.state != "succeeded" or last.best is None:
        raise RuntimeError(f"{last.id} {last.state}")
    jobs = client.sweeps.results(last)
    if len(jobs) != spec["budget"]["jobs"]:
        raise RuntimeError(f"{len(jobs)} runs, not {spec['budget']['jobs']}")
    best = next(each for each in jobs if each.job == last.best.job)
    return Found(
        cold=None if since is None else ended - since,
        warm=None if since is not None else ended - began,
        max_lr=best.parameters["/schedule/max_lr"],
        policy=best.parameters["/schedule"]["policy"],
        value=last.best.value,
    )


def ours(searchers: Mapping[str, Searcher], options: argparse.Namespace, seed: int) -> None:
    """One cold sweep and a warm one of each kind, on a service of their own."""
    with TemporaryDirectory(prefix="sweep") as name:
        began = perf_counter()
        with service(Path(name)) as url, Client(url) as client:
            cold = searched(client, sweep(options, "quasi_random", seed), since=began)
            for sampler, searcher in searchers.items():
                # apart from the cold one's, whose configurations it would repeat
                warm = searched(client, sweep(options, sampler, seed + 100))
                searcher.found.append(
                    Found(cold.cold, warm.warm, warm.max_lr, warm.policy, warm.value)
                )


@dataclass(frozen=True)
class Peer:
    """How a peer searches."""

    peer: str
    sampler: str
    python: Path
    loop: str = "tensors"
    processes: int = 1
    threads: int = 1

    def search(self, options: argparse.Namespace, data: Path, seed: int) -> Found:
        """In a process of its own.

        Raises:
            ModuleNotFoundError: it is not installed there.
        """
        answer = data.with_name("answer.json")
        answer.unlink(missing_ok=True)
        task = {
            "peer": self.peer,
            "sampler": self.sampler,
            "loop": self.loop,
            "processes": self.processes,
            "threads": self.threads,
            "runs": options.runs,
            "seed": seed,
            "data": str(data),
            "answer": str(answer),
            "low": LOW,
            "high": HIGH,
            "hidden": HIDDEN,
            "batch_size": BATCH,
            "momentum": MOMENTUM,
            "policies": list(schedules(options.iterations)),
            "floors": {
                name: each.get("base_lr", 0.0)
                for name, each in schedules(options.iterations).items()
            },
        }
        began = perf_counter()
        done = subprocess.run(
            [str(self.python), str(SEARCHES), json.dumps(task)],
            env={**os.environ, "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        cold = perf_counter() - began
        if not answer.exists():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            if "ModuleNotFoundError" in last:
                raise ModuleNotFoundError(last)
            raise RuntimeError(f"{self.peer} failed: {done.stderr}")
        told = json.loads(answer.read_text())
        if told["runs"] != options.runs:
            raise RuntimeError(f"{self.peer}: {told['runs']} runs, not {options.runs}")
        return Found(cold, told["seconds"], told["lr"], told["policy"], told["value"])


def peers(options: argparse.Namespace) -> dict[str, Peer]:
    """Everyone in the ways that may be their best, and in the ordinary one."""
    cores = len(os.sched_getaffinity(0))
    optuna, ray = options.optuna_python, options.ray_python
    many: dict[str, Any] = {"processes": cores}
    return {
        f"Optuna, {cores} processes": Peer("optuna", "tpe", optuna, **many),
        f"Optuna, {cores} processes, even draws": Peer("optuna", "quasi_random", optuna, **many),
        "Optuna, one process": Peer("optuna", "tpe", optuna),
        f"Optuna, {cores} threads": Peer("optuna", "tpe", optuna, threads=cores),
        f"Optuna, {cores} processes, DataLoader": Peer("optuna", "tpe", optuna, "loader", **many),
        f"Ray Tune, {cores} actors, random draws": Peer("ray", "quasi_random", ray, **many),
        f"Ray Tune, {cores} actors, with Optuna": Peer("ray", "tpe", ray, **many),
    }


def written(folder: Path, iterations: int) -> Path:
    """The data as the engine has it, and the schedules between 0 and 1."""
    read = open_dataset(DATASETS["digits"](), device=CPU, data_dir=folder, loader=None)
    if not isinstance(read, Dataset):
        raise TypeError("the digits are streamed: there is too little memory")
    policy: TypeAdapter[Policy] = TypeAdapter(Policy)
    t = np.arange(iterations, dtype=np.float64)
    shapes = {}
    for name, each in schedules(iterations).items():
        floor = each.get("base_lr", 0.0)
        rates = policy.validate_python({**each, "max_lr": HIGH}).lr_at(t, iterations=iterations)
        shapes[name] = (rates - floor) / (HIGH - floor)
    path = folder / "search.npz"
    np.savez(
        path,
        train_inputs=read.train.inputs.flatten(1).numpy(),
        train_labels=read.train.labels.numpy(),
        val_inputs=read.validation.inputs.flatten(1).numpy(),
        val_labels=read.validation.labels.numpy(),
        **shapes,
    )
    return path


def judged(found: Found, iterations: int, folder: Path) -> tuple[float, float]:
    """Mean validation loss and error of a configuration over fresh seeds."""
    schedule = {**schedules(iterations)[found.policy], "max_lr": found.max_lr}
    specs = []
    for seed in FRESH:
        spec = JOB_SPEC.validate_python(
            {**training(iterations), "schedule": schedule, "seed": seed, "population": True}
        )
        if isinstance(spec, TrainingSpec):
            specs.append(spec)
    ends = [
        event.result
        for _, event in run_population(specs, device=CPU, data_dir=folder)
        if isinstance(event, Finished)
    ]
    # of one that diverged, that of a guess
    losses = [np.log(10) if end["val_loss"] is None else end["val_loss"] for end in ends]
    errors = [0.9 if end["val_accuracy"] is None else 1 - end["val_accuracy"] for end in ends]
    return float(np.mean(losses)), float(np.mean(errors))


HEADERS = (
    *("search", "sampler", "s, cold", "x ours", "s, warm", "x ours"),
    *("best's loss as found", "on fresh seeds", "error, %"),
)


def rows(
    everyone: Sequence[Searcher], mine: Mapping[str, Searcher], options: argparse.Namespace
) -> Iterator[list[str]]:
    """A line for each."""
    with TemporaryDirectory(prefix="sweep") as name:
        for each in everyone:
            if not each.found:
                continue
            reference = mine[each.sampler].found
            quality = [judged(found, options.iterations, Path(name)) for found in each.found]
            losses, errors = zip(*quality, strict=True)
            yield [
                each.name,
                each.sampler,
                *_compared(each.found, reference, lambda found: found.cold),
                *_compared(each.found, reference, lambda found: found.warm),
                f"{median(found.value for found in each.found):.3f}",
                f"{_spread(losses, 3)}",
                f"{median(errors):.1%}".rstrip("%"),
            ]


def _compared(
    found: Sequence[Found], reference: Sequence[Found], of: Callable[[Found], float | None]
) -> list[str]:
    mine = [seconds for each in reference if (seconds := of(each)) is not None]
    seconds = [taken for each in found if (taken := of(each)) is not None]
    return [_spread(seconds, 1), f"{ratio(seconds, mine[: len(seconds)]):.1f}"]


def _spread(values: Sequence[float], digits: int) -> str:
    least, middle, most = (f"{f(values):.{digits}f}" for f in (min, median, max))
    return f"{middle} ({least} - {most})"


def measure(options: argparse.Namespace) -> tuple[list[Searcher], dict[str, Searcher]]:
    """All rounds."""
    mine = {
        "quasi_random": Searcher("stepsize", "quasi_random"),
        "tpe": Searcher("stepsize, learning", "tpe"),
    }
    theirs = {
        Searcher(name, peer.sampler).name: (Searcher(name, peer.sampler), peer)
        for name, peer in peers(options).items()
        if not options.only or any(name.startswith(each) for each in options.only)
    }
    with progress() as bar, TemporaryDirectory(prefix="sweep") as name:
        data = written(Path(name), options.iterations)
        shown = bar.add_task("", total=options.rounds * (1 + len(theirs)))
        for number in range(options.rounds):

            def us(seed: int = number) -> None:
                bar.update(shown, description=f"round {seed + 1}: stepsize")
                ours(mine, options, seed)
                bar.advance(shown)

            def them(seed: int = number) -> None:
                for searcher, peer in theirs.values():
                    bar.update(shown, description=f"round {seed + 1}: {searcher.name}")
                    if searcher.out is None:
                        try:
                            searcher.found.append(peer.search(options, data, seed))
                        except ModuleNotFoundError as error:
                            searcher.out = str(error)
                    bar.advance(shown)

            for part in (us, them) if number % 2 == 0 else (them, us):
                part()
    return [*mine.values(), *(each for each, _ in theirs.values())], mine


def main() -> None:
    """Parse the command line, measure, print or write."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Ray Tune wants an environment of its own: `python3.11 -m venv ray-env && "
        "ray-env/bin/pip install 'ray[tune]' optuna torch==2.13.0`; who is not installed is left "
        "out. Three rounds take five to eight minutes on two cores.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    here = Path(sys.executable)
    add("--rounds", type=int, default=3, help="each with a search seed of its own (default 3)")
    add("--runs", type=int, default=64, help="of a search (default 64)")
    add("--iterations", type=int, default=880, help="of a run (default 880: 20 epochs)")
    add("--optuna-python", type=Path, default=here, help="an interpreter with Optuna and torch")
    add("--ray-python", type=Path, default=here, help="an interpreter with Ray Tune and torch")
    add("--only", action="append", metavar="NAME", help="peers whose names begin so")
    add("--quick", action="store_true", help="a small run, to see that it works")
    add("--page", action="store_true", help=f"writes {PAGE.name} of the documents")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.runs, options.iterations = 1, 8, 80
    # a link is an interpreter of its own: its place says what it imports
    options.optuna_python = options.optuna_python.absolute()
    options.ray_python = options.ray_python.absolute()

    busy = os.getloadavg()[0]  # of other work: a busy machine measures itself
    everyone, mine = measure(options)
    told = io.StringIO()
    with redirect_stdout(told):
        notes = [machine(f"rounds: {options.rounds}, load average {busy:.1f} before")]
        notes += [f"left out: {each.name}: {each.out}" for each in everyone if each.out]
        show(
            f"{options.runs} runs of {options.iterations} updates",
            HEADERS,
            list(rows(everyone, mine, options)),
            notes=notes,
            markdown=options.page,
        )
    if not options.page:
        print(told.getvalue())
        return
    words = {**vars(options), "hidden": HIDDEN, "batch": BATCH, "momentum": MOMENTUM}
    words |= {"low": LOW, "high": HIGH, "fresh": len(FRESH)}
    command = "python benchmarks/sweep_speed.py --page"
    PAGE.write_text(
        INTRODUCTION.format(command=command, **words) + "\n" + told.getvalue().rstrip() + "\n"
    )


if __name__ == "__main__":
    main()
