"""The default configuration of a search: what its user or its components would take unsearched."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from hpsearch import registry
from hpsearch.registry import ComponentOf
from hpsearch.samplers.first_points import fitting_value
from hpsearch.samplers.unit_cube import value_at
from hpsearch.space import Parameter, SearchSpace
from hpsearch.spec import (
    COMPONENT_SECTIONS,
    KERAS_SECTIONS,
    Choices,
    Range,
    Scalar,
    SearchSpec,
    Tree,
    default_of,
    join,
)
from hpsearch.validation.keras_defaults import default_in
from hpsearch.validation.recommended import common, components_named

#: is in no range, and no choice
_UNKNOWN = inspect.Parameter.empty


class _Origin(NamedTuple):
    """Whose defaults they are: of the user's files too, and of a library that a spec asks for."""

    folder: Path
    like: str | None


def default_configuration(spec: SearchSpec) -> dict[str, Scalar]:
    """Return the active parameters of the default configuration; see `default_values`."""
    values = default_values(spec)
    params: dict[str, Scalar] = {}
    for parameter in SearchSpace.of(spec).parameters:
        if parameter.is_active(params):
            params[parameter.name] = values[parameter.name]
    return params


def default_values(spec: SearchSpec) -> dict[str, Scalar]:
    """Return the default of each hyperparameter, whether the default configuration has it or not.

    Of each hyperparameter: its prior, else the default of the component's keyword or of the
    section, where that lies in its range, else the middle of the range or the first choice.
    """
    space, origin = SearchSpace.of(spec), _Origin(Path(spec.folder), spec.defaults)
    defaults: dict[str, Any] = {}
    for section, tree in spec.trial_sections.items():
        of = COMPONENT_SECTIONS.get(section)
        default = _UNKNOWN if section == "space" else default_of(section)
        if spec.defaults == "keras":
            default = KERAS_SECTIONS.get(section, default)
        defaults |= dict(_defaults(tree, of, section, default, origin))
    return {
        parameter.name: _value(parameter, defaults.get(parameter.name, _UNKNOWN))
        for parameter in space.parameters
    }


def _value(parameter: Parameter, default: Any) -> Scalar:
    if parameter.prior is not None:
        return parameter.prior.value
    is_choice = hasattr(parameter.distribution, "choices")
    with suppress(ValueError):
        return fitting_value(parameter.distribution, default)
    return value_at(parameter.distribution, 0.0 if is_choice else 0.5)


def _defaults(
    tree: Tree, of: ComponentOf | None, path: str, default: Any, origin: _Origin
) -> Iterator[tuple[str, Any]]:
    """Yield the names of parameters of a tree, and what they would be if they weren't searched."""
    if isinstance(tree, Range | Choices):
        yield path, _label(default)
    if isinstance(tree, Choices):
        for label, choice in zip(tree.labels, tree.choices, strict=True):
            yield from _defaults(choice, of, join(path, label), _UNKNOWN, origin)
    elif of is not None and of.many and isinstance(tree, list):
        one = replace(of, many=False)
        for i, item in enumerate(tree):
            yield from _defaults(item, one, join(path, i), _UNKNOWN, origin)
    elif of is not None and isinstance(tree, Mapping) and "name" in tree:
        yield from _keyword_defaults(tree, of, path, origin)


def _keyword_defaults(
    section: Mapping[str, Tree], of: ComponentOf, path: str, origin: _Origin
) -> Iterator[tuple[str, Any]]:
    components = components_named(section["name"], of.family, origin.folder)
    for key, tree in section.items():
        parameters = [each.keywords[key] for each in components if key in each.keywords]
        default = common([default_in(each, origin.like) for each in parameters])
        marks = (registry.marked(each, ComponentOf) for each in parameters)
        inner = next((mark for mark in marks if mark is not None), None)
        yield from _defaults(tree, inner, join(path, key), default, origin)


def _label(default: Any) -> Any:
    """Return the name of a component, which stands for it among choices; else what it is."""
    return default["name"] if isinstance(default, Mapping) and "name" in default else default
