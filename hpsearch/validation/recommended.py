"""Ranges that components recommend, in place of `auto` and `{}` in a spec."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpsearch import registry
from hpsearch.errors import ComponentError
from hpsearch.registry import AUTO, Component, ComponentOf
from hpsearch.spec import COMPONENT_SECTIONS, VALUE_SECTIONS, Choices, Range, Tree


def with_recommended_ranges(sections: Mapping[str, Tree], folder: Path) -> dict[str, Tree]:
    """Return the sections with each `auto` or `{}` replaced by what its component recommends.

    Where nothing is recommended the value stays, and is refused as any other.
    """
    filled = {
        section: _fill(tree, COMPONENT_SECTIONS[section], folder)
        if section in COMPONENT_SECTIONS
        else tree
        for section, tree in sections.items()
    }
    for section, value in VALUE_SECTIONS.items():
        if value.recommended is not None and _asks(filled.get(section)):
            filled[section] = value.recommended
    return filled


def _fill(tree: Tree, of: ComponentOf, folder: Path) -> Tree:
    """Fill in the keywords of a component, of each choice, of each of several."""
    if isinstance(tree, Choices):
        filled = tuple(_fill(choice, of, folder) for choice in tree.choices)
        return tree.model_copy(update={"choices": filled})
    if of.many and isinstance(tree, list):
        return [_fill(item, replace(of, many=False), folder) for item in tree]
    if of.mapped and isinstance(tree, Mapping):
        one = replace(of, mapped=False)
        return {key: _fill(item, one, folder) for key, item in tree.items()}
    section = of.written_out(tree) if _asks(tree) and of.short else tree
    if not isinstance(section, Mapping) or "name" not in section:
        return tree
    components = components_named(section["name"], of.family, folder)
    return {
        key: value if key == "name" else _fill_keyword(value, key, components, folder)
        for key, value in section.items()
    }


def _fill_keyword(tree: Tree, key: str, components: list[Component], folder: Path) -> Tree:
    parameters = [each.keywords[key] for each in components if key in each.keywords]
    inner = next((of for each in parameters if (of := registry.marked(each, ComponentOf))), None)
    if inner is not None:
        return _fill(tree, inner, folder)
    ranges = {each.recommended.get(key) for each in components}
    if not _asks(tree) or len(ranges) != 1 or None in ranges:
        return tree
    recommended = ranges.pop()
    assert recommended is not None
    return Range(**recommended.to_dict(common([each.default for each in parameters])))


def common(defaults: Sequence[Any]) -> Any:
    """Return the default of a keyword where all components have the same, else `empty`."""
    is_common = defaults and all(default == defaults[0] for default in defaults)
    return defaults[0] if is_common else inspect.Parameter.empty


def components_named(name: Tree, family: str, folder: Path) -> list[Component]:
    """Return the components that a name, or choices of names, stand for, as far as known."""
    names: tuple[Any, ...] = name.choices if isinstance(name, Choices) else (name,)
    found = []
    for each in names:
        # what isn't a name, or not a known one, is reported when the component is checked
        with contextlib.suppress(KeyError, ComponentError):
            if isinstance(each, str):
                found.append(registry.get(family, each, folder))
    return found


def _asks(tree: Tree) -> bool:
    """Whether the recommended range is asked for."""
    return bool(tree == AUTO or tree == {})
