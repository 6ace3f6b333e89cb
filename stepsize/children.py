"""Child processes that never outlive this one, each with a log of its own or with this one's."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from stepsize import tether

TAIL = 15
"""Lines of a log that are shown when its process failed."""


class Child:
    """A command that can be started again and again; start it from the main thread only.

    Without a log it writes where this process does, and runs in the same folder.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        log: Path | None,
        patience: float = 5.0,
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environ = dict(environ)
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it in a process group of its own, so that a Ctrl-C reaches only this process."""
        with nullcontext() if self.log is None else self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), *self._command],
                env=self._environ,
                # where no folder of the user's can pass for a module
                cwd=self.log and self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log and subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        """The process, once started."""
        return None if self._process is None else self._process.pid

    def exit_code(self) -> int | None:
        """How it ended; None while it runs. What it left of its process group is killed."""
        if self._process is None:
            raise RuntimeError(f"{self.name} has not been started")
        running = self._process.returncode is None
        code = self._process.poll()
        if running and code is not None:
            self._kill_group()
        return code

    def wait(self, seconds: float) -> int | None:
        """As `exit_code`, after waiting for it to end."""
        deadline = time.monotonic() + seconds
        while (code := self.exit_code()) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return code

    def stop(self) -> None:
        """Asks it to end, and kills it when it has not after its patience."""
        if self._process is None or self.exit_code() is not None:
            return
        self.terminate()
        if self.wait(self._patience) is None:
            self.kill()
            self._process.wait()

    def terminate(self) -> None:
        """Asks it to end."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """Ends it at once, with its process group."""
        self._kill_group()

    def tail(self) -> str:
        """The last lines it wrote to its own log."""
        if self.log is None:
            return ""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-TAIL:])

    def _kill_group(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):  # nothing is left of it
                os.killpg(self._process.pid, signal.SIGKILL)
