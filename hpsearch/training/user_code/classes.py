"""A user's class as a trainer.

It has `__init__(config, trial)`, `train_epoch()` returning metrics (None to end early),
`state_dict()` and `load_state_dict(state)`; `close()` if it has to clean up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import torch

from hpsearch.errors import UserCodeError
from hpsearch.outcome import CheckWarning
from hpsearch.spec import TrialConfig
from hpsearch.training.user_code.copied import of_its_own
from hpsearch.training.user_code.reports import Objective, read_metrics
from hpsearch.training.user_code.settings import UserSettings
from hpsearch.training.user_code.trial import Trial, call_user_code, program_of

_log = logging.getLogger(__name__)


class ClassTrainer:
    """Trains by a user's class."""

    end_reason = "returned"

    def __init__(
        self, config: TrialConfig, device: torch.device | str, objective: str | None = None
    ) -> None:
        self._config = config
        self._name = str(config.trainable)
        self._max_epochs = config.max_epochs
        self._objective = Objective(objective)
        self._warnings: list[CheckWarning] = []
        self._trial = Trial(config, torch.device(device))
        self._settings = UserSettings(*program_of(config))
        with self._settings.applied():
            self._object = call_user_code(config, self._trial)

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""
        return self._trial.epoch

    def train_epoch(self) -> dict[str, float] | None:
        """See FunctionTrainer."""
        started = time.perf_counter()
        with self._settings.applied():
            report = self._object.train_epoch()
        if report is None:
            if self.epoch == 0:
                raise UserCodeError(f"{self._name}: ended before its first epoch")
            self._objective.require(self._name)
            return None
        metrics = read_metrics(report, self.epoch + 1)
        warning = self._objective.fill_in(metrics, self.epoch + 1)
        self._warnings += [] if warning is None else [warning]
        metrics.setdefault("seconds", time.perf_counter() - started)
        self._trial.epoch += 1
        if self.epoch == self._max_epochs:
            self._objective.require(self._name)
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return the object's state, and how many epochs it was trained."""
        with self._settings.applied():
            state = self._object.state_dict()
        return {"epoch": self.epoch, "checkpoint": state, "objective": self._objective.last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        mine = of_its_own(state["checkpoint"], self._config, state["epoch"])
        with self._settings.applied():
            self._object.load_state_dict(mine)
        self._objective.last = state.get("objective")
        self._trial.epoch = state["epoch"]

    def take_warnings(self) -> list[CheckWarning]:
        """Return what the user should know of the reports since the last call."""
        warnings, self._warnings = self._warnings, []
        return warnings

    def close(self) -> None:
        """Let the object clean up, if it has a method `close`; what that raises is logged."""
        try:
            with self._settings.applied():
                getattr(self._object, "close", lambda: None)()
        except (Exception, SystemExit):
            _log.warning("%s raised after its end", self._name, exc_info=True)
