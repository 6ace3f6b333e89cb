"""Transformers that classify sequences of tokens, each made on the spot from its configuration."""

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from spec.states import Reason
from worker.engine.errors import EngineError
from worker.libraries.present import require, require_known
from worker.plugins import Shape

require("transformers")

Count = Annotated[int, Field(ge=1, le=1_000_000)]

PADDING = 0
"""The token that stands for none."""


class Classifier(nn.Module):
    """A model of transformers whose inputs are an example's token ids, as the engine hands them."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        """From (examples, length, 1, 1) to (examples, classes)."""
        ids = inputs.flatten(1).to(torch.int64)
        scores: Tensor = self.inner(
            input_ids=ids, attention_mask=(ids != PADDING).long(), return_dict=True
        ).logits
        return scores


def model(
    shape: Shape,
    classes: int,
    *,
    model_type: Annotated[
        str,
        Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="as bert, distilbert, roberta"),
    ],
    vocab_size: Annotated[Count, Field(description="one more than the largest token id")],
    hidden_size: Count = 64,
    num_hidden_layers: Annotated[int, Field(ge=1, le=200)] = 2,
    num_attention_heads: Annotated[int, Field(ge=1, le=1024)] = 2,
    intermediate_size: Count = 128,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
) -> nn.Module:
    """A model for sequence classification with fresh weights; token 0 is padding.

    Nothing is downloaded, and no code but the library's own is run.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification  # noqa: PLC0415 - slow
    from transformers.models.auto.modeling_auto import (  # noqa: PLC0415 - as above
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as KNOWN,
    )

    require_known(model_type, list(KNOWN), "/model/params/model_type")
    if hidden_size % num_attention_heads:
        raise EngineError(
            Reason.INVALID,
            f"/model/params/hidden_size: {hidden_size} cannot be shared by {num_attention_heads}"
            " heads",
        )
    length = shape[0] * shape[1] * shape[2]
    config: Any = AutoConfig.for_model(
        model_type,
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_hidden_layers=num_hidden_layers,
        num_attention_heads=num_attention_heads,
        intermediate_size=intermediate_size,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        max_position_embeddings=length + 2,  # some count from the padding token on
        num_labels=classes,
        pad_token_id=PADDING,
        problem_type="single_label_classification",
    )
    inner = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    return Classifier(inner)
