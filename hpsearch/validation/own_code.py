"""What the specs of a training function and of a command have in common."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from hpsearch.errors import Problem
from hpsearch.registry import AUTO
from hpsearch.spec import (
    MODEL_SECTIONS,
    Choices,
    Draft,
    Range,
    Tree,
    Unreadable,
    join,
    to_plain,
)
from hpsearch.spec.other_tools import FORM, hint_of
from hpsearch.spec.settings import Loader
from hpsearch.validation.samples import alternatives

_NAME = re.compile(r"[\w-]+")


def beside_problems(draft: Draft, what: str) -> Iterator[Problem]:
    """Yield what of a trial of components stands beside `trainable` or `command`."""
    others = {
        "precision": "fp32",
        "compile": False,
        "fuse": "auto",
        "loader": Loader().model_dump(exclude_none=True),
    }
    defaults = {**dict.fromkeys(MODEL_SECTIONS), **others}
    for section, default in defaults.items():
        if draft.raw.get(section, default) != default:
            rule = f"must not be given with {what}, which does this itself"
            yield Problem(section, rule, draft.raw[section])


def process_problems(draft: Draft) -> Iterator[Problem]:
    """Yield what is wrong with the processes of a trial."""
    if draft.spec is None:
        return
    resources = draft.spec.resources
    if resources.placement is not None and resources.nodes == 1:
        rule = "must come with resources.nodes of 2 or more"
        yield Problem("resources.placement", rule, resources.placement)
    if resources.launcher is None:
        if resources.nodes > 1:
            rule = "must come with resources.launcher, which starts processes on each node"
            yield Problem("resources.nodes", rule, resources.nodes)
        if (resources.processes or 1) > 1:
            rule = "must come with resources.launcher, which starts them"
            yield Problem("resources.processes", rule, resources.processes)
    elif resources.gpu % 1:
        rule = "must be a whole number with a launcher: its processes share no GPU"
        yield Problem("resources.gpu", rule, resources.gpu)
    elif 0 < resources.gpu < resources.num_processes:
        rule = f"must be at most the number of GPUs ({resources.gpu:g})"
        yield Problem("resources.processes", rule, resources.num_processes)


def space_problems(draft: Draft) -> list[Problem]:
    """Return what is wrong with `space`."""
    space = draft.sections.get("space", {})
    if isinstance(space, Unreadable) or space is None:
        return []
    if not isinstance(space, Mapping):
        rule = "must map the names of hyperparameters to values, ranges or choices"
        return [Problem("space", rule, draft.raw["space"])]
    found = [*_name_problems(space, "space"), *_section_name_problems(space, draft)]
    return found or [
        problem
        for name, tree in space.items()
        for problem in _meaning_problems(tree, join("space", name))
    ]


def _section_name_problems(space: Mapping[str, Tree], draft: Draft) -> Iterator[Problem]:
    """Yield the hyperparameters that have the name of a section beside the user's code."""
    for name in space.keys() & (draft.sections.keys() - {"space"}):
        rule = f"must be renamed: the spec has a section {name}"
        yield Problem(f"space.{name}", rule, name)


def _name_problems(tree: Tree, path: str) -> list[Problem]:
    """Check the names in a tree: its parameters are named by their paths, joined by dots."""
    if isinstance(tree, Choices):
        return [
            problem
            for place, choice in alternatives(tree, path)
            for problem in _name_problems(choice, place)
        ]
    if not isinstance(tree, Mapping):
        return []
    found = []
    for key, child in tree.items():
        if not _NAME.fullmatch(key):
            rule = "a hyperparameter's name must be made of letters, digits, '_' and '-'"
            found.append(Problem(join(path, key), rule, key))
        found += _name_problems(child, join(path, key))
    return found


def _meaning_problems(tree: Tree, path: str, is_chosen: bool = False) -> Iterator[Problem]:
    """Yield what is no value, but would be taken for a constant: a mapping in which nothing is
    searched, and what another tool means by a range or choices.

    A choice may be a mapping of constants (`is_chosen`), and `auto` as a text.
    """
    if isinstance(tree, Choices):
        for place, choice in alternatives(tree, path):
            yield from _below(choice, place, is_chosen=True)
        return
    plain = to_plain(tree)
    if hint := _AUTO_HINT if tree == AUTO else hint_of(plain):
        yield Problem(path, _RULE, plain, hint=hint)
    elif isinstance(tree, Mapping) and not is_chosen and not _is_searched(tree):
        rule = f"{_RULE}; a mapping is a group of hyperparameters, and none of these is searched"
        hint = f"{FORM}, a constant mapping as one choice"
        yield from [*_below(tree, path, is_chosen=True)] or [Problem(path, rule, plain, hint=hint)]
    else:
        yield from _below(tree, path, is_chosen)


def _below(tree: Tree, path: str, is_chosen: bool) -> Iterator[Problem]:
    if isinstance(tree, Mapping):
        for key, child in tree.items():
            yield from _meaning_problems(child, join(path, key), is_chosen)
    elif isinstance(tree, list | tuple):
        for i, child in enumerate(tree):
            if child != AUTO:
                yield from _meaning_problems(child, join(path, i), is_chosen=True)


def _is_searched(tree: Tree) -> bool:
    """Whether a tree holds a range or choices, or could not be read."""
    if isinstance(tree, Mapping):
        return any(map(_is_searched, tree.values()))
    if isinstance(tree, list | tuple):
        return any(map(_is_searched, tree))
    return isinstance(tree, Range | Choices | Unreadable)


_RULE = "must be a value, a range or choices"
_AUTO_HINT = (
    "auto stands for the range that a component recommends, and code of yours has none: "
    f"{FORM}, the text auto as {{choices: [auto]}}"
)
