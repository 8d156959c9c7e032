"""The callbacks of a training, called as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hpsearch.components.batch import Batch, Tree
from hpsearch.components.callbacks import Callback
from hpsearch.components.data import Data
from hpsearch.components.train_evaluation import TrainEvaluation
from hpsearch.spec import COMPONENT_SECTIONS, TrialConfig
from hpsearch.training.building import build_all, for_each
from hpsearch.training.checkpoints import copied_to_cpu

_Result = TypeVar("_Result")
_SECTION = "callbacks"


class Callbacks:
    """Those of a configuration; what one raises has its place in the spec.

    `known` are the metrics that every epoch reports. `is_over` says whether one has ended the
    training.
    """

    def __init__(self, config: TrialConfig, known: Sequence[str]) -> None:
        self._sections = config.values.get(_SECTION) or []
        self._all: list[Callback] = build_all(config, _SECTION, metrics=known)
        self.is_over = False

    @property
    def end_reason(self) -> str:
        """What ended the training: `callback early_stopping`."""
        of = COMPONENT_SECTIONS[_SECTION]
        pairs = zip(self._sections, self._all, strict=True)
        over = [of.written_out(section)["name"] for section, each in pairs if each.is_over]
        return f"callback {', '.join(over)}"

    @property
    def train_evaluation(self) -> TrainEvaluation | None:
        """What has the training rows evaluated too, if anything."""
        return next((each for each in self._all if isinstance(each, TrainEvaluation)), None)

    def measure(
        self,
        model: nn.Module,
        loss: Callable[[Tree, Batch], Tensor],
        batches: Callable[[], Iterator[Batch]],
        device: torch.device,
    ) -> dict[str, float]:
        """Return what callbacks measure by themselves; nothing else notices."""

        def measured_by(callback: Callback) -> dict[str, float]:
            measure = getattr(callback, "measure", None)  # users' own may have none
            if measure is None:
                return {}
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                found: dict[str, float] = measure(model, loss, batches())
            return found

        return {name: value for found in self._call(measured_by) for name, value in found.items()}

    def check_data(self, data: Data) -> None:
        """Let them refuse data that they can't measure anything of."""

        def check(callback: Callback) -> None:
            if (of := getattr(callback, "check_data", None)) is not None:  # users' may have none
                of(data)

        self._call(check)

    def probe(self, model: nn.Module, read: Callable[[str], Iterator[Batch]]) -> dict[str, float]:
        """Return what callbacks measure of the model in evaluation mode."""

        def measured_by(callback: Callback) -> dict[str, float]:
            probe = getattr(callback, "probe", None)  # users' own may have none
            found: dict[str, float] = {} if probe is None else probe(model, read)
            return found

        return {name: value for found in self._call(measured_by) for name, value in found.items()}

    def derived(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return what follows from an epoch's metrics to callbacks."""

        def derived_by(callback: Callback) -> dict[str, float]:
            derive = getattr(callback, "derived", None)  # users' own may have none
            found: dict[str, float] = {} if derive is None else derive(dict(metrics))
            return found

        return {name: value for found in self._call(derived_by) for name, value in found.items()}

    def before_evaluation(self, model: nn.Module, train_batches: Callable[[], Any]) -> None:
        """Let them prepare the model for its evaluation."""
        self._call(lambda callback: callback.before_evaluation(model, train_batches))

    def after_epoch(
        self, model: nn.Module, metrics: Mapping[str, float], *, is_last: bool
    ) -> bool:
        """Pass an epoch's metrics to them, to each its own copy; returns whether weights were
        changed."""
        changed = self._call(
            lambda callback: callback.after_epoch(model, dict(metrics), is_last=is_last)
        )
        self.is_over = any(callback.is_over for callback in self._all)
        return any(changed)

    def state_dict(self) -> list[dict[str, Any]]:
        """Return a copy of each one's state, in the CPU's memory."""
        return [copied_to_cpu(callback.state_dict()) for callback in self._all]

    def load_state_dict(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Go on from what `state_dict` gave."""
        for callback, kept in zip(self._all, state, strict=True):
            callback.load_state_dict(kept)
        self.is_over = any(callback.is_over for callback in self._all)

    def _call(self, call: Callable[[Callback], _Result]) -> list[_Result]:
        return for_each(_SECTION, self._all, call)
