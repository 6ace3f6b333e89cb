"""How the passes of the reconciler go, for `/metrics`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Passes:
    """How the passes of this process go.

    Attributes:
        seconds: of all that did not fail.
        succeeded_at: seconds since 1970, of the end of the last one.
        leads: whether it did the work, at the last one.
    """

    succeeded: int = 0
    failed: int = 0
    seconds: float = 0.0
    succeeded_at: float = 0.0
    leads: bool = False

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Counts the block as a pass."""
        began = time.perf_counter()
        try:
            yield
        except BaseException:
            self.failed += 1
            self.leads = False
            raise
        self.succeeded += 1
        self.seconds += time.perf_counter() - began
        self.succeeded_at = time.time()
