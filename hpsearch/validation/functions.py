"""Whether the spec of a user's training function can work."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path

from hpsearch import registry
from hpsearch.errors import Problem, UserCodeError, nearest_names
from hpsearch.registry import Component
from hpsearch.spec import SECTIONS, Choices, Draft, Tree, Unreadable, join
from hpsearch.validation.signatures import alternatives

_NAME = re.compile(r"[\w-]+")
_METHODS = ("train_epoch", "state_dict", "load_state_dict")


def check_training_function(draft: Draft, problems: list[Problem]) -> None:
    """Check `trainable` and `space`, and that nothing of a built-in trial stands beside them."""
    for section in SECTIONS:
        if draft.raw.get(section) is not None:
            rule = "must not stand beside trainable, which does this itself"
            problems.append(Problem(section, rule, draft.raw[section]))
    for option, default in (("precision", "fp32"), ("compile", False)):
        if draft.raw.get(option, default) != default:
            rule = "must not stand beside trainable, which does this itself"
            problems.append(Problem(option, rule, draft.raw[option]))
    if isinstance(draft.raw["trainable"], str):
        _check_trainable(draft.raw["trainable"], draft.folder, problems)
    _check_space(draft, problems)


def _check_trainable(name: str, folder: Path, problems: list[Problem]) -> None:
    try:
        component = registry.get("trainable", name, folder)
    except UserCodeError as error:
        problems.append(Problem.of(error, "trainable"))
    except KeyError:
        known = registry.names("trainable")
        rule = "must be module:function, file.py:function or a registered name"
        problems.append(Problem("trainable", rule, name, nearest_names(name, known)))
    else:
        problems += _signature_problems(component)


def _signature_problems(component: Component) -> list[Problem]:
    name, factory = component.name, component.factory
    found = []
    if inspect.isclass(factory):
        missing = [method for method in _METHODS if not hasattr(factory, method)]
        if missing:
            rule = f"must have the methods {', '.join(_METHODS)}"
            found.append(Problem("trainable", rule, f"{name} without {', '.join(missing)}"))
    required = [
        parameter.name
        for parameter in component.keywords.values()
        if parameter.default is inspect.Parameter.empty
    ]
    if required:
        rule = "must take the arguments config and trial, and no other without a default"
        found.append(Problem("trainable", rule, f"{name}({', '.join(required)})"))
    return found


def _check_space(draft: Draft, problems: list[Problem]) -> None:
    space = draft.sections.get("space", {})
    if isinstance(space, Unreadable) or space is None:
        return
    if not isinstance(space, Mapping):
        rule = "must map the names of hyperparameters to values, ranges or choices"
        problems.append(Problem("space", rule, draft.raw["space"]))
        return
    problems += _name_problems(space, "space")


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
