"""The checkpoint of another training that a training is to begin with."""

import json

from pydantic import BaseModel, ValidationError

from api.problems import FieldError, InvalidError
from schedules import Auto
from schedules.values import Epochs
from spec.catalogue import BUILT_INS, Kind
from spec.jobs import Origin, TrainingSpec
from spec.values import Component
from store import checkpoints, jobs
from store.checkpoints import Checkpoint
from store.database import ReadTx


def found(tx: ReadTx, spec: TrainingSpec, origin: Origin, *, owner: str) -> Checkpoint:
    """The checkpoint that `origin` of the spec names.

    Raises:
        InvalidError: there is none, or it is of a training that this one cannot go on from.
    """
    parent = _parent(tx, origin, owner)
    wrong = _differences(spec, parent, origin)
    try:
        checkpoint = checkpoints.get(tx, origin.job, origin.iteration)
    except checkpoints.CheckpointNotFoundError as error:
        some = checkpoints.find(tx, origin.job)
        detail = str(error) if some else f"{error} to go on from"
        pointer = "/from/iteration" if some else "/from/job"
        raise InvalidError([FieldError(pointer=pointer, detail=detail), *wrong]) from error
    length = _length(spec)
    # of an automatic training, checkpoints also count the updates of its range test
    if length and not isinstance(parent.schedule, Auto) and length <= checkpoint.iteration:
        detail = f"must be more than {checkpoint.iteration} iterations, which it counts as well"
        wrong.append(FieldError(pointer="/length", detail=detail))
    if wrong:
        raise InvalidError(wrong)
    return checkpoint


def _parent(tx: ReadTx, origin: Origin, owner: str) -> TrainingSpec:
    try:
        spec = jobs.spec_of(jobs.get(tx, origin.job, owner=owner))
    except jobs.JobNotFoundError:
        raise InvalidError.at("/from/job", f"there is no job {origin.job}") from None
    except ValidationError:
        detail = f"{origin.job} was submitted to another version of stepsize, with other fields"
        raise InvalidError.at("/from/job", detail) from None
    if not isinstance(spec, TrainingSpec):
        raise InvalidError.at("/from/job", f"{origin.job} is a {spec.kind}, not a training")
    return spec


def _differences(spec: TrainingSpec, parent: TrainingSpec, origin: Origin) -> list[FieldError]:
    """What must be as it was, for weights, optimizer state and data order to be of any use."""
    parts = {
        "/model": (spec.model, parent.model),
        "/data": (spec.data, parent.data),
        "/batch_size": (spec.batch_size, parent.batch_size),
        "/seed": (spec.seed, parent.seed),
        "/optimizer/name": (spec.optimizer.name, parent.optimizer.name),
        "/lr_groups": (spec.lr_groups, parent.lr_groups),
    }
    kinds: dict[str, Kind] = {"/model": "model", "/data": "data"}
    return [
        FieldError(pointer=pointer, detail=f"must be that of {origin.job}, {_said(theirs)}")
        for pointer, (mine, theirs) in parts.items()
        if mine != theirs
        and not (pointer in kinds and _mean_the_same(kinds[pointer], mine, theirs))
    ]


def _mean_the_same(kind: Kind, mine: object, theirs: object) -> bool:
    """Whether two models or datasets differ only in defaults that one of them spells out."""
    if not (isinstance(mine, Component) and isinstance(theirs, Component)):
        return False
    known = BUILT_INS[kind].get(mine.name)
    if known is None or mine.name != theirs.name:
        return False
    try:
        return known.model_validate(mine.params) == known.model_validate(theirs.params)
    except ValidationError:  # parameters of another version
        return False


def _said(value: object) -> str:
    return json.dumps(value.model_dump(mode="json") if isinstance(value, BaseModel) else value)


def _length(spec: TrainingSpec) -> int | None:
    """In iterations; None where only a worker can say."""
    if spec.schedule.in_epochs() or isinstance(spec.length, Epochs):
        return None
    return spec.iterations(iterations_per_epoch=1)
