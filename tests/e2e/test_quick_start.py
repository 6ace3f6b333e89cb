"""The README's quick start, word for word, in an empty virtual environment and a real terminal."""

import errno
import fcntl
import os
import signal
import struct
import subprocess
import termios
import time
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.e2e.service import eventually, free_port
from tests.e2e.test_installs import run, source

__all__ = ["source"]  # a fixture, which pytest finds by its name

SECONDS = 120
BRAILLE = range(0x2800, 0x2900)


def asked_for(package: str, extras: frozenset[str]) -> dict[str, Distribution]:
    """What is installed here that a package with extras asks for, and what that asks for."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    left = [(package, extras)]
    while left:
        name, some = left.pop()
        if (name, some) in seen:
            continue
        seen.add((name, some))
        found[name] = distribution(name)
        for need in map(Requirement, found[name].requires or ()):
            marker = need.marker
            if marker is None or any(marker.evaluate({"extra": each}) for each in (*some, "")):
                left.append((canonicalize_name(need.name), frozenset(need.extras)))
    del found[package]
    return found


def lent(folder: Path) -> Path:
    """Links to what stepsize asks for and nothing else, which pip takes for installed.

    It is what pip has made of the same constraints here: only the unpacking is saved.
    """
    for each in asked_for("stepsize", frozenset({"embedded"})).values():
        for top in {file.parts[0] for file in each.files or ()} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(str(each.locate_file(top)))
    return folder


def typed(text: str, folder: Path, environment: dict[str, str]) -> str:
    """What a terminal shows of these commands."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    with subprocess.Popen(
        ["bash", "-euc", text],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=environment,
    ) as process:
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b"")).decode()
    os.close(ours)
    assert process.returncode == 0, shown
    return shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError as error:
        if error.errno != errno.EIO:  # which is how Linux says that nobody writes there any more
            raise
        return b""


@pytest.mark.timeout(400)
def test_a_curve_is_drawn_within_two_minutes(
    source: Path,
    tmp_path: Path,
    texts: list[str],
) -> None:
    install, up, use = texts
    (tmp_path / "lent").mkdir()
    pip = {"PYTHONPATH": str(lent(tmp_path / "lent")), "PIP_QUIET": "1"}
    run("bash", "-euc", install, folder=source, **pip)
    packages = source / ".venv" / "lib" / "python3.11" / "site-packages"
    assert (packages / "stepsize").is_dir()

    began = time.monotonic()
    port = str(free_port())
    url = f"http://127.0.0.1:{port}"
    own = {"STEPSIZE_PORT": port, "STEPSIZE_URL": url, "OMP_NUM_THREADS": "1"}
    environment = os.environ | pip | own | {"BROWSER": "true", "TERM": "xterm-256color"}
    said, noted = tmp_path / "stdout", tmp_path / "stderr"
    with said.open("w") as out, noted.open("w") as err:
        service = subprocess.Popen(
            ["bash", "-euc", f". .venv/bin/activate\nexec {up}"],
            stdout=out,
            stderr=err,
            cwd=source,
            env=environment,
        )
    try:
        eventually(lambda: said.read_text() or service.poll() is not None, within=SECONDS)
        assert service.poll() is None, noted.read_text()
        commands = use.replace("localhost:8000", f"localhost:{port}")
        shown = typed(f". .venv/bin/activate\n{commands}", source, environment)
        assert time.monotonic() - began < SECONDS
        service.send_signal(signal.SIGINT)
        assert service.wait(timeout=30) == 0
    finally:
        service.kill()
        service.wait()
    assert any(ord(letter) in BRAILLE for letter in shown)  # the curve, in the terminal
    assert (source / "range-test.png").read_bytes().startswith(b"\x89PNG")
    assert "max_lr" in shown
    assert "The best is" in shown
    assert f"{url}/" in shown
    assert '"range_test"' in shown  # what curl prints
