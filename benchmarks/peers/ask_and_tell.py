"""An optimizer that is asked for evaluations at a budget, in the simulated searches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from benchmarks.tables import MAX_EPOCHS
from hpsearch.early_stopping import EarlyStopper, Stop
from hpsearch.samplers import Observation
from hpsearch.spec import Scalar


class Evaluation(NamedTuple):
    """What the optimizer asked for: a configuration's value after so many epochs."""

    configuration: Hashable  # what the optimizer knows it by
    params: dict[str, Scalar]
    num_epochs: int
    token: Any  # what it is told the value with


class AskAndTell(EarlyStopper):
    """Sampler and pausing rule at once, over `ask` and `tell` of an optimizer.

    A configuration that is asked for again with a greater budget goes on from its checkpoint,
    as hpsearch's own trials do; a budget that it has behind it is answered from its curve.
    """

    def __init__(self) -> None:
        self.rungs = (MAX_EPOCHS,)
        self._numbers: dict[Hashable, int] = {}
        self._curves: list[dict[int, float]] = []
        self._running: dict[int, Evaluation] = {}
        self._next: Evaluation | None = None

    @abstractmethod
    def ask(self) -> Evaluation:
        """Return the evaluation that the optimizer wants next."""

    @abstractmethod
    def tell(self, evaluation: Evaluation, value: float) -> None:
        """Tell the optimizer a value to minimize."""

    def suggest(self, number: int, observations: Sequence[Observation]) -> dict[str, Scalar]:
        """See Sampler."""
        evaluation = self._pending()
        self._numbers[evaluation.configuration] = number
        self._curves.append({})
        self._begin(number)
        return evaluation.params

    def report(self, number: int, epoch: int, value: float) -> bool:
        """See PausingRule."""
        self._curves[number][epoch] = value
        if epoch < self._running[number].num_epochs:
            return False
        self.tell(self._running.pop(number), value)
        return True

    def promotable(self) -> int | None:
        """See PausingRule."""
        return self._numbers.get(self._pending().configuration)

    def promote(self, number: int) -> None:
        """See PausingRule."""
        self._begin(number)

    def standing(self, number: int) -> Stop:
        """See PausingRule; the optimizer gives no numbers."""
        return Stop()

    def _begin(self, number: int) -> None:
        assert self._next is not None
        self._running[number], self._next = self._next, None

    def _pending(self) -> Evaluation:
        while self._next is None:
            evaluation = self.ask()
            number = self._numbers.get(evaluation.configuration)
            if number is not None and evaluation.num_epochs in self._curves[number]:
                self.tell(evaluation, self._curves[number][evaluation.num_epochs])
            else:
                self._next = evaluation
        return self._next
