"""What there is to name in a spec, as tables: from the same registration that builds it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import hpsearch.components
import hpsearch.early_stopping
import hpsearch.samplers
import hpsearch.training  # noqa: F401  # all four register what they have
from hpsearch import registry
from hpsearch.registry import Component, ComponentOf
from hpsearch.spec import COMPONENT_SECTIONS, COMPONENT_SETTINGS


@dataclass(frozen=True)
class Keyword:
    """A keyword of a component, as texts; `recommended` is the range that `auto` stands for."""

    name: str
    default: str
    recommended: str

    def __str__(self) -> str:
        """`lr = 0.001 (auto: 1e-05 to 0.1, log)`."""
        default = f" = {self.default}" if self.default else ""
        recommended = f" (auto: {self.recommended})" if self.recommended else ""
        return f"{self.name}{default}{recommended}"


def families() -> list[str]:
    """Return the families that have components."""
    return [family for family in registry.families() if registry.names(family)]


def place_of(family: str) -> str:
    """Say where a spec names a family's components: a section, or a keyword of another."""
    for section, of in COMPONENT_SECTIONS.items():
        if of.family == family:
            return f"section `{section}`" + (", a list" if of.many else "")
    return _PLACES.get(family, "") or ", ".join(sorted(_users(family)))


def components(family: str) -> Iterator[tuple[Component, list[Keyword]]]:
    """Yield the components of a family with the keywords of their own."""
    for name in registry.names(family):
        component = registry.get(family, name)
        yield component, [_keyword(component, key) for key in component.own_keywords]


def shared(family: str) -> list[Keyword]:
    """Return the keywords that all components of a family have."""
    component = registry.get(family, registry.names(family)[0])
    return [_keyword(component, key) for key in registry.shared_keywords(family)]


def to_markdown() -> str:
    """Return the whole catalogue as a page."""
    lines = [_HEAD]
    for family in families():
        lines += [f"## {family}", "", f"Named in: {place_of(family)}.", ""]
        if everywhere := shared(family):
            lines += [f"All take: {', '.join(f'`{each}`' for each in everywhere)}.", ""]
        lines += ["| name | what it is | keywords |", "|---|---|---|"]
        for component, keywords in components(family):
            texts = "<br>".join(f"`{_escape(str(each))}`" for each in keywords)
            lines.append(f"| `{component.name}` | {_escape(component.summary)} | {texts} |")
        lines.append("")
    return "\n".join(lines)


_HEAD = """\
# What a spec can name

Made by `hpsearch components --markdown` from the registered components; update it by `make docs`.
A keyword stands with its default and, in brackets, the range that `auto` stands for.
"""
_PLACES = {of.family: f"`{path}`" for path, of in COMPONENT_SETTINGS.items()}


def _keyword(component: Component, key: str) -> Keyword:
    parameter, mark = component.keywords[key], component.recommended.get(key)
    default = "" if parameter.default is inspect.Parameter.empty else repr(parameter.default)
    recommended = ""
    if mark is not None:
        recommended = f"{mark.low:g} to {mark.high:g}" + (", log" if mark.log else "")
    return Keyword(key, default, recommended)


def _users(family: str) -> set[str]:
    """The keywords of other components that hold one of this family."""
    return {
        f"`{component.family}.{key}`"
        for each in families()
        for component, _ in components(each)
        for key, parameter in component.keywords.items()
        if (of := registry.marked(parameter, ComponentOf)) is not None and of.family == family
    }


def _escape(text: Any) -> str:
    return str(text).replace("|", "\\|")
