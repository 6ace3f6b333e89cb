"""The learners of a population: parameters, optimizers and data orders of all its runs."""

from collections.abc import Sequence
from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from schedules.values import F64
from spec.components import ComponentParams
from spec.states import Reason
from worker.engine import models
from worker.engine.batches import orders
from worker.engine.errors import EngineError
from worker.engine.evaluate import Evaluation
from worker.engine.events import Columns, State
from worker.engine.population.program import Program, compiled, vectorised
from worker.engine.population.updates import Factors, Kept, update_of
from worker.engine.recipe import Recipe, initial, streams
from worker.engine.splits import Dataset, Split
from worker.engine.state import dropout_state, fitting

EVALUATED = 4000
"""Examples, those of all runs together, that are evaluated at a time."""


Outcome = Sequence[Tensor]
"""What an update leaves behind: loss, then what the recipe records, each (runs,), on the device."""


class Stack:
    """Trains its runs in step with each other."""

    def __init__(
        self,
        recipe: Recipe,
        optimizers: Sequence[ComponentParams],
        seeds: Sequence[np.random.SeedSequence],
    ) -> None:
        """One optimizer and one seed for each run."""
        self._drawn = [streams(each) for each in seeds]
        self._recipe = recipe
        self._living = list(range(len(seeds)))
        self._parameters = _stacked(recipe, [init for init, _, _ in self._drawn])
        self._batches = _Batches(recipe, [order for _, order, _ in self._drawn])
        self._update = update_of(optimizers, self._parameters)
        with torch.device("meta"):
            self._blueprint = models.build(
                recipe.model, recipe.dataset.shape, recipe.dataset.classes
            )
        self._prepare()

    def plan(self, lr: F64, momentum: F64) -> None:
        """The rates of the coming updates, (updates, runs); the momentum NaN where it is own."""
        self._update.plan(self._computed(lr), self._computed(momentum))
        if self._recipe.numerics.compile and self._form != self._update.form:
            self._compile()

    @torch.no_grad()
    def __call__(self) -> Outcome:
        """Make the next of the planned updates of every run."""
        rows = self._batches.next()
        self._update.advance()
        if self._recipe.numerics.compile:
            return self._compiled(rows, self._update.now, *self._parameters, *self._kept)
        return self._step(rows, self._update.factors, self._parameters, self._update.state)

    def read(self, outcomes: Sequence[Outcome]) -> Columns:
        """What is recorded, each of shape (updates, runs); this waits for the device."""
        names = ("loss", *self._recipe.record)
        return {
            name: torch.stack(column).cpu().numpy()[:, self._living]
            for name, column in zip(names, zip(*outcomes, strict=True), strict=True)
        }

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with these runs alone.

        A compiled step computes runs that have left until they are half of all: it would have to
        be compiled anew.
        """
        self._living = [self._living[each] for each in positions]
        computed = len(self._parameters[0])
        if len(self._living) == computed:
            return
        if self._recipe.numerics.compile and 2 * len(self._living) > computed:
            return
        rows = torch.tensor(self._living, device=self._recipe.numerics.device)
        self._parameters = [each.index_select(0, rows) for each in self._parameters]
        self._update.keep(self._living, self._parameters)
        self._batches.keep(self._living)
        self._drawn = [self._drawn[each] for each in self._living]
        self._living = list(range(len(positions)))
        self._prepare()

    @torch.no_grad()
    def evaluate(self, iteration: int) -> list[Evaluation]:
        """Measure every run on the validation split."""
        split, runs = self._recipe.dataset.validation, len(self._parameters[0])
        forward = vectorised(self._blueprint, self._recipe.numerics, shared=True)
        size = max(1, EVALUATED // runs)
        losses, hits = [], []
        for batch in split.in_order(size):
            scores = forward(self._parameters, batch.inputs).transpose(1, 2)
            truth = batch.labels.expand(runs, -1)
            losses.append(functional.cross_entropy(scores, truth, reduction="none").sum(1))
            hits.append((scores.argmax(1) == truth).sum(1))
        loss, hit = (torch.stack(each).cpu().double().sum(0) for each in (losses, hits))
        loss, hit = (each[self._living] / len(split) for each in (loss, hit))
        return [
            Evaluation(iteration, *each) for each in zip(loss.tolist(), hit.tolist(), strict=True)
        ]

    @torch.no_grad()
    def load(self, learners: Sequence[State]) -> None:
        """Put every run of a fresh stack where its learner was, all after as many updates."""
        names = [name for name, _ in self._blueprint.named_parameters()]
        with fitting("the checkpoint"):
            (done,) = {each["order"]["done"] for each in learners}
            for run, learner in enumerate(learners):
                for name, each in zip(names, self._parameters, strict=True):
                    each[run].copy_(learner["model"][name])
            kept = [each["optimizer"]["state"] for each in learners]
            self._update.load(
                [[each.get(name, {}) for name in names] for each in kept], updates=done
            )
        self._batches = _Batches(self._recipe, [order for _, order, _ in self._drawn], done=done)

    def learner_state(self, position: int, done: int) -> State:
        """A copy of the state of one run, as that of its learner would be had it trained alone."""
        run, device = self._living[position], self._recipe.numerics.device
        _, order, dropout = self._drawn[run]
        names = [name for name, _ in self._blueprint.named_parameters()]
        kept = zip(names, self._update.of_run(run), strict=True)
        # slices as they are would be saved with all of the tensor that they are of
        weights = [each[run].clone() for each in self._parameters]
        return {
            "model": dict(zip(names, weights, strict=True)),
            "optimizer": {
                "name": self._recipe.optimizer.component,
                "state": {name: each for name, each in kept if each},
                "groups": [{}],
            },
            "order": {"seed": order, "done": done},
            "dropout": dropout_state(torch.Generator(device).manual_seed(dropout)),
        }

    def _computed(self, of_living: F64) -> F64:
        """The same with a column for each run that is computed."""
        columns = np.zeros((len(of_living), len(self._parameters[0])))
        columns[:, self._living] = of_living
        return columns

    def _prepare(self) -> None:
        """Trace the pass for the runs there are."""
        batch = self._batches.of(self._batches.sample())
        self._program = Program(
            self._blueprint,
            self._recipe.numerics,
            self._parameters,
            batch.inputs,
            batch.labels,
            hits="accuracy" in self._recipe.record,
        )
        self._form: tuple[bool, ...] | None = None  # of the update that has been compiled

    def _step(
        self, rows: Tensor, factors: Factors, parameters: list[Tensor], state: Kept
    ) -> Outcome:
        """Change parameters and state by an update of every run on these examples."""
        batch = self._batches.of(rows)
        passed = self._program(batch.inputs, batch.labels, parameters)
        outcome = {"loss": passed.losses}
        if passed.hits is not None:
            outcome["accuracy"] = passed.hits / batch.labels.shape[1]
        if "grad_norm" in self._recipe.record:
            outcome["grad_norm"] = _norms(passed.gradients)
        self._update.step(parameters, state, passed.gradients, factors)
        return [outcome[name] for name in ("loss", *self._recipe.record)]

    def _compile(self) -> None:
        """Compile the step as the planned updates need it."""
        names, each = list(self._update.state), len(self._parameters)
        self._kept = [tensor for tensors in self._update.state.values() for tensor in tensors]
        self._form = self._update.form

        def step(rows: Tensor, coefficients: Tensor, *tensors: Tensor) -> Outcome:
            parameters, *kept = (list(tensors[i : i + each]) for i in range(0, len(tensors), each))
            state = dict(zip(names, kept, strict=True))
            return self._step(rows, self._update.spread(coefficients), parameters, state)

        rows, coefficients = self._batches.sample(), self._update.now
        self._compiled = compiled(step, [rows, coefficients, *self._parameters, *self._kept])


def paced(stack: Stack, lr: F64, momentum: F64, seconds: float) -> Columns:
    """What is recorded of the first updates at these rates: of all, or as many as take so long."""
    stack.plan(lr, momentum)
    since, outcomes = perf_counter(), [stack()]
    while len(outcomes) < len(lr) and perf_counter() - since < seconds:
        outcomes.append(stack())
    return stack.read(outcomes)


def _stacked(recipe: Recipe, seeds: Sequence[int]) -> list[Tensor]:
    """The initial parameters of each run, (runs, *shape)."""
    built = [[each.detach() for each in initial(recipe, seed).parameters()] for seed in seeds]
    return [torch.stack(each) for each in zip(*built, strict=True)]


def _norms(gradients: Sequence[Tensor]) -> Tensor:
    """L2 over all parameters, of each run."""
    return torch.stack([each.flatten(1).square().sum(1) for each in gradients]).sum(0).sqrt()


class _Batches:
    """A batch for each run, in the order that the run would have alone."""

    def __init__(self, recipe: Recipe, seeds: Sequence[int], *, done: int = 0) -> None:
        """`done` of the batches were had before."""
        if not isinstance(recipe.dataset, Dataset):
            raise EngineError(
                Reason.INVALID, "/population: the data is streamed: leave it out, or the loader"
            )
        self._train = recipe.dataset.train
        self._size = recipe.batch_size
        shuffles = [torch.Generator().manual_seed(seed) for seed in seeds]
        examples = len(self._train)
        self._orders = [orders(examples, self._size, each, done=done) for each in shuffles]
        self._epochs: list[Tensor] = []
        self._rows: tuple[Tensor, ...] = ()
        self._position = 0

    def next(self) -> Tensor:
        """The indices of the examples of all runs, one run after another."""
        if self._position == len(self._rows):
            self._epochs = [next(each) for each in self._orders]
            self._merge()
            self._position = 0
        rows = self._rows[self._position]
        self._position += 1
        return rows

    def sample(self) -> Tensor:
        """A batch for each run to see its shape by, as `next` gives it."""
        rows = torch.arange(self._size, device=self._train.labels.device)
        return rows.repeat(len(self._orders))

    def of(self, rows: Tensor) -> Split:
        """Inputs (runs, examples, ...) and labels (runs, examples) of a batch for each run."""
        batch = self._train.rows(rows)
        return Split(
            batch.inputs.view(-1, self._size, *batch.inputs.shape[1:]),
            batch.labels.view(-1, self._size),
        )

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with these runs alone."""
        self._orders = [self._orders[each] for each in positions]
        if self._epochs:  # drawn with the first batch
            self._epochs = [self._epochs[each] for each in positions]
            self._merge()

    def _merge(self) -> None:
        merged = torch.stack(self._epochs, dim=1).flatten(1)
        self._rows = merged.to(self._train.labels.device).unbind()
