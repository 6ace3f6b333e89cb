"""The built-in losses and metrics: their names and the parameters they take."""

from typing import Annotated, ClassVar

from pydantic import Field

from spec.components import ComponentParams


class CrossEntropyParams(ComponentParams):
    """Cross-entropy of the softmax of the scores with the labels: what is used without a word."""

    component: ClassVar[str] = "cross_entropy"

    label_smoothing: Annotated[
        float,
        Field(strict=True, ge=0, lt=1, description="share of the truth spread over all classes"),
    ] = 0.0


class MseParams(ComponentParams):
    """Mean squared difference between the scores and 1 for the label's class, 0 for all others."""

    component: ClassVar[str] = "mse"


class TopKParams(ComponentParams):
    """The share of examples whose label is among the k highest scores."""

    component: ClassVar[str] = "top_k"

    k: Annotated[int, Field(strict=True, ge=1, le=1000)] = 5


LOSSES: dict[str, type[ComponentParams]] = {
    each.component: each for each in (CrossEntropyParams, MseParams)
}
METRICS: dict[str, type[ComponentParams]] = {TopKParams.component: TopKParams}
