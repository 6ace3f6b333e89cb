"""Log records as they are written, in JSON, while a test runs."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from telemetry import logs
from telemetry.logs import Form


class Written:
    """What has been written so far."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def of(self, logger: str, begins: str = "") -> list[dict[str, Any]]:
        return [
            each
            for each in self.records
            if each["logger"] == logger and each["message"].startswith(begins)
        ]


@contextmanager
def logged(form: Form = "json", *secrets: str) -> Iterator[Written]:
    """The records of the block, which are set up as a process does; then all is as before."""
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # the client that tests ask with
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    try:
        logs.configure(form, secrets=secrets, stream=stream)
        yield Written(stream)
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:] = before
        root.setLevel(level)
