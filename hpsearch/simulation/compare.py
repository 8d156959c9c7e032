"""Several simulated searches that differ in their settings, over several seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from hpsearch.record import Record
from hpsearch.simulation.curves import Curves
from hpsearch.simulation.simulate import Better, better_trials, simulate
from hpsearch.spec import SearchSpec

#: shares of a record's trials that are at least as good as the qualities by default
SHARES = (0.25, 0.1, 0.02)


@dataclass(frozen=True)
class Variant:
    """A search to simulate: what differs from the others, and the whole."""

    workers: int
    settings: Mapping[str, str]  # paths of the spec and their values, as YAML
    spec: SearchSpec


@dataclass(frozen=True)
class Reached:
    """When a quality was reached: medians over the seeds, None where most didn't reach it."""

    quality: float
    seconds: float | None  # since the start of the search
    epochs: float | None  # that all trials had taken together
    num_seeds: int  # that reached it


@dataclass(frozen=True)
class Simulated:
    """What the simulations of a variant took and found: medians over the seeds."""

    workers: int
    settings: Mapping[str, str]
    num_seeds: int
    trials: float
    trained_in_full: float
    epochs: float
    seconds: float
    best: float | None  # None where most completed no trial
    reached: tuple[Reached, ...]
    better: tuple[tuple[Better, ...], ...]  # of each seed, see `better_trials`


def variants(
    settings: Mapping[str, Sequence[str]],
    workers: Sequence[int],
    spec_with: Callable[[Sequence[str]], SearchSpec],
) -> list[Variant]:
    """Return all combinations of values and numbers of workers.

    `spec_with` returns the spec with overrides `path=value`.
    """
    found = []
    for values in itertools.product(*settings.values()):
        chosen = dict(zip(settings, values, strict=True))
        spec = spec_with([f"{path}={value}" for path, value in chosen.items()])
        varied = {path: value for path, value in chosen.items() if len(settings[path]) > 1}
        found += [Variant(number, varied, spec) for number in workers]
    return found


def quality_levels(finals: Iterable[float], direction: str) -> list[float]:
    """Return the final values that a quarter, a tenth and one in fifty trials reach."""
    shares = np.array(SHARES)
    quantiles = np.quantile(list(finals), 1 - shares if direction == "maximize" else shares)
    return list(dict.fromkeys(quantiles.tolist()))


def compare(
    searches: Sequence[Variant],
    curves_of: Callable[[SearchSpec], Curves],
    qualities: Sequence[float],
    seeds: int = 3,
) -> Iterator[Simulated]:
    """Simulate each search with this many seeds, and yield what it took and found.

    The seeds are that of the spec and the following; they choose configurations and noise.
    """
    for variant in searches:
        curves, first = curves_of(variant.spec), variant.spec.search.seed
        records = [
            simulate(_seeded(variant.spec, first + i), curves, variant.workers)
            for i in range(seeds)
        ]
        yield _summary(variant, records, qualities)


def _seeded(spec: SearchSpec, seed: int) -> SearchSpec:
    return spec.model_copy(update={"search": spec.search.model_copy(update={"seed": seed})})


def _summary(variant: Variant, records: Sequence[Record], qualities: Sequence[float]) -> Simulated:
    worst = -math.inf if variant.spec.objective.direction == "maximize" else math.inf
    found = [better_trials(record) for record in records]
    best = median([each[-1].value if each else worst for each in found])
    trials = [record.trials for record in records]
    in_full = [sum(t.epochs >= variant.spec.max_epochs for t in each) for each in trials]
    return Simulated(
        variant.workers,
        variant.settings,
        len(records),
        median(len(each) for each in trials),
        median(in_full),
        median(sum(len(trial.curve) for trial in each) for each in trials),
        median((record.ended_at or 0.0) - record.created_at for record in records),
        best if math.isfinite(best) else None,
        tuple(_reached(quality, records) for quality in qualities),
        tuple(map(tuple, found)),
    )


def _reached(quality: float, records: Sequence[Record]) -> Reached:
    """Return when the searches first had a trial, trained in full, of a quality."""
    sign = 1.0 if records[0].spec.objective.direction == "maximize" else -1.0
    firsts = [
        next((b for b in better_trials(r) if sign * b.value >= sign * quality), None)
        for r in records
    ]

    def middle(numbers: Iterable[Any]) -> float | None:
        found = float(median(numbers))
        return found if math.isfinite(found) else None

    return Reached(
        quality,
        middle(math.inf if first is None else first.seconds for first in firsts),
        middle(math.inf if first is None else first.epochs for first in firsts),
        sum(first is not None for first in firsts),
    )
