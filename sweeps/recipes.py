"""A recipe: find the learning rates, then train under every schedule with every seed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, cast

from pydantic import JsonValue, TypeAdapter, ValidationError

from schedules import Policy
from schedules.analysis.suggestion import DIVISORS
from schedules.schedule import Suggested
from schedules.values import Epochs
from spec.jobs import Ramping, RangeTestSpec
from spec.lengths import InCycles, InIterations, Length
from spec.recipes import RecipeSpec
from spec.spaces import MOST_JOBS
from spec.sweeps import CoarseToFine, SweepSpec
from sweeps import coarse_to_fine
from sweeps.filling import FOUND, filled, flat, with_rates
from sweeps.space import Parameters, SweepError, pointer_to
from sweeps.trials import Proposal, Trial

STEP: Final = "/tags/step"
"""The parameter that says of each job which step it belongs to; jobs can be listed by it."""

RANGE_TEST, COARSE, FINE, COMPARE = "range_test", "coarse", "fine", "compare"

POLICY: TypeAdapter[Policy] = TypeAdapter(Policy)
LENGTH: TypeAdapter[Any] = TypeAdapter(Length)

Rates = dict[Suggested, float]

NOT_GIVEN = {
    "schedule": "/schedules says which are compared",
    "from": "the range test and every training begin with a fresh model",
}
"""Field of a training -> why a recipe's template has none."""

OF_A_RANGE_TEST = RangeTestSpec.model_fields.keys() - Ramping.model_fields.keys()


@dataclass(frozen=True)
class Step:
    """A step before it has begun.

    Attributes:
        jobs: at most.
        proposals: all of them, or one like those that depend on what comes before.
    """

    name: str
    jobs: int
    proposals: list[Proposal]


def promised(recipe: RecipeSpec) -> int:
    """How many jobs there are: exactly, or at most where rates are searched coarse to fine.

    Raises:
        SweepError: the recipe cannot be run as it is.
    """
    jobs = _to_find(recipe) + len(recipe.schedules) * len(recipe.seeds)
    if jobs > MOST_JOBS:
        raise SweepError("/seeds", f"makes {jobs} jobs, more than the limit of {MOST_JOBS}")
    return jobs


def propose(recipe: RecipeSpec, trials: Sequence[Trial], count: int) -> list[Proposal]:
    """Up to `count` configurations to try next; none while the rates have yet to be found.

    The same trials give the same ones, whatever order they ended in. The rates, once found, stay
    what they are, even if a job that was to find them is run again later.

    Raises:
        SweepError: the recipe cannot be run as it is.
    """
    comparing = [trial for trial in trials if trial.parameters.get(STEP) == COMPARE]
    finding = [trial for trial in trials if trial.parameters.get(STEP) != COMPARE]
    if comparing:
        rates = cast("Rates", comparing[0].memory["rates"])
    else:
        further = list(_finding(recipe, finding))[: _to_find(recipe) - len(finding)]
        if further or not all(trial.ended for trial in finding):
            return further[:count]
        found = _found(recipe, finding)
        if isinstance(found, str):
            return []
        rates = found
    known = {(trial.memory["schedule"], trial.memory["seed"]) for trial in comparing}
    new = (
        each
        for each in _comparing(recipe, rates)
        if (each.memory["schedule"], each.memory["seed"]) not in known
    )
    return list(islice(new, count))


def compares(trials: Sequence[Trial]) -> bool:
    """Whether the rates have been found, and the comparison has begun."""
    return any(trial.parameters.get(STEP) == COMPARE for trial in trials)


def stuck(recipe: RecipeSpec, trials: Sequence[Trial]) -> str | None:
    """Why no schedules can be compared, and what to do, once all jobs have ended; else None."""
    if compares(trials):
        return None
    found = _found(recipe, trials)
    return found if isinstance(found, str) else None


