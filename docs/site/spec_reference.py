"""The reference of the spec, from its models and the registered components."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from docs.site.components import component_link
from docs.site.json_types import default_text, is_searchable, type_text
from docs.site.markdown import Page, code, escape, table
from hpsearch import registry
from hpsearch.schema import json_schema
from hpsearch.spec import COMPONENT_SECTIONS, COMPONENT_SETTINGS, SearchSpec

_HEAD = """\
# The spec

A search is described by a YAML file. A value is a constant, a range, `auto` or choices:

| value | stands for |
|---|---|
| `0.1`, `relu`, `[128, 64]` | a constant |
| `{low: 1e-4, high: 1.0, log: true}` | a number [between two ends](#ranges) |
| `auto` or `{}` | the range that the component recommends |
| `{low: 1e-4, high: 1.0, log: true, prior: 0.01}` | a range, the best value expected near 0.01 |
| `{choices: [32, 64, 128]}` | one of these, with the ranges inside it |

A component is written as its name, `relu`, or as a mapping with `name` and its keywords,
`{name: leaky_relu, negative_slope: auto}`. `package.module:factory` and `file.py:factory` name
[your own code](../how-to/own-component.md).

`hpsearch schema` prints all of this as a JSON schema, which makes an editor complete a spec;
`hpsearch validate SPEC` checks one.
"""
_SECTIONS = """
## Sections of components

A trial is made of these. All but `dataset` and the name of `launcher` may be searched, by ranges
and choices inside them or by choices of components. [Sections of your
own](../how-to/own-component.md#a-section-of-your-own) are keywords of a launcher.
"""
#: settings that name a component, as their families do
_OF_SETTINGS = {of.family for of in COMPONENT_SETTINGS.values()}
#: a model's section in a spec
_MODELS = {
    "objective": "Objective",
    "command": "Command",
    "search": "SearchSettings",
    "resources": "Resources",
}


def pages() -> Iterator[Page]:
    """Yield the reference."""
    schema = json_schema()
    parts = [_HEAD, "## Top level\n", _top_level(schema), _SECTIONS, _component_table(schema)]
    definitions = schema["$defs"]
    for section, model in _MODELS.items():
        parts += [f"## {section}\n", _model(definitions[model])]
    parts += ["## Ranges\n", _model(definitions["Range"])]
    yield Page("reference/spec.md", "\n".join(parts))


def _top_level(schema: Mapping[str, Any]) -> str:
    plain = {
        name: each for name, each in schema["properties"].items() if name not in COMPONENT_SECTIONS
    }
    required = schema["required"]
    return _fields(plain, required, {each: each for each in _MODELS})


def _component_table(schema: Mapping[str, Any]) -> str:
    rows = []
    for section, of in COMPONENT_SECTIONS.items():
        family = f"[{of.family}](components/{of.family}.md)"
        value = f"a list of components: {family}" if of.many else family
        if of.short:
            value += f"; a number is short for `{{name: {of.default}, {of.short}: ...}}`"
        description = schema["properties"][section].get("description", "")
        default = _section_default(section, schema)
        rows.append([code(section), value, default, escape(description)])
    return table(["section", "names", "default", "what it says"], rows)


def _section_default(section: str, schema: Mapping[str, Any]) -> str:
    *with_own_code, with_components = schema["anyOf"]
    if section in with_components["required"]:
        own = " or ".join(code(each["required"][0]) for each in with_own_code)
        return f"required without {own}"
    default = SearchSpec.model_fields[section].default
    return code(default["name"]) if default else ""


def _model(model: Mapping[str, Any]) -> str:
    fields = _fields(model["properties"], model.get("required", ()), {})
    return f"{escape(model.get('description', ''))}\n\n{fields}"


def _fields(properties: Mapping[str, Any], required: Any, anchors: Mapping[str, str]) -> str:
    rows = []
    for name, schema in properties.items():
        text = escape(schema.get("description", ""))
        if is_searchable(schema):
            text += "; may be searched"
        value = _value(name, schema, anchors)
        rows.append([code(name), value, default_text(schema, name in required), text])
    return table(["key", "value", "default", "what it says"], rows)


def _value(name: str, schema: Mapping[str, Any], anchors: Mapping[str, str]) -> str:
    if name in anchors:
        return f"[{name}](#{anchors[name]})"
    if name in _OF_SETTINGS:
        return component_link(name, "components/")
    if "pattern" in schema:
        return f"text that matches {code(schema['pattern'])}"
    return type_text(schema, _link)


def _link(definition: str) -> str:
    return component_link(definition, "components/") if _is_family(definition) else definition


def _is_family(definition: str) -> bool:
    return definition in registry.INJECTED
