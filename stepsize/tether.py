"""Becomes a command that the kernel kills when the process that started it dies.

Run as a script, `python tether.py PARENT COMMAND...`: code between fork and exec of a process
with threads is not safe, code in a process of its own is. Start it from the main thread, since
the kernel takes the end of the starting thread for the end of the parent. Only Linux offers this;
elsewhere the command simply runs.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ties this process to its parent, and becomes the command."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != int(parent):
            sys.exit("the process that started this one is gone")
    os.execv(command[0], command)  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    main()
