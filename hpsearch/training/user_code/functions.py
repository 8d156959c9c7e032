"""The user's own training code as a trainer: a training function, or a class.

    def train(config, trial):                   # a generator yields its metrics each epoch
        model = ...
        if (saved := trial.load_checkpoint()) is not None:
            model.load_state_dict(saved)
        while trial.epoch < trial.max_epochs:
            yield {"train_loss": ..., "val_accuracy": ...}
            trial.save_checkpoint(model.state_dict())

A plain function does the same with `trial.report(metrics)`. A class has `__init__(config, trial)`,
`train_epoch()` returning metrics (None to end early), `state_dict()` and `load_state_dict(state)`.
"""

from __future__ import annotations

import inspect
import io
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hpsearch import registry
from hpsearch.errors import DivergedError, UserCodeError
from hpsearch.spec import METRIC_NAME_RULE, TrialConfig, is_metric_name
from hpsearch.training.checkpoints import check_loadable, load_state
from hpsearch.training.seeds import derive_seed, seed_all
from hpsearch.training.user_code.lockstep import Lockstep


class Trial:
    """What user code knows of its trial. Epochs count from 1; `epoch` is the last reported."""

    def __init__(self, config: TrialConfig, device: torch.device, epoch: int = 0) -> None:
        self.number = config.number
        self.max_epochs = config.max_epochs
        self.seed = derive_seed(config.seed, config.number, _PURPOSE)
        self.device = device
        self.epoch = epoch


@dataclass
class _Saved:
    """A state as `torch.save` wrote it, and the number of epochs that it was trained."""

    epoch: int = 0
    checkpoint: bytes | None = None


class FunctionTrial(Trial):
    """A trial as its training function sees it: where it reports, and where its states are."""

    def __init__(
        self, config: TrialConfig, device: torch.device, saved: _Saved, lockstep: Lockstep
    ) -> None:
        super().__init__(config, device, saved.epoch)
        self._saved = saved
        self._lockstep = lockstep

    def report(self, metrics: Mapping[str, Any]) -> None:
        """Report the metrics of an epoch; returns when the next epoch is wanted."""
        self._lockstep.put(metrics)

    def save_checkpoint(self, state: Any, epoch: int | None = None) -> None:
        """Keep a state for retries, pauses and the best trials: tensors, arrays, plain values.

        `epoch` is the number of epochs that the state was trained: by default those reported, so
        save after the report, or pass `trial.epoch + 1` before it. Raises UserCodeError for other
        objects, which could be loaded only by running code from the file.
        """
        buffer = io.BytesIO()  # a copy at once: training goes on in the same tensors
        torch.save(state, buffer)
        check_loadable(buffer, "save_checkpoint")
        self._saved.checkpoint = buffer.getvalue()
        self._saved.epoch = self.epoch if epoch is None else epoch
        self._lockstep.check_wanted()

    def load_checkpoint(self) -> Any | None:
        """Return the state to go on from; None where the trial starts from scratch."""
        if self._saved.checkpoint is None:
            return None
        return load_state(io.BytesIO(self._saved.checkpoint), self.device)


class FunctionTrainer:
    """Trains by a training function.

    The function runs in a thread of its own, which moves only during `train_epoch`.
    """

    end_reason = "returned"

    def __init__(
        self, config: TrialConfig, device: torch.device | str, objective: str | None = None
    ) -> None:
        self._config = config
        self._device = torch.device(device)
        self._objective = objective
        self._begin(_Saved())

    @property
    def epoch(self) -> int:
        """Epochs reported so far."""
        return self._trial.epoch

    def train_epoch(self) -> dict[str, float] | None:
        """Run the function up to its next report; None if it returned instead.

        Raises UserCodeError for a report that is no mapping of names to numbers or lacks the
        objective, DivergedError for one that isn't finite, and whatever the function raises.
        """
        started = time.perf_counter()
        if not self._lockstep.advance():
            if self.epoch == 0:
                raise UserCodeError(f"{self._config.trainable}: returned before its first report")
            return None
        metrics = read_metrics(self._lockstep.item, self.epoch + 1, self._objective)
        metrics.setdefault("seconds", time.perf_counter() - started)
        self._trial.epoch += 1
        self._let_it_save()
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return what the function saved last, and how many epochs that was trained.

        These may be fewer than were reported; 0 and None if it never saved.
        """
        return {"epoch": self._saved.epoch, "checkpoint": self._saved.checkpoint}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Start the function anew from a state."""
        self.close()
        self._begin(_Saved(state["epoch"], state["checkpoint"]))

    def close(self) -> None:
        """End the function where it waits; its `finally` blocks run."""
        self._lockstep.close()

    def _begin(self, saved: _Saved) -> None:
        name = f"{self._config.trainable} (trial {self._config.number})"
        self._saved = saved
        self._lockstep = Lockstep(self._run, name)
        self._trial = FunctionTrial(self._config, self._device, saved, self._lockstep)

    def _run(self) -> None:
        result = _call_user_code(self._config, self._trial)
        if not inspect.isgenerator(result):
            return
        try:
            for metrics in result:
                self._lockstep.put(metrics)
        finally:
            result.close()

    def _let_it_save(self) -> None:
        """After the last report let the function go on as far as its checkpoint.

        Not if it has never saved: it would train an epoch more for nothing.
        """
        last = self._config.max_epochs
        if self.epoch == last and self._saved.epoch < last and (self._saved.epoch or last == 1):
            self._lockstep.advance(is_last=True)


