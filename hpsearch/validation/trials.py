"""Whether a trial that is put together from components can work, with its data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from hpsearch import registry
from hpsearch.components import Data, load_data, task_for
from hpsearch.errors import BadConfigurationError, HpsearchError, Problem
from hpsearch.spec import (
    COMPONENT_SECTIONS,
    VALUE_SECTIONS,
    Choices,
    Draft,
    Range,
    Tree,
    TrialConfig,
    default_of,
    join,
    to_plain,
)
from hpsearch.training.trainer import Trainer
from hpsearch.validation.kinds import stated_kind
from hpsearch.validation.metrics import check_metrics
from hpsearch.validation.recommended import with_recommended_ranges
from hpsearch.validation.signatures import (
    Alternative,
    check_section,
    check_value,
    corners,
    samples,
)

REQUIRED = ("dataset", "model", "optimizer")


def check_built_in_trial(draft: Draft, problems: list[Problem]) -> Data | None:
    """Check the sections of a trial, and return its data set where it can be loaded."""
    sections = draft.sections = with_recommended_ranges(draft.sections, draft.folder)
    for section in REQUIRED:
        if sections.get(section) is None:
            rule = "must be given (or trainable, for a training function of yours)"
            problems.append(Problem(section, rule))
    if sections.get("space") is not None:
        rule = "must stand beside trainable only; ranges of a component stand at its keywords"
        problems.append(Problem("space", rule, draft.raw["space"]))
    found = {
        section: check_section(of, sections[section], section, draft.folder, problems)
        for section, of in COMPONENT_SECTIONS.items()
        if sections.get(section) is not None
    }
    for section, value in VALUE_SECTIONS.items():
        tree = sections.get(section, default_of(section))
        problems += check_value(tree, value.annotation, section)
    data = _load_data(draft, found.get("dataset", []), problems)
    if data is not None:
        size = sections.get("batch_size", default_of("batch_size"))
        problems += _batch_size_problems(size, data)
    check_metrics(draft, found, data, problems)
    if data is not None:
        if not {problem.path.partition(".")[0] for problem in problems} & _BUILT_WITH:
            one = data.fold(0) if data.folds else data
            problems += _building_problems(draft, found, one)
        problems += _augmentation_problems(found.get("augmentations", []), data)
    return data


def _load_data(draft: Draft, found: list[Alternative], problems: list[Problem]) -> Data | None:
    section = draft.sections.get("dataset")
    searched = list(_searched(section, "dataset"))
    for path, tree in searched:
        rule = "must be a constant: all trials share one data set"
        problems.append(Problem(path, rule, to_plain(tree)))
    if searched or not found:
        return None
    seed = draft.spec.search.seed if draft.spec else 0  # without a spec the data only checks it
    try:
        said = stated_kind(draft)
        return load_data(to_plain(section), seed=seed, folder=draft.folder, said=said)
    except HpsearchError as error:
        problems.append(Problem.of(error, "dataset"))
        return None


def _searched(tree: Tree, path: str) -> Iterator[tuple[str, Tree]]:
    if isinstance(tree, Range | Choices):
        yield path, tree
    elif isinstance(tree, Mapping):
        for key, child in tree.items():
            yield from _searched(child, join(path, key))
    elif isinstance(tree, list | tuple):
        for i, child in enumerate(tree):
            yield from _searched(child, join(path, i))


def _batch_size_problems(tree: Tree, data: Data) -> list[Problem]:
    rows = data.num_train_rows
    rule = f"must be at most the number of training rows ({rows})"
    return [
        Problem(path, rule, size)
        for path, size in samples(tree, "batch_size")
        if isinstance(size, int) and size > rows
    ]


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
    except (HpsearchError, BadConfigurationError):  # told of where the objective is checked
        return []
    problems = []
    for alternative in tried:
        chosen = {**first, alternative.component.family: alternative}
        found_now = _building_problem(alternative, chosen, draft, data)
        problems += [problem for problem in found_now if problem not in problems]
    return problems


def _building_problem(
    alternative: Alternative, chosen: Mapping[str, Alternative], draft: Draft, data: Data
) -> list[Problem]:
    """Try the low ends of all ranges, then the high ones; if one works, trials may tell more."""
    problems = []
    for corner in (0, 1):
        values = {section: _values(each, corner) for section, each in chosen.items()}
        values |= _other_values(draft, data, corner)
        config = TrialConfig(0, 0, 1, values, folder=str(draft.folder))
        try:
            with torch.random.fork_rng(devices=[]):
                trainer = Trainer(config, data)
                is_users = registry.is_user_code(values["optimizer"]["name"])
                trainer.try_optimizer(always=is_users)
        except Exception as error:  # user code may raise anything
            problems.append(_problem_of(error, alternative, corner, data, draft.sections))
        else:
            return []
    return problems[:1]


def _problem_of(
    error: Exception,
    alternative: Alternative,
    corner: int,
    data: Data,
    sections: Iterable[str] = (),
) -> Problem:
    """Return what an error says of what was tried, or of another of these sections."""
    if isinstance(error, HpsearchError | BadConfigurationError):
        named = str(error).partition(": ")[0].partition(".")[0]
        is_other = named in sections and named != alternative.path.partition(".")[0]
        return Problem.of(error, named if is_other else alternative.path)
    cause = f"{type(error).__name__}: {error}"
    rule = f"must build for examples of the shape {data.input_shape} ({cause})"
    return Problem(alternative.path, rule, _values(alternative, corner))


def _other_values(draft: Draft, data: Data, corner: int) -> dict[str, Any]:
    """Return the sections that are not tried one by one, at the low or the high ends."""
    values = {
        section: corners(tree)[corner]
        for section, tree in draft.sections.items()
        if section not in (*_BUILT, "augmentations", "dataset") and tree is not None
    }
    size = values.get("batch_size")
    # a size that can't be is told of elsewhere
    valid = size == "full" or (isinstance(size, int) and 0 < size <= data.num_train_rows)
    return {**values, "batch_size": size if valid else "full"}


_BUILT = ("model", "initializer", "optimizer")
#: sections that may ask of an optimizer what not each can do: a momentum, several groups
_ASKING_OPTIMIZERS = {"momentum_schedule", "lr_schedule", "finetune", "task"}
#: sections that every trainer is built with; one that is wrong would be told of with each model
_BUILT_WITH = set(COMPONENT_SECTIONS) - {*_BUILT, "dataset"}


def _augmentation_problems(found: list[Alternative], data: Data) -> list[Problem]:
    """Build each augmentation for the data's examples; enough if it works at one of two ends."""
    offered = {
        "input_shape": data.input_shape,
        "output_size": data.output_size,
        "kind": data.kind,
    }
    problems = []
    for alternative in found:
        failed = []
        for corner, keywords in enumerate(corners(alternative.keywords)):
            try:
                alternative.component.build(keywords, **offered)
            except Exception as error:  # user code may raise anything
                failed.append(_problem_of(error, alternative, corner, data))
        problems += failed[:1] if len(failed) == 2 else []
    return problems


def _values(alternative: Alternative, corner: int) -> dict[str, Any]:
    return {"name": alternative.component.name, **corners(alternative.keywords)[corner]}
