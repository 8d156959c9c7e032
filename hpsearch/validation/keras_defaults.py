"""What Keras has where a spec with `defaults: keras` gives nothing."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpsearch import registry
from hpsearch.errors import Problem
from hpsearch.registry import Component, ComponentOf, KerasDefault
from hpsearch.spec import COMPONENT_SECTIONS, Choices, Draft, Tree
from hpsearch.validation.recommended import common, components_named


def with_keras_defaults(sections: Mapping[str, Tree], folder: Path) -> dict[str, Tree]:
    """Return the sections with Keras's defaults for the keywords that aren't given.

    A component's keywords get them, those of a default that is itself a component too. Where none
    is known, all stays.
    """
    return {
        name: _filled(tree, COMPONENT_SECTIONS[name], folder)
        if name in COMPONENT_SECTIONS
        else tree
        for name, tree in sections.items()
    }


def keras_problems(draft: Draft) -> list[Problem]:
    """Return what is wrong with `defaults: keras`: a spec without models has no other defaults."""
    if draft.raw.get("defaults") is None or draft.raw.get("model") is not None:
        return []
    rule = "must be given with a model only: Keras has no other defaults for your own code, or "
    rule += "for an agent without a net"
    return [Problem("defaults", rule, draft.raw["defaults"])]


def default_in(parameter: inspect.Parameter, library: str | None) -> Any:
    """Return a keyword's default, or that of the library whose defaults a spec asks for."""
    mark = registry.marked(parameter, KerasDefault) if library == "keras" else None
    return parameter.default if mark is None else mark.value


def _filled(tree: Tree, of: ComponentOf, folder: Path) -> Tree:
    """Return a component with what is missing, or each choice, each of several."""
    if isinstance(tree, Choices):
        return tree.model_copy(
            update={"choices": tuple(_filled(each, of, folder) for each in tree.choices)}
        )
    if of.many and isinstance(tree, list):
        return [_filled(item, replace(of, many=False), folder) for item in tree]
    if of.mapped and isinstance(tree, Mapping):
        one = replace(of, mapped=False)
        return {key: _filled(item, one, folder) for key, item in tree.items()}
    section = of.written_out(tree)
    if not isinstance(section, Mapping) or "name" not in section:
        return tree
    components = components_named(section["name"], of.family, folder)
    found = {**section}
    for key in _common(components):
        parameters = [each.keywords[key] for each in components]
        value = _keyword(section, key, parameters, folder)
        if value is not inspect.Parameter.empty:
            found[key] = value
    return tree if found == section else found


def _common(components: Sequence[Component]) -> list[str]:
    """Return the keywords that all of the components have."""
    first = components[0].keywords if components else {}
    return [key for key in first if all(key in each.keywords for each in components)]


def _keyword(
    section: Mapping[str, Tree], key: str, parameters: Sequence[inspect.Parameter], folder: Path
) -> Tree:
    """Return what a keyword is then; `empty` where it stays as it is."""
    inner = next((of for each in parameters if (of := registry.marked(each, ComponentOf))), None)
    if key in section:
        return section[key] if inner is None else _filled(section[key], inner, folder)
    default = common([default_in(each, "keras") for each in parameters])
    if inner is not None and isinstance(default, str | Mapping):
        default = _filled(default, inner, folder)
    is_ours = all(default == each.default for each in parameters)
    return inspect.Parameter.empty if is_ours else default
