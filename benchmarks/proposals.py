"""What proposals for free lanes cost: `python -m benchmarks.proposals [--lanes 16]`.

CPU seconds of the sampler `auto` for lanes that are free at once, with a fit for each of them and
with one for all, in turns, by the number of results. What is proposed is the same.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from benchmarks.speed import REPOSITORY, print_circumstances
from hpsearch.samplers import Observation, Sampler, make_sampler
from hpsearch.space import SearchSpace
from hpsearch.spec import Scalar, load_spec

RUNGS = (1, 3, 9, 27)


def main() -> None:
    """Print a line for each number of results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proposals", description=__doc__)
    default = REPOSITORY / "search_spaces" / "digits_mlp.yaml"
    parser.add_argument("spec", nargs="?", type=Path, default=default)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--results", type=int, nargs="+", default=[12, 30, 100, 300, 1000])
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    print_circumstances("benchmarks.proposals")
    space, lanes = SearchSpace.of(load_spec(arguments.spec)), arguments.lanes
    print(f"ms of the CPU for {lanes} lanes: a fit for each, one for all, ratio")
    for num_results in arguments.results:
        results = random_results(space, num_results)
        each, one = [], []
        for _ in range(arguments.rounds):
            each.append(seconds_of(space, results, lanes, is_shared=False))
            one.append(seconds_of(space, results, lanes, is_shared=True))
        before, after = 1e3 * statistics.median(each), 1e3 * statistics.median(one)
        told = f"{before:6.1f} {after:6.1f} {before / after:5.2f}"
        print(f"{num_results:>5} results: {told}")


def seconds_of(
    space: SearchSpace, results: list[Observation], lanes: int, *, is_shared: bool
) -> float:
    """Return the CPU seconds of proposals for so many lanes."""
    sampler, trials, seconds = _sampler(space), list(results), 0.0
    for _ in range(lanes):
        sampler = sampler if is_shared else _sampler(space)
        began = time.process_time()
        params = sampler.suggest(len(trials), trials)
        seconds += time.process_time() - began
        trials.append(Observation(len(trials), params or {}, {}, "running"))
    return seconds


def random_results(space: SearchSpace, num_results: int) -> list[Observation]:
    """Return random trials, of which a third reach each next rung."""
    random = make_sampler(
        {"name": "random"}, space, seed=1, direction="minimize", rungs=RUNGS, slots=1
    )
    rng = np.random.default_rng(0)
    found = []
    for number in range(num_results):
        params: dict[str, Scalar] = random.suggest(number, []) or {}
        epochs = RUNGS[int(min(rng.geometric(2 / 3), len(RUNGS))) - 1]
        curve = dict(enumerate(rng.random(epochs), start=1))
        found.append(Observation(number, params, curve, "finished"))
    return found


def _sampler(space: SearchSpace) -> Sampler:
    keywords = {"name": "auto", "random_fraction": 0.0}
    return make_sampler(keywords, space, seed=0, direction="minimize", rungs=RUNGS, slots=1)


if __name__ == "__main__":
    main()
