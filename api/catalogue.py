"""The models, datasets and optimizers a job may name."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from spec.components import BUILT_INS

router = APIRouter(prefix="/v1", tags=["catalogue"])


class ComponentOut(BaseModel):
    """One entry of the catalogue."""

    name: str
    description: str
    parameters: Annotated[dict[str, Any], Field(description="JSON Schema")]


class ComponentsOut(BaseModel):
    """Every entry of one kind."""

    data: list[ComponentOut]


def _entries(field: str) -> ComponentsOut:
    return ComponentsOut(
        data=[
            ComponentOut(
                name=name,
                description=params.__doc__ or "",
                parameters=params.model_json_schema(),
            )
            for name, params in sorted(BUILT_INS[field].items())
        ],
    )


@router.get("/models", operation_id="list_models")
async def models() -> ComponentsOut:
    """Every model with the JSON Schema of its parameters."""
    return _entries("model")


@router.get("/datasets", operation_id="list_datasets")
async def datasets() -> ComponentsOut:
    """Every dataset with the JSON Schema of its parameters."""
    return _entries("data")


@router.get("/optimizers", operation_id="list_optimizers")
async def optimizers() -> ComponentsOut:
    """Every optimizer with the JSON Schema of its parameters."""
    return _entries("optimizer")
