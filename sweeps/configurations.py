"""A template and its parameters as a job, and which jobs would run the same."""

import hashlib
import json
from functools import lru_cache
from typing import Any

from pydantic import JsonValue, ValidationError

from spec.catalogue import BUILT_INS, Kind, named
from spec.jobs import JOB_SPEC, RangeTestSpec, TrainingSpec
from sweeps.space import MisplacedError, Parameters, merged, parts, pointer_to

ABOUT = {"name", "tags", "priority", "queue", "needs"}
"""Fields that say nothing of what a job computes."""


class InvalidConfigurationError(ValueError):
    """Some parameters do not make a job of the template.

    Attributes:
        errors: pydantic's, with locations in the job.
        parameters: what was put into the template.
        job: the template with the parameters in it.
    """

    def __init__(
        self, errors: list[Any], parameters: Parameters, job: dict[str, JsonValue]
    ) -> None:
        super().__init__("; ".join(f"{pointer_to(*e['loc'])}: {e['msg']}" for e in errors))
        self.errors = errors
        self.parameters = parameters
        self.job = job


def job_spec(
    template: dict[str, JsonValue], parameters: Parameters
) -> RangeTestSpec | TrainingSpec:
    """The job that a template makes with some parameters.

    Where neither says so, it may be trained in one program with others of the sweep.

    Raises:
        InvalidConfigurationError: it makes none.
    """
    job = template
    try:
        job = {"population": True, **merged(template, parameters)}
        return JOB_SPEC.validate_python(job)
    except ValidationError as error:
        errors: list[Any] = list(error.errors(include_url=False))
        raise InvalidConfigurationError(errors, parameters, job) from error
    except MisplacedError as error:
        problem = {"loc": parts(error.pointer), "msg": str(error), "type": "space", "input": None}
        raise InvalidConfigurationError([problem], parameters, job) from error


def placed(pointer: str, parameters: Parameters) -> str:
    """Where in a sweep the field of a job comes from: `/space/...` or `/template/...`."""
    path = parts(pointer)
    for varied in sorted(parameters, key=lambda each: -len(parts(each))):
        if parts(varied) == path[: len(parts(varied))]:
            return pointer_to("space", varied)
    return f"/template{pointer}"


def digest(spec: RangeTestSpec | TrainingSpec) -> str:
    """Equal for configurations that would run the same: 64 hexadecimal digits.

    Names, tags, priority, queue and needs do not count, and what is left out counts as its default.
    """
    job: dict[str, Any] = spec.model_dump(mode="json", exclude=ABOUT)
    for kind, pointer, component in named(spec):
        at: Any = job
        for part in parts(pointer):
            at = at[int(part)] if isinstance(at, list) else at[part]
        given = json.dumps(component.params, sort_keys=True)
        at["params"] = _filled(kind, component.name, given)
    return hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=1024)
def _filled(kind: Kind, name: str, given: str) -> Any:
    """Parameters with all defaults, of which most jobs of a sweep have the same."""
    params = json.loads(given)
    if name not in BUILT_INS[kind]:
        return params
    try:
        return BUILT_INS[kind][name].model_validate(params).model_dump(mode="json")
    except ValidationError:
        return params  # the job is refused for it where it is submitted
