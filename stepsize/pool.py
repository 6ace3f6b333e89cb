"""The worker nodes of one machine: one for each GPU, or one for the CPUs; kept running, drained."""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from stepsize.cards import Card
from stepsize.children import Child
from stepsize.errors import StepsizeError
from stepsize.supervisor import ChildFailedError, Supervisor

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

INTERVAL = 0.1
"""Seconds between two looks at the nodes."""

PATIENCE = 10.0
"""Seconds for the kernel to end what was killed."""


@dataclass(frozen=True)
class Node:
    """A worker node to be.

    Attributes:
        about: what it runs on, for people.
        environ: the variables that are its own.
    """

    name: str
    about: str
    environ: Mapping[str, str]


def planned(cards: Sequence[Card], *, per_gpu: int = 1, gpus_per_job: int = 1) -> list[Node]:
    """One node for each card, or more on each, or one for several; without cards one on the CPUs.

    Raises:
        StepsizeError: the cards do not do.
    """
    if per_gpu > 1 and gpus_per_job > 1:
        raise StepsizeError("--per-gpu and --gpus-per-job: a GPU is shared or joined, not both")
    if not cards:
        if per_gpu > 1 or gpus_per_job > 1:
            raise StepsizeError("--per-gpu and --gpus-per-job are about GPUs, and there is none")
        return [Node("cpu", "the CPUs", {"STEPSIZE_DEVICE": "cpu"})]
    if len(cards) % gpus_per_job:
        raise StepsizeError(
            f"--gpus-per-job {gpus_per_job}: {len(cards)} GPUs cannot be divided so; choose some"
            " with --devices"
        )
    groups = [cards[start : start + gpus_per_job] for start in range(0, len(cards), gpus_per_job)]
    return [_node(group, share, per_gpu) for group in groups for share in range(per_gpu)]


def _node(group: Sequence[Card], share: int, per_gpu: int) -> Node:
    name = f"gpu{'+'.join(card.label for card in group)}"
    about = ", ".join(f"{card.model} {card.uuid}" for card in group)
    environ = {
        "CUDA_VISIBLE_DEVICES": ",".join(card.uuid for card in group),
        "STEPSIZE_DEVICE": "cuda:0",
        "STEPSIZE_GPUS": str(len(group)),
        "STEPSIZE_PER_GPU": str(per_gpu),
    }
    if per_gpu > 1:
        return Node(f"{name}.{share}", f"1/{per_gpu} of {about}", environ)
    return Node(name, about, environ)


class Stop:
    """How often this process was asked to end."""

    def __init__(self) -> None:
        self.asked = 0

    def note(self, number: int, _frame: FrameType | None = None) -> None:
        """Remembers that a signal came; a hang-up, of which a terminal sends several, once."""
        if number != signal.SIGHUP or not self.asked:
            self.asked += 1


@contextmanager
def stoppable(stop: Stop) -> Iterator[None]:
    """In the block a signal that ends is only noted; to be entered from the main thread."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    for number, handler in before.items():
        if number != signal.SIGHUP or handler != signal.SIG_IGN:  # as under nohup
            signal.signal(number, stop.note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(
    nodes: Sequence[Node],
    environ: Mapping[str, str],
    *,
    stop: Stop,
    say: Callable[[str], None],
    command: Sequence[str] = (sys.executable, "-P", "-m", "worker"),
    pause: float = 0.5,
) -> int:
    """Keeps the nodes running until it is asked to stop; returns an exit code.

    One that dies is started again, and given up, in words, when it dies at once again and again;
    the others go on. Asked once, it waits until every job has been handed back; asked again, it
    kills what is left. To be called from the main thread. Where nobody hears any more what it says,
    as when a terminal has gone, it goes on in silence.
    """

    def tell(text: str) -> None:
        with suppress(OSError):
            say(text)

    running = {
        node.name: (child := _child(node, environ, command), _watched(child, tell, pause))
        for node in nodes
    }
    for node in nodes:
        child, supervisor = running[node.name]
        supervisor.start()
        tell(f"{node.name}: started on {node.about}, process {child.pid}")
    given_up = 0
    while running and not stop.asked:
        for name, (_, supervisor) in list(running.items()):
            try:
                supervisor.tend()
            except ChildFailedError as error:
                given_up += 1
                del running[name]
                tell(f"{error}; given up: see what it logged above")
        time.sleep(INTERVAL)
    if stop.asked:
        _drain({name: child for name, (child, _) in running.items()}, stop, tell)
    else:
        tell("no node is left")
    return 1 if given_up else 0


def _drain(left: dict[str, Child], stop: Stop, say: Callable[[str], None]) -> None:
    say(f"stopping: waiting for {len(left)} to hand their jobs back; a second signal kills them")
    for child in left.values():
        child.terminate()
    while left:
        for name, child in list(left.items()):
            if stop.asked > 1:
                child.kill()
                child.wait(PATIENCE)
                say(f"{name}: killed")
                del left[name]
            elif child.exit_code() is not None:
                say(f"{name}: stopped")
                del left[name]
        time.sleep(INTERVAL)


def _child(node: Node, environ: Mapping[str, str], command: Sequence[str]) -> Child:
    return Child(node.name, command, environ={**environ, **node.environ}, log=None)


def _watched(child: Child, say: Callable[[str], None], pause: float) -> Supervisor:
    return Supervisor([child], say=say, pause=pause)
