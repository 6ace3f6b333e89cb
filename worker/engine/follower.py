"""A process that computes its part of each batch of a job that another process runs.

`python -m worker.engine.follower FD PARENT`, with the descriptor of its end of a pipe.
"""

import io
import os
import signal
import sys
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from spec.jobs import JOB_SPEC
from spec.states import Reason
from worker.engine.errors import EngineError, explained
from worker.engine.loop import DEFAULT_PACE, Buffers
from worker.engine.prepare import prepared
from worker.engine.recipe import Learner, Recipe, start
from worker.engine.state import loaded
from worker.engine.team import Begin, Go, Load, Seat, Wrong, join
from worker.parent import die_with_parent


def main() -> None:
    """Does as it is told, until nobody tells it any more.

    Signals to end that reach all processes of a node are for the first one: it hands the job back.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()
    if os.getppid() != int(sys.argv[2]):
        sys.exit("the process that started this one is gone")
    with Connection(int(sys.argv[1])) as pipe:
        try:
            with explained():
                _serve(pipe, pipe.recv())
        except EOFError:
            return  # the job has ended
        except EngineError as error:
            _say(pipe, Wrong(error.reason, error.detail))
            sys.exit(1)
        except Exception as error:
            # without a word the first process would take it for a broken machine
            _say(pipe, Wrong(Reason.CODE, f"{type(error).__name__}: {error}"))
            raise


def _say(pipe: Connection, wrong: Wrong) -> None:
    with suppress(OSError):
        pipe.send(wrong)


def _serve(pipe: Connection, seat: Seat) -> None:
    device = torch.device(seat.device)
    spec = JOB_SPEC.validate_python(seat.spec)
    recipe = prepared(spec, device, Path(seat.data_dir), rank=seat.rank)
    with closing(recipe), recipe.numerics.applied():
        pipe.send("here")
        join(seat.meeting, seat.rank, device)
        _follow(pipe, recipe)


def _follow(pipe: Connection, recipe: Recipe) -> None:
    learner: Learner | None = None
    while True:
        order = pipe.recv()
        match order:
            case Begin():
                learner = None  # two of them need not fit
                learner = start(
                    recipe, np.random.SeedSequence(order.entropy, spawn_key=order.spawn_key)
                )
            case Load() if learner is not None:
                state = torch.load(io.BytesIO(order.state), weights_only=True)
                learner = loaded(learner, recipe, state)
            case Go() if learner is not None:
                _update(learner, recipe, order)
            case _:
                raise TypeError(f"{type(order).__name__} came out of turn")


def _update(learner: Learner, recipe: Recipe, order: Go) -> None:
    buffers = Buffers(recipe, max(DEFAULT_PACE.points, len(order.lr)), adapted=False)
    for row, (lr, momentum) in enumerate(zip(order.lr, order.momentum, strict=True)):
        batch = learner.batches.next()
        buffers.write(row, learner.step(batch, lr, momentum), batch)
    buffers.read(slice(0, len(order.lr)))  # its part of what the first process records


if __name__ == "__main__":
    main()
