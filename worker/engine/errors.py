"""How the engine says that a job cannot run, and which of torch's complaints mean what."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pydantic import ValidationError

from spec.states import Reason


class EngineError(Exception):
    """The job cannot run; `detail` says why, and what to do about it."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class UnfitError(ValueError):
    """A state does not belong to what it is loaded into."""


def invalid(error: ValidationError, *where: str) -> EngineError:
    """What pydantic has against the part of a spec at `where`."""
    problems = (
        f"{'/'.join(('', *where, *map(str, each['loc'])))}: {each['msg']}"
        for each in error.errors()
    )
    return EngineError(Reason.INVALID, "; ".join(problems))


@contextmanager
def explained() -> Iterator[None]:
    """Turn what torch, a file or a missing library raises in the block into an EngineError."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise EngineError(Reason.OOM, _described(error)) from error
    except SystemExit as error:  # of a plug-in: Celery would swallow it, and the job be lost
        detail = f"code of the job asked the process to end ({_described(error)})"
        raise EngineError(Reason.CODE, detail) from error
    except (RuntimeError, ValueError, TypeError, IndexError, OSError, ImportError) as error:
        # torch's CPU allocator raises a plain RuntimeError
        reason = Reason.OOM if "can't allocate memory" in str(error) else Reason.CODE
        raise EngineError(reason, _described(error)) from error


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
