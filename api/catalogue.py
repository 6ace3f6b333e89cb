"""The models, datasets, optimizers, losses and metrics that a job may name."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.components import Catalogue
from api.parts import CataloguePart
from spec.catalogue import BUILT_INS, Kind, Offered
from spec.components import ComponentParams

router = APIRouter(prefix="/v1", tags=["catalogue"])


class ComponentOut(BaseModel):
    """One entry of the catalogue."""

    name: str
    description: str
    parameters: Annotated[dict[str, Any], Field(description="JSON Schema")]
    package: Annotated[
        str | None, Field(description="that it comes from, on the workers; null: built in")
    ] = None
    version: Annotated[str | None, Field(description="of the package")] = None
    workers: Annotated[
        int | None, Field(description="that offer it now; null: all of them do, it is built in")
    ] = None


class ComponentsOut(BaseModel):
    """Every entry of one kind."""

    data: list[ComponentOut]


def _entries(kind: Kind, catalogue: Catalogue) -> ComponentsOut:
    built_in = [_built_in(name, params) for name, params in sorted(BUILT_INS[kind].items())]
    offered = [_offered(each.offered, each.workers) for each in catalogue.offered(kind)]
    return ComponentsOut(data=[*built_in, *offered])


def _built_in(name: str, params: type[ComponentParams]) -> ComponentOut:
    return ComponentOut(
        name=name, description=params.__doc__ or "", parameters=params.model_json_schema()
    )


def _offered(component: Offered, workers: int) -> ComponentOut:
    return ComponentOut(
        name=component.name,
        description=component.description,
        parameters=component.parameters,
        package=component.package,
        version=component.version,
        workers=workers,
    )


@router.get("/models", operation_id="list_models")
def models(catalogue: CataloguePart) -> ComponentsOut:
    """Every model, built in or offered by a worker, with the JSON Schema of its parameters."""
    return _entries("model", catalogue)


@router.get("/datasets", operation_id="list_datasets")
def datasets(catalogue: CataloguePart) -> ComponentsOut:
    """Every dataset, likewise."""
    return _entries("data", catalogue)


@router.get("/optimizers", operation_id="list_optimizers")
def optimizers(catalogue: CataloguePart) -> ComponentsOut:
    """Every optimizer, likewise."""
    return _entries("optimizer", catalogue)


@router.get("/losses", operation_id="list_losses")
def losses(catalogue: CataloguePart) -> ComponentsOut:
    """Every loss that a job's `criterion` may name, likewise."""
    return _entries("loss", catalogue)


@router.get("/metrics", operation_id="list_metrics")
def metrics(catalogue: CataloguePart) -> ComponentsOut:
    """Every metric that a job's `metrics` may name, likewise."""
    return _entries("metric", catalogue)
