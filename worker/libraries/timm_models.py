"""Any image model of timm, by the name of its architecture."""

from typing import Annotated

from pydantic import Field
from torch import nn

from worker.libraries.present import require, require_known
from worker.plugins import Shape

require("timm")

Share = Annotated[float, Field(ge=0, lt=1)]


def model(
    shape: Shape,
    classes: int,
    *,
    architecture: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,99}$", description="as timm.list_models() has it")
    ],
    pretrained: Annotated[
        bool, Field(description="with weights of the Hugging Face hub, or of its cache")
    ] = False,
    sized: Annotated[
        bool, Field(description="made for images of the data's size, as vision transformers are")
    ] = False,
    drop_rate: Share = 0.0,
    drop_path_rate: Share = 0.0,
) -> nn.Module:
    """A model of timm. Nothing is downloaded unless `pretrained` asks for it."""
    import timm  # noqa: PLC0415 - takes seconds

    require_known(architecture, timm.list_models(), "/model/params/architecture")
    made: nn.Module = timm.create_model(
        architecture,
        pretrained=pretrained,
        in_chans=shape[0],
        num_classes=classes,
        drop_rate=drop_rate,
        **({"drop_path_rate": drop_path_rate} if drop_path_rate else {}),
        **({"img_size": shape[1:]} if sized else {}),
    )
    return made
