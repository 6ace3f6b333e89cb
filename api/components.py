"""Checks what a job names against the catalogue, and that its parts go together."""

from pydantic import ValidationError

from api.problems import FieldError, InvalidError, field_errors
from spec.components import BUILT_INS
from spec.conflicts import conflicts
from spec.jobs import RangeTestSpec, TrainingSpec
from spec.values import Component


def check(spec: RangeTestSpec | TrainingSpec) -> None:
    """Refuses what is not in the catalogue, parameters it does not take, and parts at odds."""
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
    wrong += [FieldError(pointer=each.pointer, detail=each.detail) for each in conflicts(spec)]
    if wrong:
        raise InvalidError(wrong)
