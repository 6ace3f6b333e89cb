"""Keras: `Model.fit` on the backend that the environment names; the ramp is a schedule of its own.

A rate that a callback sets for each batch would not reach the compiled step of the JAX backend.
"""

import keras
import numpy as np
from keras import layers, optimizers
from peers.shared import Stopwatch, dataset
from tasks import END, LR, START, Task


class Losses(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Reads the loss of each batch."""

    def __init__(self, watch: Stopwatch) -> None:
        super().__init__()
        self.watch = watch
        self.losses: list[float] = []

    def on_train_batch_end(self, _: int, logs: dict[str, float] | None = None) -> None:
        """After its update."""
        self.losses.append(float((logs or {})["loss"]))
        self.watch.tick()


def measure(task: Task) -> float:
    """Iterations a second."""
    read = dataset(task)
    inputs = np.ascontiguousarray(read.train.inputs.permute(0, 2, 3, 1).numpy())
    labels = read.train.labels.numpy()
    keras.mixed_precision.set_dtype_policy(
        "mixed_bfloat16" if task.precision == "bf16" else "float32"
    )
    watch = Stopwatch(task)
    model = _model(task, inputs.shape[1:], read.classes)
    model.compile(_optimizer(task), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batch, per_epoch = task.workload.batch_size, min(task.iterations, task.workload.per_epoch)
    epochs, rest = divmod(task.iterations, per_epoch)
    for steps, times in ((per_epoch, epochs), (rest, 1)):
        if steps:  # whole batches only: one of another size would be compiled anew
            examples = slice(steps * batch)
            model.fit(
                inputs[examples],
                labels[examples],
                batch_size=batch,
                epochs=times,
                verbose=0,
                callbacks=[Losses(watch)],
            )
    return watch.speed()


def _optimizer(task: Task) -> optimizers.Optimizer:
    rate: float | optimizers.schedules.LearningRateSchedule = LR
    if task.mode == "range-test":
        rate = optimizers.schedules.ExponentialDecay(START, task.iterations - 1, END / START)
    wanted = task.workload.optimizer
    kind = {"adam": optimizers.Adam, "sgd": optimizers.SGD}[wanted["name"]]
    return kind(rate, **wanted.get("params", {}))


def _model(task: Task, shape: tuple[int, ...], classes: int) -> keras.Model:
    wanted = task.workload.model
    match wanted["name"]:
        case "mlp":
            units = wanted["params"]["hidden"]
            body = [layers.Flatten(), *(layers.Dense(each, activation="relu") for each in units)]
        case "lenet":
            body = [
                layers.Conv2D(20, 5),
                layers.MaxPooling2D(2),
                layers.Conv2D(50, 5),
                layers.MaxPooling2D(2),
                layers.Flatten(),
                layers.Dense(500, activation="relu"),
            ]
        case other:
            raise ValueError(f"no {other} is written in Keras here")
    return keras.Sequential([keras.Input(shape), *body, layers.Dense(classes, dtype="float32")])
