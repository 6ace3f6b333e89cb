"""What a sweep runs: all of it at once where results change nothing, else what is to come next."""

from collections.abc import Iterable, Sequence

from spec.recipes import RecipeSpec
from spec.sweeps import CmaEs, CoarseToFine, Grid, Quasi, Random, SweepSpec, Tpe
from sweeps import coarse_to_fine, drawing, grid, recipes
from sweeps.space import Parameters, Space, SweepError, identity
from sweeps.trials import Proposal, Trial


def promised(spec: SweepSpec | RecipeSpec) -> int:
    """How many configurations a sweep runs: exactly, or at most where its sampler learns.

    Raises:
        SweepError: it cannot be run as it is.
    """
    if isinstance(spec, RecipeSpec):
        return recipes.promised(spec)
    match spec.sampler:
        case CoarseToFine() as sampler:
            return coarse_to_fine.promised(spec, sampler)
        case Tpe() | CmaEs() as sampler:
            if spec.budget.jobs is None:
                raise SweepError("/budget/jobs", f"say how many jobs {sampler.name} may try")
            space = Space.of(spec)
            if isinstance(sampler, CmaEs):
                from sweeps import cma_es  # noqa: PLC0415 - its package is only in the API

                cma_es.adapted(space)
            drawing.some(space, sampler.seed)
            return spec.budget.jobs
    return len(expand(spec))


def expand(spec: SweepSpec) -> list[Parameters]:
    """All configurations of the samplers grid, random and quasi_random, each once.

    The same spec gives the same ones, in the same order.

    Raises:
        SweepError: there are too many, or none, or the budget does not say how many.
    """
    match spec.sampler:
        case Grid():
            return grid.expand(spec, Space.of(spec))
        case Random() | Quasi() as sampler:
            return drawing.expand(spec, Space.of(spec), sampler)
    raise SweepError("/sampler/name", f"{spec.sampler.name} chooses as results come in")


def propose(spec: SweepSpec | RecipeSpec, trials: Sequence[Trial], count: int) -> list[Proposal]:
    """Up to `count` configurations to run next, none of which is among the trials.

    Fewer where a stage must end first, and where the space or the budget has no more; the same
    spec and trials give the same ones.

    Raises:
        SweepError: as `promised`.
    """
    count = min(count, promised(spec) - len(trials))
    if count <= 0:
        return []
    if isinstance(spec, RecipeSpec):
        return recipes.propose(spec, trials, count)
    found: Iterable[Proposal]
    match spec.sampler:
        case Tpe() as sampler:
            from sweeps import tpe  # noqa: PLC0415 - its package is only in the API

            found = tpe.propose(spec, Space.of(spec), sampler, trials, count)
        case CmaEs() as sampler:
            from sweeps import cma_es  # noqa: PLC0415 - as above

            found = cma_es.propose(spec, Space.of(spec), sampler, trials, count)
        case CoarseToFine() as sampler:
            found = coarse_to_fine.propose(spec, sampler, trials, count)
        case _:
            known = {identity(trial.parameters) for trial in trials}
            new = [each for each in expand(spec) if identity(each) not in known]
            found = map(Proposal, new[:count])
    return list(found)
