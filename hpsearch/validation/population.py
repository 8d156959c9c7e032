"""Whether a search whose trials copy each other can work."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import suppress

from hpsearch import registry
from hpsearch.errors import Problem, UserCodeError
from hpsearch.formatting import show_count
from hpsearch.samplers import PopulationSampler, make_sampler
from hpsearch.space import SearchSpace
from hpsearch.spec import SearchSpec

_PLACE = "search.sampler"


def population_problems(spec: SearchSpec, sampler: PopulationSampler) -> Iterator[Problem]:
    """Yield what can't go with the sampler of a population."""
    name = spec.search.sampler["name"]
    yield from _size_problems(spec, sampler)
    yield from _setting_problems(spec, name)
    yield from _state_problems(spec, name)


def population_told(spec: SearchSpec) -> str:
    """Say how many trials and epochs a population takes; nothing of other searches."""
    if not spec.search.is_population:
        return ""
    sampler = make_sampler(
        spec.search.sampler,
        SearchSpace.of(spec),
        seed=spec.search.seed,
        direction=spec.objective.direction,
        rungs=(spec.max_epochs,),
        slots=1,
    )
    assert isinstance(sampler, PopulationSampler)
    members = show_count(sampler.population, "member")
    every = show_count(sampler.perturbation_interval, "epoch")
    num_epochs = show_count(sampler.population * spec.max_epochs, "epoch")
    least = min(spec.search.trials, _num_trials(spec, sampler))
    return (
        f"population: {members} of {show_count(spec.max_epochs, 'epoch')}, {num_epochs} in all; "
        f"copies every {every}, {show_count(least, 'trial')} with them"
    )


def _num_trials(spec: SearchSpec, sampler: PopulationSampler) -> int:
    """Return the trials of a population that makes all its copies, where no member ends early."""
    num_rounds = -(-spec.max_epochs // sampler.perturbation_interval) - 1
    return sampler.population + num_rounds * sampler.num_copied


def _size_problems(spec: SearchSpec, sampler: PopulationSampler) -> Iterator[Problem]:
    interval, max_epochs = sampler.perturbation_interval, spec.max_epochs
    if interval >= max_epochs:
        rule = f"must be less than the epochs of a trial (search.early_stopping: {max_epochs})"
        yield Problem(f"{_PLACE}.perturbation_interval", rule, interval)
    if spec.search.trials <= sampler.population:
        rule = f"must be more than the population ({sampler.population}): each copy is a trial"
        hint = f"{_num_trials(spec, sampler)} are enough for all copies"
        yield Problem("search.trials", rule, spec.search.trials, hint=hint)


def _setting_problems(spec: SearchSpec, name: str) -> Iterator[Problem]:
    search = spec.search
    if search.early_stopping.name != "none":
        rule = f"must be none with the sampler {name}: worse members copy better ones instead"
        yield Problem("search.early_stopping.name", rule, search.early_stopping.name)
    if spec.constraints:
        rule = f"must not be given with the sampler {name}: members are compared by the objective"
        yield Problem("constraints", rule)
    if isinstance(spec.dataset, Mapping) and spec.dataset.get("folds"):
        rule = f"must not be given with the sampler {name}: the final model is trained anew, with"
        what = " the last hyperparameters alone"
        yield Problem("dataset.folds", rule + what, spec.dataset["folds"])
    if search.final is not None:
        rule = f"must not be given with the sampler {name}: a member's hyperparameters change"
        yield Problem("search.final", rule)
    if search.stop_when is not None:
        rule = f"must not be given with the sampler {name}: the forecast is of independent trials"
        yield Problem("search.stop_when", rule)
    if search.warm_start:
        rule = (
            f"must not be given with the sampler {name}: give the first members as search.points"
        )
        yield Problem("search.warm_start", rule, list(search.warm_start))


def _state_problems(spec: SearchSpec, name: str) -> Iterator[Problem]:
    """Yield why the state of a trial can't be copied into another."""
    if spec.has_files:
        place = "command" if spec.command is not None else "resources.launcher"
        rule = f"must not be given with the sampler {name}, which copies states, not files"
        hint = "use trainable: a function that saves and loads by trial.save_checkpoint"
        yield Problem(place, rule, hint=hint)
    elif spec.trainable is not None and not _loads(spec):
        rule = f"must load its checkpoints with the sampler {name}: members begin with others'"
        hint = "begin with trial.load_checkpoint(), and call trial.save_checkpoint each epoch"
        yield Problem("trainable", rule, spec.trainable, hint=hint)


def _loads(spec: SearchSpec) -> bool:
    """Whether a training function names what loads its checkpoint; a class must have it."""
    with suppress(UserCodeError, KeyError, OSError, TypeError):  # reported at `trainable`
        factory = registry.get("trainable", str(spec.trainable)).factory
        if not inspect.isclass(factory):
            module = inspect.getmodule(factory) or factory
            return "load_checkpoint" in inspect.getsource(module)
    return True
