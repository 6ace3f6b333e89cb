"""How long things last: in iterations, epochs or cycles."""

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from schedules.values import Epochs, Iterations, Value


class InIterations(Value):
    """A length of so many optimizer updates."""

    iterations: Iterations


class InCycles(Value):
    """A length of so many whole cycles of the schedule."""

    cycles: Annotated[int, Field(strict=True, ge=1, le=1_000_000)]


def _unit(value: object) -> str | None:
    keys = value.keys() if isinstance(value, dict) else getattr(value, "model_fields_set", {})
    named = [unit for unit in ("iterations", "epochs", "cycles") if unit in keys]
    return named[0] if len(named) == 1 else None


Length = Annotated[
    Annotated[InIterations, Tag("iterations")]
    | Annotated[Epochs, Tag("epochs")]
    | Annotated[InCycles, Tag("cycles")],
    Discriminator(
        _unit,
        custom_error_type="length",
        custom_error_message="must have exactly one of iterations, epochs, cycles",
    ),
]
"""How long a training runs."""

Interval = Annotated[
    Annotated[InIterations, Tag("iterations")] | Annotated[Epochs, Tag("epochs")],
    Discriminator(
        _unit,
        custom_error_type="interval",
        custom_error_message="must have exactly one of iterations, epochs",
    ),
]
"""How often something happens during a training."""
