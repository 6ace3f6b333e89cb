"""What all answers of a server have in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr

from stepsize.errors import StepsizeError

FINISHED = frozenset({"succeeded", "failed", "cancelled"})


class Answer(BaseModel):
    """A frozen value that keeps whatever else a newer server may say."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Lasting(Answer):
    """What goes on for a while, and has a state; it knows the client that it came from."""

    id: str
    state: str
    _home: Any = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        """Remembers who read it, which is what it is validated in the context of."""
        self._home = context

    def __getstate__(self) -> dict[Any, Any]:
        # connections cannot be copied: elsewhere, and as a deep copy, it is a value alone
        return super().__getstate__() | {"__pydantic_private__": {"_home": None}}

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Any:
        return type(self).model_validate(self.model_dump(), context=self._home)

    def home(self) -> Any:
        """Who it came from.

        Raises:
            StepsizeError: nobody, as a copy from another process has it.
        """
        if self._home is None:
            raise StepsizeError(
                f"{self.id} is a value alone: ask a client for it, as in Client().job({self.id!r})"
            )
        return self._home

    @property
    def finished(self) -> bool:
        """Whether only a retry can move it on."""
        return self.state in FINISHED

    @property
    def paused(self) -> bool:
        """Whether it waits to be resumed."""
        return self.state == "paused"

    @property
    def succeeded(self) -> bool:
        """Whether it ended with a result."""
        return self.state == "succeeded"
