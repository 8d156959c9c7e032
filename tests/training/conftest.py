"""Trainers of users' training code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hpsearch.spec import TrialConfig
from hpsearch.training import launch
from hpsearch.training.user_code.classes import ClassTrainer
from hpsearch.training.user_code.functions import FunctionTrainer
from tests.support import training_functions
from tests.support.training_functions import Trainers


@pytest.fixture
def trainers() -> Iterator[Trainers]:
    """Make a trainer of something in `tests/support/training_functions.py`; all are closed."""
    training_functions.EVENTS.clear()
    made = []

    def make(
        name: str, *, max_epochs: int = 3, objective: str | None = None, **space: Any
    ) -> FunctionTrainer | ClassTrainer:
        config = TrialConfig(
            4,
            0,
            max_epochs,
            {"space": space},
            metric=objective or "",
            trainable=f"{training_functions.__name__}:{name}",
            folder=".",
        )
        made.append(launch(config, None))
        return made[-1]

    yield make
    for trainer in made:
        trainer.close()
