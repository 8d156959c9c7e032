"""Whether a trial of an agent in an environment can work."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, product

import torch

from hpsearch import registry
from hpsearch.errors import Problem, nearest_names, place_of, placed, problem_of
from hpsearch.registry import Component
from hpsearch.spec import (
    COMPONENT_SECTIONS,
    MODEL_SECTIONS,
    VALUE_SECTIONS,
    Draft,
    Tree,
    TrialConfig,
    default_of,
    join,
    to_plain,
)
from hpsearch.spec.settings import Loader
from hpsearch.training.reinforcement.agents import FAMILY, NETWORKS, Networks, make_agent
from hpsearch.training.reinforcement.environments import Environment, make_environment, pace_of
from hpsearch.training.reinforcement.trainer import EVERY_EPOCH
from hpsearch.validation.fixed import fixed_problems
from hpsearch.validation.metrics import compared_metrics
from hpsearch.validation.outcomes import parted, unique
from hpsearch.validation.samples import corners
from hpsearch.validation.signatures import Alternative, check_section, check_value
from hpsearch.validation.without_effect import problems_without_effect

ENVIRONMENT = "environment"
#: keywords of agents that begin to learn after so many steps, or episodes of a step at least
STARTS = ("learning_starts", "n_steps", "episodes")
#: keywords of agents that draw batches from so many transitions
BUFFERS = ("buffer_size", "n_steps")
#: trait of agents that learn from all they have done at a time, rather than from batches
WHOLE = "learns_from_whole_rollouts"
#: sections that say how an agent's net is made and trained
_OF_NETS = ("model", "optimizer", "lr_schedule", "initializer", "gradient_clip", "batch_size")
#: settings beside the sections that have no meaning for an agent, with their defaults
_OTHERS = {
    "precision": "fp32",
    "compile": False,
    "fuse": "auto",
    "loader": Loader().model_dump(exclude_none=True),
    "metrics": None,
    "space": None,
}
_Found = Mapping[str, Sequence[Alternative]]


def reinforcement_problems(draft: Draft) -> list[Problem]:
    """Return what is wrong with the sections of an agent, and what of a data set's training
    stands beside them."""
    checked = {
        section: parted(check_section(of, draft.sections[section], section, draft.folder))
        for section, of in COMPONENT_SECTIONS.items()
        if section in (ENVIRONMENT, FAMILY, *_OF_NETS) and draft.sections.get(section) is not None
    }
    found = {section: alternatives for section, (alternatives, _) in checked.items()}
    problems = [*chain.from_iterable(new for _, new in checked.values())]
    problems += fixed_problems(
        COMPONENT_SECTIONS[ENVIRONMENT], draft.sections.get(ENVIRONMENT), ENVIRONMENT
    )
    problems = [_with_form(each) for each in problems]
    size = draft.sections.get("batch_size", default_of("batch_size"))
    problems += check_value(size, VALUE_SECTIONS["batch_size"].annotation, "batch_size")
    problems += [*_beside(draft), *_missing(draft, found), *_metric_problems(draft)]
    problems += _larger_batches(size, found)
    problems += _late_starts(draft, found)
    if not problems:
        problems += problems_without_effect(draft, found)
    unreadable = {each.path.partition(".")[0] for each in draft.problems}
    if problems or not found.get(ENVIRONMENT) or unreadable & {ENVIRONMENT, FAMILY, *_OF_NETS}:
        return problems
    try:
        environment = make_environment(to_plain(draft.sections[ENVIRONMENT]), draft.folder)
    except Exception as error:  # user code may raise anything
        return [_at_environment(problem_of(error))]
    try:
        with placed(ENVIRONMENT):
            environment.try_out()
    except Exception as error:
        rule = "must begin an episode and take a step as a gymnasium.Env"
        return [_at_environment(problem_of(error, rule))]
    else:
        return unique(_building_problems(draft, found, environment))
    finally:
        environment.close()


def _with_form(problem: Problem) -> Problem:
    """Say how an environment of gymnasium is written, where one is named as if it were ours."""
    name = problem.value
    is_unknown = isinstance(name, str) and name not in registry.names(ENVIRONMENT)
    if problem.path != f"{ENVIRONMENT}.name" or not is_unknown or ":" in str(name):
        return problem
    form = f"an environment of gymnasium is {{name: gymnasium, id: {name}}}"
    return replace(problem, nearest=(), hint=form)


def _larger_batches(size: Tree, found: _Found) -> Iterator[Problem]:
    """Yield batches of more transitions than an agent remembers, which would hold the same."""
    most = corners(size)[1]
    for agent, key, parameter in _with_keywords(found, BUFFERS):
        if agent.component.traits.get(WHOLE) or not isinstance(most, int):
            continue
        least = corners(agent.keywords.get(key, parameter.default))[0]
        if isinstance(least, int) and most > least:
            kept = f"{join(agent.path, key)}: {least:,}"
            rule = f"must be at most the transitions that the agent keeps ({kept})"
            yield Problem("batch_size", rule, to_plain(size))


def _with_keywords(
    found: _Found, keys: Sequence[str]
) -> Iterator[tuple[Alternative, str, inspect.Parameter]]:
    """Yield the agents that have one of the keywords, and that."""
    for agent in found.get(FAMILY, []):
        known = agent.component.keywords
        yield from ((agent, key, known[key]) for key in keys if key in known)


def _at_environment(problem: Problem) -> Problem:
    return problem if problem.path else replace(problem, path=ENVIRONMENT)


def _beside(draft: Draft) -> Iterator[Problem]:
    """Yield what has no meaning in an environment: data sets, folds, augmentations, lanes, …"""
    used = (ENVIRONMENT, FAMILY, *_OF_NETS)
    sections = {name: default_of(name) for name in MODEL_SECTIONS if name not in used}
    for section, default in {**sections, **_OTHERS}.items():
        given = draft.raw.get(section)
        if given is not None and given != default:
            rule = "must not be given with environment: an agent learns from no rows of a data set"
            if section == "fuse":
                rule = "must be auto or off with environment: each agent acts in its own"
            elif section in _OTHERS:
                rule = "must not be given with environment"
            if (section, given) not in [("fuse", "off"), ("fuse", False)]:
                yield Problem(section, rule, given)


def _missing(draft: Draft, found: _Found) -> Iterator[Problem]:
    """Yield sections that the agent needs, and those that it doesn't."""
    if draft.sections.get(FAMILY) is None:
        yield Problem(FAMILY, "must be given with environment: what learns to act in it")
        return
    agents = found.get(FAMILY, [])
    learn_nets = any(_learns_net(each.component) for each in agents)
    for section in _OF_NETS:
        is_given = draft.raw.get(section) not in (None, default_of(section))
        if learn_nets and not is_given and section in ("model", "optimizer"):
            yield Problem(section, "must be given: the agent learns a net")
        elif agents and is_given and not learn_nets:
            rule = f"must not be given with the agent {agents[0].component.name}, which has no net"
            yield Problem(section, rule, draft.raw[section])
        elif is_given and section == "batch_size" and agents and all(map(_takes_whole, agents)):
            name = agents[0].component.name
            rule = f"must not be given with the agent {name}, which learns from whole rollouts"
            yield Problem(section, rule, draft.raw[section])


