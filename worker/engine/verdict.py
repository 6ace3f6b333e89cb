"""The evaluations of a training: the last, the best, and what its result says of them."""

from pydantic import JsonValue

from worker.engine.evaluate import Evaluation, number
from worker.engine.events import Block, State


class Verdict:
    """Takes evaluations as they come in.

    Attributes:
        last: the latest of them, None before there is one.
    """

    def __init__(self) -> None:
        self._best: Evaluation | None = None
        self.last: Evaluation | None = None

    def take(self, evaluation: Evaluation) -> Block:
        """The row of the validation series that the evaluation makes."""
        self.last = evaluation
        self._best = max(self._best or evaluation, evaluation, key=Evaluation.rank)
        return Block("validation", 0, evaluation.iteration, evaluation.columns())

    def result(self, *, diverged: bool) -> dict[str, JsonValue]:
        """Its part of the job's result; a diverged training has no last evaluation."""
        last = None if diverged else self.last
        found: dict[str, JsonValue] = {
            "val_loss": number(last.loss) if last else None,
            "val_accuracy": last.accuracy if last else None,
            "best": self._best.result() if self._best else None,
        }
        if last and last.metrics:
            found["metrics"] = last.measured()
        return found

    def state_dict(self) -> State:
        """The last and the best."""
        return {
            "last": self.last.state() if self.last else None,
            "best": self._best.state() if self._best else None,
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from there."""
        last, best = state["last"], state["best"]
        self.last = None if last is None else Evaluation(**last)
        self._best = None if best is None else Evaluation(**best)
