"""Checks the models, datasets and optimizers a job names against the catalogue."""

from pydantic import ValidationError

from api.problems import FieldError, InvalidError, field_errors
from spec.components import BUILT_INS
from spec.jobs import RangeTestSpec, TrainingSpec
from spec.values import Component


def check(spec: RangeTestSpec | TrainingSpec) -> None:
    """Refuses a component that is not in the catalogue, or parameters it does not take."""
    chosen: dict[str, Component] = {
        "model": spec.model,
        "data": spec.data,
        "optimizer": spec.optimizer,
    }
    wrong: list[FieldError] = []
    for field, component in chosen.items():
        known = BUILT_INS[field]
        params = known.get(component.name)
        if params is None:
            detail = f"unknown: '{component.name}'; known: {', '.join(sorted(known))}"
            wrong.append(FieldError(pointer=f"/{field}/name", detail=detail))
            continue
        try:
            params.model_validate(component.params)
        except ValidationError as error:
            under = f"/{field}/params"
            wrong += field_errors(error.errors(), component.params, under=under)
    if wrong:
        raise InvalidError(wrong)
