"""The pages of the components: one a family, and the list of the families."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from docs.site.json_types import default_text, type_text
from docs.site.markdown import Page, code, escape, table
from hpsearch import catalogue, registry
from hpsearch.catalogue import Keyword
from hpsearch.schema import CONSTANT_FAMILIES, json_schema

FOLDER = "reference/components"
_HEAD = """\
# Components

What a spec can name, by family. Each component is a factory: its signature is what a spec may
set, its docstring what stands here. `hpsearch components [FAMILY]` prints the same; yours are
added by [registration or by file name](../../how-to/own-component.md).

"""
_LEGEND = """
Every keyword may be a constant, `{choices: [...]}` or, where it is a number, a range
`{low: ..., high: ...}`; `auto` stands for the recommended range.
"""
_FIXED = "\nKeywords are constants, the same for all trials.\n"
#: names of a library that are listed one by one
MOST_NAMES = 120


def pages() -> Iterator[Page]:
    """Yield the list of the families, and the page of each."""
    definitions = json_schema()["$defs"]
    rows = []
    for family in catalogue.families():
        place, count = catalogue.place_of(family), str(len(registry.names(family)))
        rows.append([f"[{family}]({family}.md)", count, place])
        yield Page(f"{FOLDER}/{family}.md", _family_page(family, place, definitions[family]))
    yield Page(f"{FOLDER}/index.md", _HEAD + table(["family", "components", "named in"], rows))


def component_link(definition: str, prefix: str = "") -> str:
    """Return a link from one page of a component to the family that a schema refers to."""
    is_family = definition in registry.INJECTED and registry.names(definition)
    return f"[{definition}]({prefix}{definition}.md)" if is_family else definition


def _family_page(family: str, place: str, definition: Mapping[str, Any]) -> str:
    schemas = {
        each["properties"]["name"]["const"]: each
        for each in definition["anyOf"]
        if "const" in each.get("properties", {}).get("name", {})
    }
    parts = [f"# {family}\n", f"Named in: {place}.\n"]
    parts.append(_FIXED if family in CONSTANT_FAMILIES else _LEGEND)
    if everywhere := catalogue.shared(family):
        first = schemas[catalogue.takers(family)[0]]
        parts += [
            f"## Keywords of {catalogue.which_take(family)}\n",
            _keywords(everywhere, first),
        ]
    for component, keywords in catalogue.components(family):
        text = escape(inspect.getdoc(component.factory) or "")
        parts += [f"## {component.name}\n\n{text}\n", _keywords(keywords, schemas[component.name])]
    parts += [_library(prefix, each) for prefix, each in registry.libraries(family).items()]
    return "\n".join(parts)


def _keywords(keywords: Iterable[Keyword], schema: Mapping[str, Any]) -> str:
    rows = [_keyword(keyword, schema) for keyword in keywords]
    return table(["keyword", "value", "default", "`auto`"], rows) if rows else ""


def _keyword(keyword: Keyword, schema: Mapping[str, Any]) -> list[str]:
    each, required = schema["properties"][keyword.name], keyword.name in schema["required"]
    default = default_text(each, required) or code(_as_spec(keyword.default))
    return [code(keyword.name), type_text(each, component_link), default, keyword.recommended]


def _as_spec(default: str) -> str:
    """Write a tuple of Python's as a spec does."""
    return str(list(ast.literal_eval(default))) if default.startswith("(") else default


def _library(prefix: str, names: list[str]) -> str:
    shown = names if len(names) <= MOST_NAMES else [*names[:MOST_NAMES], "…"]
    listed = ", ".join(code(f"{prefix}{name}") if name != "…" else name for name in shown)
    count = f"{len(names)} of another library"
    return f"## {prefix}NAME\n\n{count}, with its keywords: {listed}.\n"
