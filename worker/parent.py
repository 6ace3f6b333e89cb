"""Ties a process to the fate of its parent, and to the kernel's choice when memory runs out."""

import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Asks the kernel to kill this process when its parent dies, however that happens.

    Call it in the child, and only where the parent started it from its main thread: the signal
    is sent when that thread ends.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getppid()
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died in between
        os.kill(os.getpid(), signal.SIGKILL)


def offer_to_oom_killer() -> None:
    """Makes this process the first to be killed when memory runs out: its job survives it."""
    Path("/proc/self/oom_score_adj").write_text("1000")