class ClassTrainer:
    """Trains by a user's class."""

    end_reason = "returned"

    def __init__(
        self, config: TrialConfig, device: torch.device | str, objective: str | None = None
    ) -> None:
        self._name = config.trainable
        self._objective = objective
        self._trial = Trial(config, torch.device(device))
        self._object = _call_user_code(config, self._trial)

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""
        return self._trial.epoch

    def train_epoch(self) -> dict[str, float] | None:
        """See FunctionTrainer."""
        started = time.perf_counter()
        report = self._object.train_epoch()
        if report is None:
            if self.epoch == 0:
                raise UserCodeError(f"{self._name}: ended before its first epoch")
            return None
        metrics = read_metrics(report, self.epoch + 1, self._objective)
        metrics.setdefault("seconds", time.perf_counter() - started)
        self._trial.epoch += 1
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return the object's state, and how many epochs it was trained."""
        return {"epoch": self.epoch, "checkpoint": self._object.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._object.load_state_dict(state["checkpoint"])
        self._trial.epoch = state["epoch"]

    def close(self) -> None:
        """Let the object clean up, if it has a method `close`; what that raises is logged."""
        try:
            getattr(self._object, "close", lambda: None)()
        except Exception:
            _log.warning("%s raised after its end", self._name, exc_info=True)


def is_class(config: TrialConfig) -> bool:
    """Whether `config.trainable` names a class; UserCodeError where it can't be imported."""
    name, folder = str(config.trainable), Path(config.folder)
    return inspect.isclass(registry.get("trainable", name, folder).factory)


def read_metrics(report: Any, epoch: int, objective: str | None = None) -> dict[str, float]:
    """Turn what user code reports into metrics; numpy's and torch's scalars are numbers too.

    >>> read_metrics({"loss": np.float32(0.5)}, epoch=1)
    {'loss': 0.5}
    """
    place = f"the report of epoch {epoch}"
    if not isinstance(report, Mapping):
        raise UserCodeError(f"{place}: must map names to numbers, but got {report!r}")
    metrics = {name: _number(name, value, place) for name, value in report.items()}
    if objective is not None and objective not in metrics:
        got = ", ".join(map(repr, metrics)) or "nothing"
        raise UserCodeError(f"{place}: must hold the objective {objective!r}, but got {got}")
    if metrics.get("epoch", epoch) != epoch:
        rule = f"{place}: its 'epoch' must be {epoch}"
        raise UserCodeError(f"{rule} (epochs count from 1), but got {metrics['epoch']:g}")
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise DivergedError(f"{name} is {value} at epoch {epoch}")
    metrics.pop("epoch", None)
    return metrics


_PURPOSE = "training function"
_log = logging.getLogger(__name__)


def _number(name: Any, value: Any, place: str) -> float:
    if not is_metric_name(name):
        raise UserCodeError(f"{place}: a metric's name {METRIC_NAME_RULE}, but got {name!r}")
    if isinstance(value, torch.Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1:
        value = value.item()
    if not isinstance(value, Real):
        raise UserCodeError(f"{place}: {name} must be a number, but got {value!r}")
    return float(value)


def _call_user_code(config: TrialConfig, trial: Trial) -> Any:
    """Call the function or make the object, seeded for this trial and where it starts."""
    seed = derive_seed(config.seed, config.number, _PURPOSE, trial.epoch)
    seed_all(seed)
    component = registry.get("trainable", str(config.trainable), Path(config.folder))
    return component.build({}, config=dict(config.values["space"]), trial=trial)
