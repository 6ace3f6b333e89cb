"""Turns this process into another part of stepsize, where that is installed."""

import os
import sys
from importlib.util import find_spec
from typing import NoReturn

from stepsize.errors import StepsizeError

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Of a command whose arguments are the other part's."""


def require(package: str, *, extra: str) -> None:
    """Raise StepsizeError where a package is not installed, naming the extra that brings it."""
    if find_spec(package) is None:
        raise StepsizeError(f"{package} is not installed: pip install 'stepsize[{extra}]'")


def become(module: str, arguments: list[str], *, needs: str, extra: str) -> NoReturn:
    """Run the module in this process's place.

    Raises:
        StepsizeError: what it needs is not installed.
    """
    require(needs, extra=extra)
    # -P: a folder named `api` where the user happens to be is not this one
    command = [sys.executable, "-P", "-m", module, *arguments]
    os.execv(command[0], command)  # noqa: S606 - no shell is meant
