"""What can go wrong between a client and a server, said so that the reader can act on it."""

from dataclasses import dataclass


class StepsizeError(Exception):
    """The root of every error that this package raises on purpose."""


class UnreachableError(StepsizeError):
    """No server answered."""


class NotStepsizeError(StepsizeError):
    """Something answered, but not in the words of the stepsize API."""


@dataclass(frozen=True)
class FieldError:
    """One field the server refused: a JSON pointer into the request, and why."""

    pointer: str
    detail: str


class ApiError(StepsizeError):
    """The server understood the request and refused it."""

    def __init__(
        self, status: int, title: str, *, detail: str = "", errors: tuple[FieldError, ...] = ()
    ) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors
        super().__init__(status, title)

    def __str__(self) -> str:
        lines = [f"{self.title} ({self.status})" + (f": {self.detail}" if self.detail else "")]
        lines += [f"  {error.pointer or '/'}: {error.detail}" for error in self.errors]
        if self.status == 401:  # noqa: PLR2004 - HTTP's own number
            lines.append("set STEPSIZE_API_KEY, or pass api_key, to a key of this server")
        return "\n".join(lines)
