"""The processes of a pool: started again, given up, drained, killed; with stand-ins for nodes."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

DRIVER = """
import sys, os
from stepsize import pool
nodes = [pool.Node(name, "a stand-in", {"NODE": name}) for name in sys.argv[2:]]
stop = pool.Stop()
with pool.stoppable(stop):
    sys.exit(pool.run(nodes, os.environ, stop=stop, say=lambda text: print(text, flush=True),
                      command=[sys.executable, "-c", sys.argv[1]], pause=0.01))
"""

PATIENT = """
import signal, sys, time, os
def stop(*_):
    os.write(1, (os.environ["NODE"] + " hands back\\n").encode())
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
os.write(1, (os.environ["NODE"] + " is up\\n").encode())
while True: time.sleep(0.02)
"""

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("still at it", flush=True))
print("is up", flush=True)
while True: time.sleep(0.02)
"""

THOROUGH = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(os.environ["FOLDER"])
def stop(*_):
    (folder / "asked").touch()
    while not (folder / "hung up again").exists(): time.sleep(0.02)
    (folder / "handed back").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
(folder / "up").touch()
while True: time.sleep(0.02)
"""

ONE_FAILS = f"""
import os, sys
if os.environ["NODE"] == "bad": sys.exit(7)
{PATIENT}
"""


class Pool:
    """A pool in a process of its own, and what it has said."""

    def __init__(self, folder: Path, script: str, *names: str) -> None:
        self._out = folder / "out"
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", DRIVER, script, *names],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )

    @property
    def said(self) -> str:
        return self._out.read_text()

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, self.said
            time.sleep(0.01)

    def until_said(self, *texts: str) -> None:
        self.until(lambda: all(text in self.said for text in texts))

    def nodes(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


def test_sigterm_waits_for_every_node(tmp_path: Path) -> None:
    pool = Pool(tmp_path, PATIENT, "a", "b")
    pool.until_said("a is up", "b is up")
    pool.process.send_signal(signal.SIGTERM)
    assert pool.process.wait(30) == 0
    for text in ("a hands back", "b hands back", "a: stopped", "b: stopped"):
        assert text in pool.said


def test_a_second_signal_kills(tmp_path: Path) -> None:
    pool = Pool(tmp_path, STUBBORN, "a")
    pool.until_said("is up")
    nodes = pool.nodes()
    pool.process.send_signal(signal.SIGTERM)
    pool.until_said("still at it")
    assert pool.process.poll() is None
    pool.process.send_signal(signal.SIGTERM)
    assert pool.process.wait(30) == 0
    assert "a: killed" in pool.said
    assert nodes
    assert not any(each.is_running() for each in nodes)


def test_a_node_that_dies_is_started_again(tmp_path: Path) -> None:
    pool = Pool(tmp_path, PATIENT, "a")
    pool.until_said("a is up")
    (node,) = pool.nodes()
    node.kill()
    pool.until(lambda: pool.said.count("a is up") == 2)
    assert "a was killed by signal 9, starts again in 0.01 s" in pool.said
    pool.process.send_signal(signal.SIGINT)
    assert pool.process.wait(30) == 0


def test_one_that_dies_at_once_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    pool = Pool(tmp_path, ONE_FAILS, "bad", "good")
    pool.until_said("good is up", "bad ended with exit code 7, 5 times in a row; given up")
    assert len(pool.nodes()) == 1
    pool.process.send_signal(signal.SIGTERM)
    assert pool.process.wait(30) == 1
    assert "good hands back" in pool.said


def test_a_pool_without_a_node_left_ends(tmp_path: Path) -> None:
    pool = Pool(tmp_path, "raise SystemExit(3)", "a")
    assert pool.process.wait(30) == 1
    assert "no node is left" in pool.said


def test_nodes_die_with_a_pool_that_is_killed(tmp_path: Path) -> None:
    pool = Pool(tmp_path, PATIENT, "a")
    pool.until_said("a is up")
    nodes = pool.nodes()
    pool.process.kill()
    pool.process.wait()
    pool.until(lambda: not any(each.is_running() for each in nodes))


def test_a_terminal_that_goes_does_not_cost_the_jobs(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, THOROUGH, "a"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "FOLDER": str(tmp_path),
        },
        start_new_session=True,
    )
    os.close(theirs)
    until((tmp_path / "up").exists)
    os.close(ours)  # from now on there is nowhere to write to
    process.send_signal(signal.SIGHUP)
    until((tmp_path / "asked").exists)
    process.send_signal(signal.SIGHUP)  # the shell has sent one, and the kernel sends another
    (tmp_path / "hung up again").touch()
    assert process.wait(30) == 0
    assert (tmp_path / "handed back").exists()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
