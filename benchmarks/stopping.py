"""Measure whether `stop_when` is right: forecasts during simulated searches, and what came.

    python -m benchmarks.stopping [--tasks development] [--seeds 2]

The searches are those of `benchmarks.samplers` (auto, ASHA, 8 workers). At every trial the
forecast says with which probability the rest of the search improves the best complete trial by
less than 0.3, 1 and 3 % of the distance from the median configuration to the best one.
A search would end by the first such statement with a probability of 0.95 or more, or by as many
in succession as `stop_when` wants. Counted are the searches that would, those that rightly would,
and the share of their trials that ending there saves.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.samplers import RUNGS, Simulation, task_parser
from benchmarks.tables import MAX_EPOCHS, SETS, Task, load_task
from hpsearch.samplers import Observation, Sampler, make_sampler
from hpsearch.samplers.outlook import Outlook, outlook
from hpsearch.spec import Scalar
from hpsearch.tuning.worth import NUM_AGREEING

IMPROVEMENTS = (0.003, 0.01, 0.03)
WORKERS, PROBABILITY = 8, 0.95
#: the share of a search's trials, what is forecast of the rest, and what came
Statement = tuple[float, Outlook, float]


class Listening:
    """A sampler that keeps what was known when each trial began."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self.known: dict[int, list[Observation]] = {}

    def suggest(
        self, number: int, observations: Sequence[Observation]
    ) -> dict[str, Scalar] | None:
        """See Sampler."""
        self.known[number] = list(observations)
        return self._sampler.suggest(number, observations)


def statements(task: Task, seed: int) -> list[Statement]:
    """Return the forecasts of one search: the share of its trials, what was said, what came."""
    sampler = Listening(
        make_sampler(
            {"name": "auto"},
            task.space,
            seed=seed,
            direction="minimize",
            rungs=RUNGS,
            slots=WORKERS,
        )
    )
    simulation = Simulation(task, sampler, seed, WORKERS)
    simulation.run()
    num_trials, end = len(simulation.observations), _best(simulation.observations)
    found = []
    for number, known in sampler.known.items():
        said = outlook(known, task.space, RUNGS, "minimize", num_trials - number, seed)
        if said is not None:
            found.append((number / num_trials, said, _best(known) - end))
    return found


def _best(trials: Sequence[Observation]) -> float:
    return min((t.curve[MAX_EPOCHS] for t in trials if MAX_EPOCHS in t.curve), default=np.inf)


def main() -> None:
    """Run the searches and print the counts."""
    arguments = _parse_arguments()
    tasks = SETS.get(arguments.tasks[0], tuple(arguments.tasks))
    print(f"python -m benchmarks.stopping {' '.join(sys.argv[1:])}".rstrip())
    print(f"tasks: {', '.join(tasks)}; {arguments.seeds} seeds")
    with threadpool_limits(1):  # as the driver has it
        searches = [
            (task, statements(task, seed))
            for task in map(load_task, tasks)
            for seed in range(arguments.seeds)
        ]
    for improvement in IMPROVEMENTS:
        for num_agreeing in (1, NUM_AGREEING):
            ends = [
                end
                for task, made in searches
                if (end := end_of(task, made, improvement, num_agreeing)) is not None
            ]
            saved = np.mean([1.0 - share for share, _ in ends]) if ends else 0.0
            print(
                f"below {improvement:.1%}, {num_agreeing} in succession: "
                f"{len(ends)} of {len(searches)} searches would end, "
                f"{sum(is_right for _, is_right in ends)} of them rightly, "
                f"with {saved:.0%} of their trials saved"
            )


def end_of(
    task: Task, made: Sequence[Statement], improvement: float, num_agreeing: int
) -> tuple[float, bool] | None:
    """Return after which share of its trials a search would end, and whether rightly."""
    unit = improvement * float(np.median(task.errors) - task.errors.min())
    agreeing = 0
    for share, forecast, came in made:
        is_sure = forecast.probability_below(unit) >= PROBABILITY
        agreeing = agreeing + 1 if is_sure else 0
        if agreeing == num_agreeing:
            return share, came < unit
    return None


def _parse_arguments() -> argparse.Namespace:
    parser = task_parser(__doc__, "development", 2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
