"""Whether the spec of a user's training function can work."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hpsearch import registry
from hpsearch.errors import Problem, UserCodeError, nearest_names
from hpsearch.registry import Component
from hpsearch.spec import Draft
from hpsearch.validation.own_code import beside_problems, process_problems, space_problems

_METHODS = ("train_epoch", "state_dict", "load_state_dict")


def training_function_problems(draft: Draft) -> Iterator[Problem]:
    """Yield what is wrong with `trainable` and `space`, and what of a built-in trial stands beside
    them."""
    yield from beside_problems(draft, "trainable")
    for setting in ("command", "metrics"):
        if draft.raw.get(setting) is not None:
            yield Problem(setting, "must not be given with trainable", draft.raw[setting])
    yield from process_problems(draft)
    yield from _rank_problems(draft)
    if isinstance(draft.raw["trainable"], str):
        yield from _trainable_problems(draft.raw["trainable"], draft.folder)
    yield from space_problems(draft)


def _rank_problems(draft: Draft) -> Iterator[Problem]:
    """Yield where a class, which trains in one process, is to have several."""
    launcher = draft.spec.resources.launcher if draft.spec is not None else None
    name = draft.raw["trainable"]
    if launcher is None or not isinstance(name, str):
        return
    with suppress(UserCodeError, KeyError):  # reported at `trainable`
        if inspect.isclass(registry.get("trainable", name, draft.folder).factory):
            rule = "must be given with a training function or a command: a class has one process"
            yield Problem("resources.launcher", rule, launcher)


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


def _can_report(component: Component) -> bool:
    """Whether it gets the trial, or may yield its metrics; a class returns them."""
    factory = component.factory
    if inspect.isclass(factory) or inspect.isgeneratorfunction(inspect.unwrap(factory)):
        return True
    return "trial" in inspect.signature(factory).parameters


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
    if not _can_report(component):
        rule = "must take the argument trial, to report its metrics, or yield them"
        found.append(Problem("trainable", rule, f"{name}{inspect.signature(factory)}"))
    elif required:
        rule = "must take the arguments config and trial, and no other without a default"
        found.append(Problem("trainable", rule, f"{name}({', '.join(required)})"))
    return found
