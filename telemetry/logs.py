"""Log records as one line each: JSON for machines, or text for people; without secrets."""

import json
import logging
import re
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from typing import IO, Literal

from telemetry import context

Form = Literal["text", "json"]

REQUEST = ("method", "route", "status", "ms", "caller")
"""What a record about a request has beside the fields of all records."""

HIDDEN = "[hidden]"

SHORTEST = 8
"""Characters of a secret that is looked for by itself: a shorter one is in many a word."""

_SECRETS = re.compile(
    r"""
      (?P<before>
          \b ss_[0-9a-z]{4}                                   # the start of an API key
        | \b whsec_                                           # a webhook's secret
        | \b (?:bearer|basic) [ ]+
        | \b (?:set-)?cookie ["']? \s* [:=,] \s* ["']?
        | (?:password|secret|token|api_?key|stepsize_key) ["']? \s* [:=] \s* ["']?
        | :// [^\s/:@]* : (?=[^\s/]*@)  # a user's password in an address
      )
      [^\s"',;@]+
    """,
    re.IGNORECASE | re.VERBOSE,
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")


class _About(logging.Filter):
    """Gives every record what it is about, when it is made: its thread knows."""

    def filter(self, record: logging.LogRecord) -> bool:
        subject = context.current()
        for name in context.FIELDS:
            if name in subject and not hasattr(record, name):
                setattr(record, name, subject[name])
        return True


class _Hiding(logging.Formatter):
    """Replaces what looks like a secret, and what is known to be one."""

    def __init__(self, secrets: Collection[str]) -> None:
        super().__init__()
        known = sorted((each for each in secrets if len(each) >= SHORTEST), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def hidden(self, text: str) -> str:
        """The text without them."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        return _SECRETS.sub(lambda found: found["before"] + HIDDEN, text)

    def trace(self, record: logging.LogRecord) -> str | None:
        """The traceback of a record that has one."""
        found = record.exc_info and self.formatException(record.exc_info)
        return self.hidden(found) if found else None


class Json(_Hiding):
    """An object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record."""
        told: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self.hidden(record.getMessage()),
        }
        for name in (*context.FIELDS, *REQUEST):
            value = getattr(record, name, None)
            if value is not None:
                told[name] = self.hidden(value) if isinstance(value, str) else value
        if trace := self.trace(record):
            told["exception"] = trace
        return json.dumps(told)


class Text(_Hiding):
    """A line to be read, with what the record is about and does not say itself."""

    def format(self, record: logging.LogRecord) -> str:
        """The record; what a client sent cannot make two lines of one."""
        message = record.getMessage()
        known = ((name, getattr(record, name, None)) for name in context.FIELDS)
        more = [
            f"{name}={value}"
            for name, value in known
            if value is not None and f"{name}=" not in message
        ]
        when = datetime.fromtimestamp(record.created).astimezone()
        line = f"{when:%Y-%m-%d %H:%M:%S},{when.microsecond // 1000:03} {record.levelname} "
        line += self.hidden(" ".join([f"{record.name} {message}", *more]))
        line = _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), line)
        trace = self.trace(record)
        return f"{line}\n{trace}" if trace else line


def configure(
    form: Form,
    *,
    level: int = logging.INFO,
    secrets: Collection[str | None] = (),
    stream: IO[str] | None = None,
) -> logging.Handler:
    """Sends all records of this process to `stream` (standard error) in that form, and no other."""
    known = [each for each in secrets if each]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Json(known) if form == "json" else Text(known))
    handler.addFilter(_About())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    return handler
