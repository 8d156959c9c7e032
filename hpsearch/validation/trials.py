"""Whether a trial that is put together from components can work, with its data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from types import MappingProxyType
from typing import Any

import torch

from hpsearch import registry
from hpsearch.components import Data, load_data, task_for
from hpsearch.components.augmentations import refusal
from hpsearch.errors import ComponentError, Problem, place_of, problem_of
from hpsearch.spec import (
    COMPONENT_SECTIONS,
    MODEL_SECTIONS,
    VALUE_SECTIONS,
    Draft,
    Resources,
    TrialConfig,
    default_of,
    join,
    to_plain,
)
from hpsearch.training import Trainer
from hpsearch.training.stages import new_trainer
from hpsearch.validation.ensembles import averaging_problems
from hpsearch.validation.fitting import batch_size_problems, history_problems, unfitting_values
from hpsearch.validation.fixed import fixed_problems
from hpsearch.validation.kinds import stated_kind
from hpsearch.validation.metrics import compared_metrics, measured_metrics, metric_problems
from hpsearch.validation.outcomes import parted, unique
from hpsearch.validation.samples import choices_of, corners
from hpsearch.validation.signatures import Alternative, check_section, check_value
from hpsearch.validation.without_effect import problems_without_effect

#: sections of components that make the model and its training; the launcher is checked elsewhere
_COMPONENTS = {name: of for name, of in COMPONENT_SECTIONS.items() if name in MODEL_SECTIONS}
REQUIRED = ("dataset", "model", "optimizer")


def check_built_in_trial(draft: Draft) -> tuple[Data | None, list[Problem]]:
    """Check the sections of a trial; returns its data set, if it can be loaded, and problems."""
    checked = {
        section: parted(check_section(of, draft.sections[section], section, draft.folder))
        for section, of in _COMPONENTS.items()
        if draft.sections.get(section) is not None
    }
    found = {section: alternatives for section, (alternatives, _) in checked.items()}
    problems = [*_missing(draft), *chain.from_iterable(new for _, new in checked.values())]
    for section, value in VALUE_SECTIONS.items():
        tree = draft.sections.get(section, default_of(section))
        problems += check_value(tree, value.annotation, section)
    data, data_problems = _load_data(draft, found.get("dataset", []))
    problems += data_problems
    if data is not None:
        size = draft.sections.get("batch_size", default_of("batch_size"))
        problems += batch_size_problems(size, data)
        problems += history_problems(found.get("task", []), data)
    if not problems:
        problems += problems_without_effect(draft, found)
    problems += metric_problems(draft, found, data)
    if data is None:
        return None, problems
    unfitting = [*unfitting_values(found.get("model", []), data)]
    problems += unfitting
    if not unfitting and not {each.path.partition(".")[0] for each in problems} & _BUILT_WITH:
        problems += _building_problems(draft, found, data.fold(0) if data.folds else data)
    return data, [*problems, *_augmentation_problems(found.get("augmentations", []), data)]


def _missing(draft: Draft) -> Iterator[Problem]:
    """Yield what sections are missing or too many."""
    for section in REQUIRED:
        if draft.sections.get(section) is None:
            rule = "must be given (or trainable or command, for your own code)"
            yield Problem(section, rule)
    if draft.sections.get("agent") is not None:
        rule = "must be given with environment only, in which it acts"
        yield Problem("agent", rule, draft.raw["agent"])
    if draft.sections.get("space") is not None:
        rule = "must be given with trainable or command only; components have ranges as keywords"
        yield Problem("space", rule, draft.raw["space"])
    if draft.spec is not None:
        yield from _process_problems(draft.spec.resources)
    if draft.raw.get("metrics") is not None:
        rule = "must be given with command only; those of a task are in the section task"
        yield Problem("metrics", rule, draft.raw["metrics"])


def _process_problems(resources: Resources) -> Iterator[Problem]:
    defaults = Resources()
    for name in ("launcher", "processes", "nodes", "placement"):
        if (value := getattr(resources, name)) != getattr(defaults, name):
            rule = "must be given with command or trainable only"
            yield Problem(f"resources.{name}", rule, value)


def _load_data(draft: Draft, found: list[Alternative]) -> tuple[Data | None, list[Problem]]:
    section = draft.sections.get("dataset")
    searched = fixed_problems(COMPONENT_SECTIONS["dataset"], section, "dataset")
    if searched or not found:
        return None, searched
    seed = draft.spec.search.seed if draft.spec else 0  # without a spec the data only checks it
    try:
        said = stated_kind(draft)
        return load_data(to_plain(section), seed=seed, folder=draft.folder, said=said), []
    except ComponentError as error:
        return None, [error.problem.below("dataset")]


def _building_problems(
    draft: Draft, found: Mapping[str, list[Alternative]], data: Data
) -> list[Problem]:
    """Build a trainer with each model, with each other component of the user's own, and with each
    optimizer where not all may do."""
    first = {section: found[section][0] for section in _BUILT if found.get(section)}
    if not {"model", "optimizer"} <= first.keys():
        return []
    whole = {"model", "optimizer"} if draft.sections.keys() & _ASKING_OPTIMIZERS else {"model"}
    tried = [
        alternative
        for section in _BUILT
        for alternative in found.get(section, [])
        if section in whole or registry.is_user_code(alternative.component.name)
    ]
    try:
        task_for(data, corners(draft.sections.get("task"))[0], draft.folder)
    except Exception:  # reported where the objective is checked
        return []
    problems = [
        problem
        for alternative in tried
        for problem in _building_problem(
            alternative, {**first, alternative.component.family: alternative}, draft, data
        )
    ]
    return unique(problems or _stage_problems(first, draft, data))


def _stage_problems(
    first: Mapping[str, Alternative], draft: Draft, data: Data
) -> Iterator[Problem]:
    """Build a trainer with each choice of the stages and within them, such as that of a task."""
    tree = draft.sections.get("stages")
    found = [] if tree is None else choices_of(tree, "stages")
    for path, ends in found if len(found) > 1 else []:
        for problem in _building_problem(first["model"], first, draft, data, {"stages": ends}):
            place, _, below = problem.path.partition(".")
            is_inside = place == "stages" and below
            yield replace(problem, path=join(path, below)) if is_inside else problem


def _building_problem(
    alternative: Alternative,
    chosen: Mapping[str, Alternative],
    draft: Draft,
    data: Data,
    sections: Mapping[str, tuple[Any, Any]] = MappingProxyType({}),
) -> list[Problem]:
    """Try the low ends of all ranges, then the high ones; if one works, trials may tell more.
    Where an objective is measured of a model, both are tried: one may have none.

    `sections` have their two values instead of the spec's.
    """
    problems, works = [], False
    measured = {*measured_metrics(draft)} & {metric for _, metric in compared_metrics(draft)}
    for corner in (0, 1):
        values = {section: _values(each, corner) for section, each in chosen.items()}
        values |= _other_values(draft, data, corner)
        values |= {section: ends[corner] for section, ends in sections.items()}
        config = TrialConfig(0, 0, 1, values, folder=str(draft.folder))
        try:
            with torch.random.fork_rng(devices=[]):
                trainer = new_trainer(config, data)
                is_users = registry.is_user_code(values["optimizer"]["name"])
                trainer.try_optimizer(always=is_users)
        except Exception as error:  # user code may raise anything
            problems.append(_problem_in_trial(error, alternative, chosen, values, data))
        else:
            works = True
            found = _unreported(trainer, values["model"]["name"], draft)
            found += averaging_problems(draft, trainer.trainers[0])
            if found or not measured:
                return found
    return [] if works else problems[:1]


def _unreported(trainer: object, model: str, draft: Draft) -> list[Problem]:
    """Return the objectives that trials of a model don't report, which have nothing that a
    callback measures."""
    if not isinstance(trainer, Trainer):  # of stages, the first is built
        return []
    missing = {*measured_metrics(draft)} - {*trainer.reported}
    rule = f"must be a metric that trials of {model} report, too ({', '.join(trainer.reported)})"
    return [
        Problem(place, rule, metric)
        for place, metric in compared_metrics(draft)
        if metric in missing
    ]


def _problem_in_trial(
    error: Exception,
    tried: Alternative,
    chosen: Mapping[str, Alternative],
    values: Mapping[str, Any],
    data: Data,
) -> Problem:
    """Return what an error says of a component of a trial, at its place in the spec.

    Errors have places in a trial's configuration, where no choices are left.
    """
    section, _, below = (place_of(error) or tried.component.family).partition(".")
    rule = f"must build for examples of the shape {data.input_shape}"
    problem = problem_of(error, rule, values.get(section))
    if section not in chosen:
        return problem
    at = chosen[section].path
    return replace(problem, path=join(at, below) if below else at)


def _other_values(draft: Draft, data: Data, corner: int) -> dict[str, Any]:
    """Return the sections that are not tried one by one, at the low or the high ends."""
    others = {*_BUILT, "dataset"}
    if not data.encoding.needs_augmentations:  # they are tried by themselves
        others.add("augmentations")
    values = {
        section: corners(tree)[corner]
        for section, tree in draft.sections.items()
        if section not in others and tree is not None
    }
    size = values.get("batch_size")
    # a size that can't be is reported elsewhere
    valid = size == "full" or (isinstance(size, int) and 0 < size <= data.num_train_rows)
    return {**values, "batch_size": size if valid else "full"}


_BUILT = ("model", "initializer", "optimizer")
#: sections that may ask of an optimizer what not each can do: a momentum, several groups
_ASKING_OPTIMIZERS = {"momentum_schedule", "lr_schedule", "finetune", "task", "stages"}
#: sections that every trainer is built with; one that is wrong would be reported with each model
_BUILT_WITH = set(_COMPONENTS) - {*_BUILT, "dataset"}


def _augmentation_problems(found: list[Alternative], data: Data) -> list[Problem]:
    """Build each augmentation for the data's examples; enough if it works at one of two ends."""
    offered = {
        "input_shape": data.one_shape,
        "output_size": data.output_size,
        "kind": data.kind,
        "input_scale": data.x_scale,
    }
    problems = []
    for alternative in found:
        if rule := refusal(alternative.component, data):
            problems.append(Problem(alternative.path, rule, alternative.component.name))
            continue
        failed = []
        for corner, keywords in enumerate(corners(alternative.keywords)):
            try:
                alternative.component.build(keywords, **offered)
            except Exception as error:  # user code may raise anything
                rule = f"must build for examples of the shape {data.input_shape}"
                value = _values(alternative, corner)
                failed.append(problem_of(error, rule, value).below(alternative.path))
        problems += failed[:1] if len(failed) == 2 else []
    return problems


def _values(alternative: Alternative, corner: int) -> dict[str, Any]:
    return {"name": alternative.component.name, **corners(alternative.keywords)[corner]}