def steps(recipe: RecipeSpec) -> list[Step]:
    """What there is to do; rates that are to be found are references to FOUND meanwhile.

    Raises:
        SweepError: the recipe cannot be run as it is.
    """
    compare = list(_comparing(recipe, None))
    first = list(_finding(recipe, []))
    steps = [Step(str(first[0].parameters[STEP]), len(first), first)]
    fine = _to_find(recipe) - len(first)
    if fine:
        lowest = {STEP: FINE, "/schedule/lr": first[0].memory["rate"], "/seed": _seed(recipe)}
        steps.append(Step(FINE, fine, [Proposal(lowest)]))
    return [*steps, Step(COMPARE, len(compare), compare)]


def base(recipe: RecipeSpec, parameters: Parameters) -> dict[str, JsonValue]:
    """What the parameters of a job go into."""
    template, find = recipe.template, recipe.find
    if parameters.get(STEP) == COMPARE:
        return {**template, "kind": "training"}
    if isinstance(find, CoarseToFine):
        return _searched(recipe).template
    shared = {name: each for name, each in template.items() if name in OF_A_RANGE_TEST}
    test = find.model_dump(mode="json", exclude={"name"})
    return {**shared, "kind": "range_test", **test}


def place(recipe: RecipeSpec, proposal: Proposal, pointer: str) -> str:
    """Where in the recipe a field of a job comes from."""
    field = pointer.split("/")[1]
    inside = pointer.removeprefix(f"/{field}")
    if proposal.parameters.get(STEP) == COMPARE:
        if field == "schedule":
            return pointer_to("schedules", cast("int", proposal.memory["schedule"])) + inside
        if field == "seed":
            seed = cast("int", proposal.memory["seed"])
            return pointer_to("seeds", recipe.seeds.index(seed))
    elif field != "name" and field in type(recipe.find).model_fields:
        return f"/find{pointer}"
    elif field == "schedule":
        return "/find"
    return f"/template{pointer}"


def _finding(recipe: RecipeSpec, trials: Sequence[Trial]) -> Iterator[Proposal]:
    """What may be run now to find the rates."""
    if not isinstance(recipe.find, CoarseToFine):
        if not trials:
            yield Proposal({STEP: RANGE_TEST, "/seed": _seed(recipe)}, {"stage": "find"})
        return
    told = [replace(each, parameters=_searching(each.parameters)) for each in trials]
    for each in coarse_to_fine.propose(_searched(recipe), recipe.find, told, MOST_JOBS):
        own = dict(each.parameters)
        schedule = own.pop("/schedule", None)  # of a brief run: the constant one it is anyway
        if isinstance(schedule, dict):
            own = {"/schedule/lr": schedule["lr"], **own}
        step = str(each.memory["stage"])
        memory = {**each.memory, "stage": "find"}
        yield Proposal({STEP: step, **own, "/seed": _seed(recipe)}, memory)


def _comparing(recipe: RecipeSpec, rates: Rates | None) -> Iterator[Proposal]:
    """Every schedule with the first seed, then with the next one, and so on."""
    length = _length(recipe)
    some: list[tuple[int, dict[str, JsonValue], Parameters]] = []
    for i, partial in enumerate(recipe.schedules):
        if partial.get("policy") == "auto":
            pointer = pointer_to("schedules", i, "policy")
            raise SweepError(pointer, "name the schedule itself: its rates are found anyway")
        document, changes = filled(partial, length)
        if rates is not None:
            document = _at(document, rates)
            if any(document == other and changes == its for _, other, its in some):
                continue  # a rate that was given is the very one that was found
        some.append((i, document, changes))
    for seed in recipe.seeds:
        for i, document, changes in some:
            memory = {"stage": COMPARE, "schedule": i, "seed": seed, "rates": {**(rates or {})}}
            parameters = {STEP: COMPARE, **flat(document), **changes, "/seed": seed}
            yield Proposal(parameters, cast("dict[str, JsonValue]", memory))


