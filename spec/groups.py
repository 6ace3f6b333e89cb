"""Learning rates that differ by parameter."""

from typing import Annotated

from pydantic import Field, StringConstraints

from schedules.values import Value

Pattern = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_.*?\[\]!-]{1,200}$")]
"""Names of parameters, with the wildcards of a shell."""


class LrGroups(Value):
    """Learning rates that differ by parameter, in ratios that every schedule keeps.

    The rate of a parameter is the schedule's times `1/layer_decay^depth`, where the layer next to
    the output has depth 0 (Howard and Ruder, arXiv 1801.06146: 2.6), times the multiplier of the
    first pattern that its name matches.
    """

    layer_decay: Annotated[float, Field(strict=True, ge=1, le=1000)] = 1.0
    multipliers: Annotated[
        dict[Pattern, Annotated[float, Field(strict=True, ge=0, le=1e6)]],
        Field(max_length=64, description="name pattern, as `1.*`, -> factor; 0 freezes"),
    ] = Field(default_factory=dict)
