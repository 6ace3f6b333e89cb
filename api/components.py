"""Checks what a job names against what there is, and that its parts go together."""

from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from typing import Self

from pydantic import ValidationError

from api.problems import FieldError, InvalidError, field_errors
from api.schemas import wrong
from spec.catalogue import BUILT_INS, Kind, named, qualified
from spec.conflicts import conflicts
from spec.jobs import RangeTestSpec, TrainingSpec
from spec.values import Component
from store import components
from store.components import Known
from store.database import Sessions
from store.workers import Worker

Found = tuple[list[Known], list[Worker]]
"""What workers offer or have offered, and the workers."""


class Catalogue:
    """What workers offer beyond the built-in components, read when it is first asked for.

    `remembered`: what none of them offers just now counts as well, for jobs that may wait for it.
    """

    def __init__(self, read: Callable[[], Found], *, remembered: bool = False) -> None:
        self._read = read
        self._remembered = remembered

    @classmethod
    def of(cls, sessions: Sessions, *, lost_after: timedelta, remembered: bool = False) -> Self:
        """From the database."""

        def read() -> Found:
            with sessions.read() as tx:
                return components.find(tx, lost_after=lost_after)

        return cls(read, remembered=remembered)

    @cached_property
    def _found(self) -> Found:
        return self._read()

    def offered(self, kind: Kind) -> list[Known]:
        """What live workers offer, by name."""
        return [each for each in self._found[0] if each.offered.kind == kind and each.workers]

    def called(self, kind: Kind, name: str) -> list[Known]:
        """What a job may mean by a name: that of one package, what most workers offer first."""
        found = [each for each in self.offered(kind) if each.offered.answers_to(name)]
        if not found and self._remembered:
            found = self._gone(kind, name)
        whole = [
            each for each in found if qualified(each.offered.package, each.offered.name) == name
        ]
        return sorted(whole or found, key=lambda each: (-each.workers, -each.seen_at.timestamp()))

    def unknown(self, kind: Kind, name: str) -> str:
        """What to say of a name that nobody offers."""
        known = sorted([*BUILT_INS[kind], *{each.offered.name for each in self.offered(kind)}])
        said = [f"unknown: '{name}'; known: {', '.join(known)}"]
        packages = {
            f"{each.offered.package} {each.offered.version}" for each in self._gone(kind, name)
        }
        if packages:
            said.append(f"workers that are lost offered it, with {', '.join(sorted(packages))}")
        said += [
            f"{worker.name} leaves out {each}"
            for worker in self._found[1]
            if worker.state != "lost"
            for each in worker.left_out
            if each.startswith(f"{kind} {name} of ")
        ][:1]
        return "; ".join(said)

    def _gone(self, kind: Kind, name: str) -> list[Known]:
        return [
            each
            for each in self._found[0]
            if each.offered.kind == kind and not each.workers and each.offered.answers_to(name)
        ]


NOTHING_OFFERED = Catalogue(lambda: ([], []))
"""The built-in components alone."""


def check(spec: RangeTestSpec | TrainingSpec, catalogue: Catalogue) -> tuple[str, ...]:
    """What the job needs its worker to offer, of components that only some do.

    Raises:
        InvalidError: something is not in the catalogue, does not take its parameters, or does not
            go with the rest.
    """
    errors: list[FieldError] = []
    required: list[str] = []
    for kind, pointer, component in named(spec):
        built_in = BUILT_INS[kind].get(component.name)
        if built_in is None:
            try:
                required.append(_required(kind, pointer, component, catalogue))
            except InvalidError as error:
                errors += error.errors
            continue
        try:
            built_in.model_validate(component.params)
        except ValidationError as error:
            under = f"{pointer}/params"
            errors += field_errors(error.errors(), component.params, under=under)
    errors += [FieldError(pointer=each.pointer, detail=each.detail) for each in conflicts(spec)]
    if errors:
        raise InvalidError(errors)
    return tuple(required)


def _required(kind: Kind, pointer: str, component: Component, catalogue: Catalogue) -> str:
    """How workers' offers name the component."""
    found = catalogue.called(kind, component.name)
    if not found:
        raise InvalidError.at(f"{pointer}/name", catalogue.unknown(kind, component.name))
    packages = sorted({qualified(each.offered.package, each.offered.name) for each in found})
    if len(packages) > 1:
        detail = f"several packages offer it: say which, of {', '.join(packages)}"
        raise InvalidError.at(f"{pointer}/name", detail)
    against: list[FieldError] = []
    for each in found:  # versions of one package that take other parameters
        here = wrong(each.offered.parameters, component.params, under=f"{pointer}/params")
        if not here:
            return each.offered.requirement
        against = against or here
    raise InvalidError(against)
