"""Trainings of one configuration on parts of its training rows: the points of a learning curve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from hpsearch.analysis.learning_curve import NUM_SIZES, Point
from hpsearch.components import Data
from hpsearch.components.examples import Arrays
from hpsearch.errors import DivergedError, HpsearchError, Problem, SpecError
from hpsearch.spec import Direction, TrialConfig, sign_of
from hpsearch.training import Trainer
from hpsearch.training.seeds import derive_seed

#: parts of the training rows
FRACTIONS = (0.125, 0.25, 0.5, 1.0)


def check_parts(config: TrialConfig, data: Data) -> None:
    """Raise HpsearchError for data that has folds or isn't in memory, or whose parts of the rows
    have whole batches for fewer than three points."""
    rows = _rows_in_memory(data)
    sizes = [num for each in FRACTIONS if _has_batches(config, num := round(each * len(rows)))]
    if len(sizes) < NUM_SIZES:
        most = round(FRACTIONS[-NUM_SIZES] * len(rows))
        rule = f"must be at most {most} for a learning curve of {len(rows)} training rows"
        raise SpecError([Problem("batch_size", rule, config.values["batch_size"])])


def _rows_in_memory(data: Data) -> Arrays:
    if not isinstance(data.train, Arrays) or data.folds:
        raise HpsearchError("a learning curve needs data in memory, without folds")
    return data.train


def learning_points(
    config: TrialConfig,
    data: Data,
    direction: Direction,
    fractions: Sequence[float] = FRACTIONS,
    seeds: int = 3,
) -> Iterator[Point]:
    """Train on each part of the rows with each seed, and yield the best epoch's objective.

    Parts of a seed hold each other. A part is trained for as many more epochs as it has fewer
    rows, so that all take as many steps; its validation rows stay the same. One that diverges is
    left out. Raises HpsearchError for data that has folds or isn't in memory.
    """
    rows = _rows_in_memory(data)
    for seed in range(seeds):
        drawn = derive_seed(config.seed, seed, "learning curve")
        order = np.random.default_rng(drawn).permutation(len(rows))
        for fraction in sorted(fractions):
            num_rows = round(fraction * len(rows))
            if not _has_batches(config, num_rows):
                continue
            part = replace(data, train=rows.rows(np.sort(order[:num_rows])))
            epochs = round(config.max_epochs / fraction)
            value = _best(replace(config, seed=drawn, max_epochs=epochs), part, direction)
            if value is not None:
                yield Point(num_rows, seed, value)


def _has_batches(config: TrialConfig, num_rows: int) -> bool:
    """Whether an epoch has a whole batch."""
    size = config.values["batch_size"]
    return isinstance(size, str) or num_rows >= size


def _best(config: TrialConfig, data: Data, direction: Direction) -> float | None:
    trainer = Trainer(config, data, config.device)
    values: list[float] = []
    try:
        while len(values) < config.max_epochs and (metrics := trainer.train_epoch()) is not None:
            values.append(metrics[config.metric])
    except DivergedError:
        return None
    finally:
        trainer.close()
    sign = sign_of(direction)
    return max(values, key=lambda value: sign * value, default=None)
