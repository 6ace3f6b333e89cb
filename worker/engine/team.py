"""The other processes of a job that is computed by several: started, told what to do, ended.

The first process runs the job as ever. The others hold copies of what it trains, and are told over
pipes: begin a learner, load a state, make these updates. Only gradients and what is recorded pass
between all of them, by torch.distributed, on this machine alone.
"""

import io
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import distributed

from spec.jobs import RangeTestSpec, TrainingSpec
from spec.states import Reason
from worker.engine.errors import EngineError
from worker.engine.events import State
from worker.engine.ranks import Rank, placed

PATIENCE = timedelta(minutes=5)
"""For one process to wait for the others in an update."""

STARTING = 120.0
"""Seconds that their start may take: each imports torch."""

ENDING = 5.0
"""Seconds for one to end by itself, and to end what reads for it."""

GRACE = 2.0
"""Seconds in which it turns out why something failed: another process has ended, or says so."""

FEW = 1
"""Updates that are ordered at first; how long they take decides how many are next."""


@dataclass(frozen=True)
class Seat:
    """What a process is told first: its job, its place in it."""

    spec: dict[str, Any]
    device: str
    data_dir: str
    rank: Rank
    meeting: str
    """A file by which they find each other."""


@dataclass(frozen=True)
class Begin:
    """Make a fresh learner."""

    entropy: Any
    spawn_key: tuple[int, ...]


@dataclass(frozen=True)
class Load:
    """Put the learner into a state, as torch writes it."""

    state: bytes


@dataclass(frozen=True)
class Go:
    """Make an update for each of these rates and momenta."""

    lr: Sequence[float]
    momentum: Sequence[float | None]


@dataclass(frozen=True)
class Wrong:
    """What a process could not do."""

    reason: Reason
    detail: str


@dataclass(frozen=True)
class _Member:
    rank: Rank
    process: subprocess.Popen[bytes]
    pipe: Connection

    def wrong(self) -> EngineError | None:
        """What it has said to be wrong, or how it ended."""
        name = f"process {self.rank.index + 1} of {self.rank.count}"
        with suppress(EOFError, OSError):
            while self.pipe.poll(GRACE):  # also once it has ended
                said = self.pipe.recv()
                if isinstance(said, Wrong):
                    return EngineError(said.reason, f"{name}: {said.detail}")
        with suppress(subprocess.TimeoutExpired):
            code = self.process.wait(GRACE)
            end = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            return EngineError(Reason.WORKER_LOST, f"{name} of this job {end}")
        return None


class Team:
    """The other processes, as the first one sees them."""

    def __init__(self, members: Sequence[_Member]) -> None:
        self._members = members
        self._rows = FEW

    def begin(self, seeds: np.random.SeedSequence) -> None:
        """All make the learner that these seeds make."""
        self._tell(Begin(seeds.entropy, tuple(seeds.spawn_key)))

    def load(self, state: State) -> None:
        """All put it into this state."""
        content = io.BytesIO()
        torch.save(state, content)
        self._tell(Load(content.getvalue()))

    def go(self, lr: Sequence[float], momentum: Sequence[float | None]) -> None:
        """All make these updates, at the same time as this process."""
        self._tell(Go(lr, momentum))

    @property
    def rows(self) -> int:
        """How many updates to order at once."""
        return self._rows

    def took(self, rows: int, seconds: float, longest: float) -> None:
        """So many updates took so long: the next are to take `longest`, or twice as many."""
        fitting = int(rows * longest / max(seconds, 1e-9))
        self._rows = max(1, min(2 * self._rows, fitting))

    def _tell(self, order: Begin | Load | Go) -> None:
        for member in self._members:
            member.pipe.send(order)


@contextmanager
def gathered(
    spec: RangeTestSpec | TrainingSpec, *, device: torch.device, data_dir: Path
) -> Iterator[Team | None]:
    """The other processes of a job, which are gone when the block ends; None where it has none.

    To be entered from the main thread. What goes wrong in the block because one of them failed is
    raised as what that one says.

    Raises:
        EngineError: INVALID, there are too few GPUs; WORKER_LOST, one has ended.
    """
    count = spec.ranks
    if count == 1:
        yield None
        return
    if device.type == "cuda" and (device.index or 0) + count > torch.cuda.device_count():
        raise EngineError(
            Reason.INVALID,
            f"/processes: {count} need a GPU each, and this worker has"
            f" {torch.cuda.device_count()}: say in /needs/gpus how many the job needs",
        )
    members: list[_Member] = []
    with TemporaryDirectory(prefix="stepsize-") as folder, ExitStack() as ending:
        ending.callback(_end, members)
        meeting = f"{folder}/meeting"
        ranks = [Rank(index, count) for index in range(1, count)]
        # one by one: those that are there are ended, should the next not start
        members.extend(_started(spec, device, data_dir, each, meeting) for each in ranks)
        try:
            _wait_for(members)
            join(meeting, Rank(0, count), device)
            ending.callback(distributed.destroy_process_group)
            yield Team(members)
        except EngineError:
            raise
        except Exception as error:
            for member in members:
                if wrong := member.wrong():
                    raise wrong from error
            raise


def join(meeting: str, rank: Rank, device: torch.device) -> None:
    """Meet the other processes of the job; returns when all are there."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{meeting}",
        rank=rank.index,
        world_size=rank.count,
        timeout=PATIENCE,
    )


def _started(
    spec: RangeTestSpec | TrainingSpec,
    device: torch.device,
    data_dir: Path,
    rank: Rank,
    meeting: str,
) -> _Member:
    ours, theirs = Pipe()
    with theirs:
        command = [sys.executable, "-P", "-m", "worker.engine.follower"]
        process = subprocess.Popen(
            [*command, str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
    mine = str(placed(device, rank.index))
    ours.send(Seat(spec.model_dump(mode="json"), mine, str(data_dir), rank, meeting))
    return _Member(rank, process, ours)


def _wait_for(members: Sequence[_Member]) -> None:
    """Until each has said that it is there."""
    for member in members:
        if not wait([member.pipe], STARTING):
            raise EngineError(Reason.WORKER_LOST, f"a process did not start in {STARTING:g} s")
        said = member.pipe.recv()
        if isinstance(said, Wrong):
            raise EngineError(said.reason, said.detail)


def _end(members: Sequence[_Member]) -> None:
    for member in members:
        member.pipe.close()
    until = monotonic() + ENDING  # for all of them
    for member in members:
        try:
            member.process.wait(max(0.0, until - monotonic()))
        except subprocess.TimeoutExpired:
            member.process.kill()
            member.process.wait()
