"""How fast is one run? stepsize, the loops people write, other frameworks, and the limits."""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

from bystanders import said
from contest import Contestant, Results, contest, ratio
from tables import machine, show
from tasks import WORKLOADS, Task, planned

from worker.__main__ import environment

STEPSIZE = "stepsize"
HAND_WRITTEN = "hand-written loop"
LIMIT = "physical limit"
FINDERS = {
    "torch-lr-finder": "peers.torch_finder:measure",
    "fastai": "peers.fastai_learner:measure",
    "Lightning": "peers.lightning_trainer:measure",
    "ignite": "peers.ignite_trainer:measure",
}
ONLY_FINDS = ("torch-lr-finder",)
KERAS = {"Keras (JAX)": "jax", "Keras (torch)": "torch"}
KERAS_MODELS = ("mlp", "lenet")


def contestants(task: Task, *, compiled: bool) -> Iterator[Contestant]:
    """Everyone who can do the task; those of ours in the environment of a worker."""
    theirs = dict(os.environ)
    if task.threads:
        theirs |= {"OMP_NUM_THREADS": str(task.threads), "PJRT_NPROC": str(task.threads)}
    ours = environment(theirs)
    model = task.workload.model["name"]

    options: dict[str, dict[str, bool]] = {STEPSIZE: {}}
    if model != "mlp":
        options[f"{STEPSIZE}, channels last"] = {"channels_last": True}
    if compiled:
        options |= {
            f"{name}, compiled": {**each, "compile": True} for name, each in options.items()
        }
    for name, each in options.items():
        yield Contestant(name, "peers.engine:measure", replace(task, options=each), ours)

    yield Contestant("plain PyTorch loop", "peers.plain:measure", task, theirs)
    for name, loop in FINDERS.items():
        if task.mode == "range-test" or name not in ONLY_FINDS:
            yield Contestant(name, loop, task, theirs)
    for name, backend in KERAS.items() if model in KERAS_MODELS else ():
        yield Contestant(
            name, "peers.keras_model:measure", task, {**theirs, "KERAS_BACKEND": backend}
        )
    if model == "mlp":
        yield Contestant(HAND_WRITTEN, "peers.by_hand:measure", task, ours)
    yield Contestant(LIMIT, "limits:measure", task, ours)


def rows(results: Results) -> list[list[str]]:
    """A line for each, the fastest first."""
    speeds: Mapping[str, list[float]] = results.answers
    finders = [name for name in FINDERS if name in speeds]
    fastest = max(finders, key=lambda name: median(speeds[name]), default=None)

    def against(name: str, reference: str | None, form: str) -> str:
        if reference is None or reference not in speeds:
            return ""
        return f"{ratio(speeds[name], speeds[reference]):{form}}"

    return [
        [
            name if name != fastest else f"{name} (the fastest finder)",
            f"{median(each):.0f}",
            f"{min(each):.0f} - {max(each):.0f}",
            against(name, fastest, ".2f"),
            against(name, HAND_WRITTEN, ".0%"),
            against(name, LIMIT, ".0%"),
        ]
        for name, each in sorted(speeds.items(), key=lambda pair: -median(pair[1]))
    ]


HEADERS = (
    "loop",
    "it/s (median)",
    "least - most",
    "x fastest finder",
    "of hand-written",
    "of the limit",
)


def main() -> int:
    """Parse the command line, measure, print; 1 if something failed."""
    parser = argparse.ArgumentParser(
        description=f"{__doc__} The same model, data in memory, optimizer, batch, precision and "
        "number of iterations for all, and all make all of them: a range test ends at a rate "
        "where nobody stops early. The clock runs from building the model to the last loss; for "
        "a compiled model from its first block on.",
        epilog="Each loop lives in a process of its own: stepsize, the hand-written loop and the "
        "limit in the environment that a worker sets for itself, the others in yours. They run in "
        "turn, round after round; ratios are medians of each round's, so quote these. A "
        "measurement during which other processes were busy is made again, up to three times. "
        "What is not installed is left out, and said. Compiling takes minutes.",
    )
    parser.add_argument(
        "--workload", choices=WORKLOADS, action="append", help="one of them (default: each)"
    )
    parser.add_argument("--mode", choices=("range-test", "epoch"), default="range-test")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each (default 7)")
    parser.add_argument(
        "--iterations", type=int, help="of the range test, or at most of the epoch, for a share"
    )
    parser.add_argument("--compile", action="store_true", help="stepsize with `compile` as well")
    parser.add_argument("--threads", type=int, help="of every loop (default: each one's own)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="loops whose names begin so (default: all)"
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path("data"),
        help="where to look for fashion-mnist/ if the system has none; it is downloaded into here",
    )
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    options = parser.parse_args()

    broken = []
    for name in options.workload or WORKLOADS:
        workload = WORKLOADS[name]
        task = Task(
            workload,
            options.mode,
            planned(workload, options.mode, options.iterations),
            options.precision,
            options.threads,
            options.device,
            options.data_dir,
        )
        everyone = [
            each
            for each in contestants(task, compiled=options.compile)
            if not options.only or each.name.startswith(tuple(options.only))
        ]
        results = contest(everyone, options.rounds, title=name)
        threads = f"threads: {options.threads or 'as each sets them'}"
        notes = [
            machine(options.device, threads, f"rounds: {results.rounds}"),
            said(results.others),
        ]
        notes += [f"left out: {loop}: {why}" for loop, why in results.out.items()]
        broken += results.broken
        show(
            f"{workload.title}: {options.mode}, {task.iterations} iterations, {options.precision}",
            HEADERS,
            rows(results),
            notes=notes,
            markdown=options.markdown,
        )
        if results.interrupted:
            break
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
