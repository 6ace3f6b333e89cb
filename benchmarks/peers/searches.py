"""A search by Optuna or Ray Tune with a plain PyTorch objective, in the environment that has them.

It is given what to do as JSON on the command line, and prints what came out as JSON. Nothing of
stepsize is imported.
"""

import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

Task = dict[str, Any]
Batches = Iterator[tuple[Tensor, Tensor]]


def read(path: str) -> dict[str, Tensor]:
    """Inputs and labels of both splits, and the shape of each schedule between 0 and 1."""
    with np.load(path) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def tensors(data: dict[str, Tensor], batch: int) -> Batches:
    """Batches as a careful user makes them: one permutation an epoch, one gather a batch."""
    inputs, labels = data["train_inputs"], data["train_labels"]
    while True:
        order = torch.randperm(len(labels))
        for rows in order[: len(labels) // batch * batch].split(batch):
            yield inputs[rows], labels[rows]


def loader(data: dict[str, Tensor], batch: int) -> Batches:
    """Batches as tutorials make them."""
    pairs = TensorDataset(data["train_inputs"], data["train_labels"])
    batches = DataLoader(pairs, batch_size=batch, shuffle=True, drop_last=True)
    while True:
        yield from batches


def train(task: Task, data: dict[str, Tensor], lr: float, policy: str, seed: int) -> float:
    """The validation loss of one training."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, task["hidden"]), nn.ReLU(), nn.Linear(task["hidden"], 10))
    careful = task["loop"] == "tensors"
    optimizer = torch.optim.SGD(
        model.parameters(), lr=lr, momentum=task["momentum"], fused=careful or None
    )
    low = task["floors"][policy]
    rates = (low + (lr - low) * data[policy]).tolist()
    batches = (tensors if careful else loader)(data, task["batch_size"])
    group = optimizer.param_groups[0]
    for rate in rates:
        inputs, labels = next(batches)
        group["lr"] = rate
        loss = functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = functional.cross_entropy(model(data["val_inputs"]), data["val_labels"]).item()
    return found if np.isfinite(found) else 1e9


def by_optuna(task: Task) -> dict[str, Any]:
    """One process, or several that share a study through a journal; or threads of one."""
    import optuna  # noqa: PLC0415 - each environment has one of the two
    from optuna.storages import JournalStorage  # noqa: PLC0415 - as above
    from optuna.storages.journal import JournalFileBackend  # noqa: PLC0415 - as above

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    data, samplers = read(task["data"]), optuna.samplers

    def sampler(number: int) -> Any:
        if task["sampler"] == "tpe":  # processes with the same seed would draw the same
            return samplers.TPESampler(seed=task["seed"] + number)
        return samplers.QMCSampler(seed=task["seed"], warn_independent_sampling=False)

    def objective(trial: Any) -> float:
        lr = trial.suggest_float("lr", task["low"], task["high"], log=True)
        policy = trial.suggest_categorical("policy", task["policies"])
        return train(task, data, lr, policy, task["seed"])

    began = perf_counter()
    with tempfile.TemporaryDirectory() as folder:

        def opened(number: int) -> Any:
            kept = JournalStorage(JournalFileBackend(f"{folder}/journal"))
            return optuna.create_study(
                storage=kept if task["processes"] > 1 else None,
                study_name="search",
                load_if_exists=True,
                sampler=sampler(number),
            )

        def work(number: int) -> None:
            share = len(range(number, task["runs"], task["processes"]))
            opened(number).optimize(objective, n_trials=share)

        study = opened(0)
        if task["processes"] == 1:
            study.optimize(objective, n_trials=task["runs"], n_jobs=task["threads"])
        else:
            fork = multiprocessing.get_context("fork")
            workers = [fork.Process(target=work, args=(n,)) for n in range(task["processes"])]
            for each in workers:
                each.start()
            for each in workers:
                each.join()
            if any(each.exitcode for each in workers):
                raise SystemExit("a process has failed: see above")
        done = [each for each in study.trials if each.value is not None]
        best = study.best_trial
    seconds = perf_counter() - began
    return {"seconds": seconds, "runs": len(done), "value": best.value, **best.params}


def by_ray(task: Task) -> dict[str, Any]:
    """As many actors as there are processes, which train one run after the other."""
    os.environ |= {
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
    }
    import ray  # noqa: PLC0415 - each environment has one of the two
    from ray import tune  # noqa: PLC0415 - as above
    from ray.tune.search.optuna import OptunaSearch  # noqa: PLC0415 - as above

    ray.init(num_cpus=task["processes"], include_dashboard=False, log_to_driver=False)
    data = read(task["data"])

    def objective(config: dict[str, Any], data: dict[str, Tensor]) -> None:
        torch.set_num_threads(1)
        loss = train(task, data, config["lr"], config["policy"], task["seed"])
        tune.report({"loss": loss})

    learns = task["sampler"] == "tpe"
    began = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(objective, data=data), {"cpu": 1}),
            param_space={
                "lr": tune.loguniform(task["low"], task["high"]),
                "policy": tune.choice(task["policies"]),
            },
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=task["runs"],
                search_alg=OptunaSearch(seed=task["seed"]) if learns else None,
                max_concurrent_trials=task["processes"] if learns else None,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        results = tuner.fit()
        best = results.get_best_result()
        seconds = perf_counter() - began
    ray.shutdown()
    told = {name: best.config[name] for name in ("lr", "policy")}
    return {
        "seconds": seconds,
        "runs": len(results) - results.num_errors,
        "value": best.metrics["loss"],
        **told,
    }


if __name__ == "__main__":
    given: Task = json.loads(sys.argv[1])
    found = {"optuna": by_optuna, "ray": by_ray}[given["peer"]](given)
    sys.stdout.flush()
    Path(given["answer"]).write_text(json.dumps(found))