def _late_starts(draft: Draft, found: _Found) -> Iterator[Problem]:
    """Yield a start of learning that no trial comes to, whatever it is searched from."""
    if draft.spec is None or not found.get(ENVIRONMENT):
        return
    epoch_steps = pace_of(to_plain(draft.sections[ENVIRONMENT])).epoch_steps
    num_steps = epoch_steps * draft.spec.max_epochs
    for agent, key, parameter in _with_keywords(found, STARTS):
        starts = agent.keywords.get(key, parameter.default)
        least = corners(starts)[0]
        if isinstance(least, int) and least > num_steps:
            rule = (
                f"must be at most the {num_steps:,} steps of a trial (environment.epoch_steps "
                "times search.early_stopping.max_epochs): the agent would never learn"
            )
            yield Problem(join(agent.path, key), rule, to_plain(starts))


def _takes_whole(agent: Alternative) -> bool:
    return bool(agent.component.traits.get(WHOLE))


def _learns_net(component: Component) -> bool:
    return NETWORKS in inspect.signature(component.factory).parameters


def _metric_problems(draft: Draft) -> Iterator[Problem]:
    """Yield the metrics that trials are compared by, but not all report after each epoch."""
    for place, metric in compared_metrics(draft):
        if metric not in EVERY_EPOCH:
            rule = f"must be a metric that every agent reports ({', '.join(EVERY_EPOCH)})"
            yield Problem(place, rule, metric, nearest_names(metric, EVERY_EPOCH))


def _building_problems(draft: Draft, found: _Found, environment: Environment) -> Iterator[Problem]:
    """Build each agent, and the first that learns a net with each model and each optimizer."""
    agents = found[FAMILY]
    with_net = [each for each in agents if _learns_net(each.component)][:1]
    first = {section: each[0] for section, each in found.items() if each}
    for agent in agents:
        yield from _building_problem(draft, {**first, FAMILY: agent}, environment)
    for agent, section in product(with_net, ("model", "optimizer", "lr_schedule", "initializer")):
        for one in found.get(section, [])[1:]:
            chosen = {**first, FAMILY: agent, section: one}
            yield from _building_problem(draft, chosen, environment)


def _building_problem(
    draft: Draft, chosen: Mapping[str, Alternative], environment: Environment
) -> list[Problem]:
    """Try the low ends of all ranges, then the high ones; if one works, trials may tell more."""
    problems = []
    for corner in (0, 1):
        values = {
            section: {"name": each.component.name, **corners(each.keywords)[corner]}
            for section, each in chosen.items()
        }
        size = corners(draft.sections.get("batch_size", default_of("batch_size")))[corner]
        config = TrialConfig(0, 0, 1, {**values, "batch_size": size}, folder=str(draft.folder))
        try:
            with torch.random.fork_rng(devices=[]):
                networks = Networks(config, environment.observations, torch.device("cpu"))
                make_agent(config, environment, networks)
                schedule = networks.schedule(pace_of(values[ENVIRONMENT]).epoch_steps)
                if schedule is not None:  # it may watch a metric
                    schedule.observe(dict.fromkeys(EVERY_EPOCH, 0.0))
        except Exception as error:  # user code may raise anything
            problems.append(_placed(error, chosen, values))
        else:
            return []
    return problems[:1]


def _placed(
    error: Exception, chosen: Mapping[str, Alternative], values: Mapping[str, object]
) -> Problem:
    """Return what an error says at its place in the spec, where there may be choices."""
    section, _, below = (place_of(error) or FAMILY).partition(".")
    rule = "must build for the environment's observations and actions"
    problem = problem_of(error, rule, values.get(section))
    if section not in chosen:
        return problem
    return replace(
        problem, path=join(chosen[section].path, below) if below else chosen[section].path
    )