def _at(document: dict[str, JsonValue], rates: Rates) -> dict[str, JsonValue]:
    references = POLICY.validate_python(document).references()
    own = [each for each in references if each.range_test == FOUND]
    return with_rates(document, {each.pointer: rates[each.suggested] for each in own})


def _found(recipe: RecipeSpec, trials: Sequence[Trial]) -> Rates | str:
    """The learning rates to train with, or why there are none."""
    if isinstance(recipe.find, CoarseToFine):
        return _best(recipe, recipe.find, trials)
    (test,) = trials
    if test.state == "stopped":
        return "the range test was cancelled: submit the recipe again"
    if test.state != "done" or test.result is None:
        return "the range test failed: see what its job says, then retry"
    suggestion = cast("Mapping[Suggested, float] | None", test.result.get("suggestion"))
    if suggestion is None:
        return (
            f"the range test ended with status '{test.result.get('status')}' and suggests no"
            f" learning rate. {test.result.get('advice') or ''} Then submit the recipe with"
            " another /find, or with rates in its /schedules"
        )
    names: tuple[Suggested, ...] = ("base_lr", "max_lr", "fixed_lr")
    return {name: suggestion[name] for name in names}


def _best(recipe: RecipeSpec, find: CoarseToFine, trials: Sequence[Trial]) -> Rates | str:
    """The best constant rate, and a peak as far above it as a range test would suggest."""
    best = coarse_to_fine.best_rate(_searched(recipe), trials, find.rounds)
    if best is None:
        return (
            f"no job of the search has a {recipe.objective.metric}: they diverged or failed; retry"
            " those that failed, or submit the recipe with a lower /find/low"
        )
    peak = best * DIVISORS["sgd"]["first"] / DIVISORS["sgd"]["peak"]
    return {"base_lr": peak / 4, "max_lr": peak, "fixed_lr": best}


def _to_find(recipe: RecipeSpec) -> int:
    """How many jobs there are at most before the comparison."""
    if isinstance(recipe.find, CoarseToFine):
        return coarse_to_fine.promised(_searched(recipe), recipe.find)
    return 1


def _searched(recipe: RecipeSpec) -> SweepSpec:
    """The search for a constant rate as a sweep of its own."""
    find = cast("CoarseToFine", recipe.find)
    if find.path is not None:
        raise SweepError("/find/path", "leave it out: the rates of the schedules are looked for")
    constant: JsonValue = {"policy": "constant", "lr": 1.0}
    template = {**recipe.template, "kind": "training", "schedule": constant}
    return SweepSpec(template=template, space={}, sampler=find, objective=recipe.objective)


def _searching(parameters: Parameters) -> Parameters:
    """As the search itself proposed it."""
    return {name: each for name, each in parameters.items() if name not in {STEP, "/seed"}}


def _seed(recipe: RecipeSpec) -> int:
    """One that nothing is compared with: rates found with it would favour those who keep them."""
    own = recipe.template.get("seed")
    if isinstance(own, int) and own >= 0 and own not in recipe.seeds:
        return own
    return next(seed for seed in range(len(recipe.seeds) + 1) if seed not in recipe.seeds)


def _length(recipe: RecipeSpec) -> InIterations | Epochs:
    """How long each training is.

    Raises:
        SweepError: that, or another field of the template, cannot be of a recipe.
    """
    template = recipe.template
    if template.get("kind", "training") != "training":
        raise SweepError("/template/kind", "must be training, or left out")
    for name, why in NOT_GIVEN.items():
        if template.get(name) is not None:
            raise SweepError(f"/template/{name}", f"leave it out: {why}")
    if "length" not in template:
        raise SweepError("/template/length", "say how long each training is")
    try:
        length = LENGTH.validate_python(template["length"])
    except ValidationError as error:
        raise SweepError("/template/length", error.errors()[0]["msg"]) from error
    if isinstance(length, InCycles):
        detail = "give iterations or epochs: some schedules have no cycles"
        raise SweepError("/template/length", detail)
    return cast("InIterations | Epochs", length)
