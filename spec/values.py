"""Small value types that every spec is made of."""

from typing import Annotated, NewType

from pydantic import Field, JsonValue, StringConstraints

from schedules.values import Value

JobId = NewType("JobId", str)
"""`job_` and 32 hexadecimal digits; sorts by time of submission."""

Identifier = Annotated[
    str,
    StringConstraints(strict=True, pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$"),
]
"""The name of a model, dataset, optimizer or queue."""

# No control characters: databases and terminals take them badly, and no name needs them.
Text = Annotated[
    str, StringConstraints(strict=True, pattern=r"^[^\x00-\x1f\x7f]*$", max_length=200)
]
"""One line of text for people."""

Seed = Annotated[int, Field(strict=True, ge=0, lt=2**53)]
"""A seed that survives JSON in every language."""

Params = dict[str, JsonValue]
"""Parameters of a component by name, as they came in JSON."""


class Component(Value):
    """A model, dataset or optimizer, by name, with its parameters."""

    name: Identifier
    params: Params = Field(default_factory=dict)
