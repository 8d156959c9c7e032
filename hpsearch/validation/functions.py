"""Whether the spec of a user's training function can work."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from hpsearch import registry
from hpsearch.errors import Problem, UserCodeError, nearest_names
from hpsearch.registry import Component
from hpsearch.spec import MODEL_SECTIONS, Choices, Draft, Tree, Unreadable, join
from hpsearch.validation.signatures import alternatives

_NAME = re.compile(r"[\w-]+")
_METHODS = ("train_epoch", "state_dict", "load_state_dict")


def training_function_problems(draft: Draft) -> Iterator[Problem]:
    """Yield what is wrong with `trainable` and `space`, and what of a built-in trial stands beside
    them."""
    defaults = {**dict.fromkeys(MODEL_SECTIONS), "precision": "fp32", "compile": False}
    for section, default in defaults.items():
        if draft.raw.get(section, default) != default:
            rule = "must not be given with trainable, which does this itself"
            yield Problem(section, rule, draft.raw[section])
    if isinstance(draft.raw["trainable"], str):
        yield from _trainable_problems(draft.raw["trainable"], draft.folder)
    yield from _space_problems(draft)


def _trainable_problems(name: str, folder: Path) -> list[Problem]:
    try:
        component = registry.get("trainable", name, folder)
    except UserCodeError as error:
        return [error.problem.below("trainable")]
    except KeyError:
        known = registry.names("trainable")
        rule = "must be module:function, file.py:function or a registered name"
        return [Problem("trainable", rule, name, nearest_names(name, known))]
    return _signature_problems(component)


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


def _space_problems(draft: Draft) -> list[Problem]:
    space = draft.sections.get("space", {})
    if isinstance(space, Unreadable) or space is None:
        return []
    if not isinstance(space, Mapping):
        rule = "must map the names of hyperparameters to values, ranges or choices"
        return [Problem("space", rule, draft.raw["space"])]
    return [*_name_problems(space, "space"), *_section_name_problems(space, draft)]


def _section_name_problems(space: Mapping[str, Tree], draft: Draft) -> Iterator[Problem]:
    """Yield the hyperparameters that have the name of a section beside `trainable`."""
    for name in space.keys() & (draft.sections.keys() - {"space"}):
        rule = f"must have another name: the spec has a section {name}"
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
