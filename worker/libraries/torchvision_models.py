"""Any classification model of torchvision, by its name."""

from typing import Annotated

from pydantic import Field
from torch import nn

from spec.states import Reason
from worker.engine.errors import EngineError
from worker.libraries.present import require, require_known
from worker.plugins import Shape

require("torchvision")

COLOURS = 3


def model(
    shape: Shape,
    classes: int,
    *,
    architecture: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9][a-z0-9_]{0,99}$",
            description="as torchvision.models.list_models() has it",
        ),
    ],
) -> nn.Module:
    """A model of torchvision with fresh weights, for images of three channels."""
    import torchvision  # noqa: PLC0415 - takes seconds

    known = torchvision.models.list_models(module=torchvision.models)
    require_known(architecture, known, "/model/params/architecture")
    if shape[0] != COLOURS:
        raise EngineError(
            Reason.INVALID,
            f"/model: torchvision's models take images of 3 channels, and these have {shape[0]}",
        )
    made: nn.Module = torchvision.models.get_model(architecture, weights=None, num_classes=classes)
    return made
