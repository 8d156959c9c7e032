"""The JSON schema (draft 2020-12) of a spec, from which editors complete and check as one types.

It knows the registered components with their keywords. It is a little more lenient than
`hpsearch validate`, which also knows the data, the user's code and how things fit together.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import (
    PydanticInvalidForJsonSchema,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
)

import hpsearch.components
import hpsearch.early_stopping
import hpsearch.samplers
import hpsearch.training  # noqa: F401  # all four register what they have
from hpsearch import registry
from hpsearch.registry import AUTO, Component, ComponentOf
from hpsearch.spec import (
    COMPONENT_SECTIONS,
    COMPONENT_SETTINGS,
    VALUE_SECTIONS,
    EarlyStopping,
    Range,
    SearchSpec,
    default_of,
)
from hpsearch.spec.priors import CONFIDENCES

Schema = dict[str, Any]

#: families whose components are the same for all trials, with their keywords
CONSTANT_FAMILIES = {of.family for of in COMPONENT_SETTINGS.values()} | {
    of.family for of in COMPONENT_SECTIONS.values() if of.fixed == "all"
}
_EMPTY = {"type": "object", "maxProperties": 0}
_USER_CODE = {"type": "string", "pattern": ":", "description": "module:factory or file.py:factory"}


def json_schema() -> Schema:
    """Return the JSON schema of a spec."""
    schema = _without_titles(SearchSpec.model_json_schema())
    properties, definitions = schema["properties"], schema["$defs"]
    del properties["folder"]
    for section, schema_of in _section_schemas():
        properties[section] = {**schema_of, "description": properties[section]["description"]}
    for family in registry.families():
        definitions[family] = _component(family)
    properties["space"]["type"] = "object"
    properties["metrics"] |= {"anyOf": [*_metric_sources(), {"type": "null"}]}
    words: Schema = {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1}
    definitions["Command"]["properties"]["run"] |= {**words, "type": ["string", "array"]}
    properties["command"]["anyOf"] = [{"type": "string"}, words, *properties["command"]["anyOf"]]
    search = definitions["SearchSettings"]["properties"]
    for setting, schema_of in (
        ("sampler", _component("sampler")),
        ("early_stopping", _early_stopping()),
    ):
        search[setting] = {**schema_of, "description": search[setting]["description"]}
    del definitions["EarlyStopping"]
    definitions["Range"] = _without_titles(Range.model_json_schema())
    schema["required"].remove("objective")  # the first of several stands for it
    schema["oneOf"] = [{"required": ["objective"]}, {"required": ["objectives"]}]
    schema["anyOf"] = [
        {"required": ["trainable"]},
        {"required": ["command"]},
        {"required": ["dataset", "model", "optimizer"]},
        {"required": ["environment", "agent"]},
    ]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _section_schemas() -> Iterator[tuple[str, Schema]]:
    for section, of in COMPONENT_SECTIONS.items():
        yield section, _components(of)
    for section, value in VALUE_SECTIONS.items():
        constant = TypeAdapter(value.annotation).json_schema()
        searched = searchable({**constant, "default": default_of(section)})
        yield section, searched if value.recommended is None else _with_recommended(searched)


def searchable(constant: Schema) -> Schema:
    """Return the schema of a constant, or of a range or choices of it, in lists item by item.

    >>> [each.get("type", "range") for each in searchable({"type": "integer"})["anyOf"]]
    ['integer', 'object', 'range']
    """
    default = {"default": constant["default"]} if "default" in constant else {}
    constant = {key: value for key, value in constant.items() if key != "default"}
    if isinstance(constant.get("items"), dict):
        constant["items"] = searchable(constant["items"])
    options = [constant, _choices(constant)]
    if _is_numeric(constant):
        options.append({"$ref": "#/$defs/Range"})
    return {"anyOf": options, **default}


def _components(of: ComponentOf) -> Schema:
    """Return the schema of what a section, or a keyword, may hold: a component, or several."""
    if of.many:
        array = {"type": "array", "items": _item(of)}
        several = {"anyOf": [array, {"type": "null"}]} if of.optional else array
        return {"anyOf": [several, _choices(several)]}
    if of.mapped:
        each = _components(replace(of, mapped=False, optional=False))
        mapping = {"type": "object", "additionalProperties": each}
        return {
            "anyOf": [mapping, _choices(mapping), *([{"type": "null"}] if of.optional else [])]
        }
    one: Schema = {"$ref": f"#/$defs/{of.family}"}
    if of.fixed == "all" and of.default:
        return {"anyOf": [one, _unnamed(of), {"type": "null"}]}
    if of.fixed != "nothing":
        return {"anyOf": [one, {"type": "null"}]} if of.optional else one
    named = {"name": _choices({"type": "string"})}
    chosen_name = {"type": "object", "properties": named, "required": ["name"]}
    if of.short:
        one = {"anyOf": [one, {"type": "number"}]}
    if of.optional:
        one = {"anyOf": [one, {"type": "null"}]}
    options = [one, _choices(one), chosen_name]
    if of.short:
        options += [{"$ref": "#/$defs/Range"}, {"const": AUTO}, _EMPTY]
    return {"anyOf": options}


def _item(of: ComponentOf) -> Schema:
    """Return the schema of one of several components, whose name may be left out if it is the
    default."""
    one = _components(replace(of, many=False, optional=False))
    if not of.default:
        return one
    return {"anyOf": [*one["anyOf"], _unnamed(of)]}


def _unnamed(of: ComponentOf) -> Schema:
    """Return the schema of a section's default, without its name."""
    unnamed = _keywords(registry.get(of.family, of.default))
    return {**unnamed, "required": [key for key in unnamed["required"] if key != "name"]}


def _with_recommended(searched: Schema) -> Schema:
    """Add the two ways to ask for the range that a component recommends."""
    return {**searched, "anyOf": [*searched["anyOf"], {"const": AUTO}, _EMPTY]}


def _component(family: str) -> Schema:
    names = registry.names(family)
    objects = [_keywords(registry.get(family, name)) for name in names]
    known = [{"enum": names}] if names else []
    others = [_USER_CODE, *map(_of_library, registry.prefixes_of_libraries(family))]
    own: list[Schema] = [
        {"type": "object", "properties": {"name": each}, "required": ["name"]} for each in others
    ]
    return {"anyOf": [*known, *others, *objects, *own]}


def _of_library(prefix: str) -> Schema:
    return {"type": "string", "pattern": f"^{re.escape(prefix)}", "description": f"{prefix}NAME"}


def _metric_sources() -> Iterator[Schema]:
    """Yield the schemas of where metrics come from, whose name may be called `from`."""
    for schema in _component("metric_source")["anyOf"]:
        yield schema
        if "properties" in schema:
            properties = {
                "from" if key == "name" else key: child
                for key, child in schema["properties"].items()
            }
            required = ["from", *(key for key in schema["required"] if key != "name")]
            yield {**schema, "properties": properties, "required": required}


def _early_stopping() -> Schema:
    """Return the schema of a rule, whose name may be left out."""
    default = EarlyStopping().name
    unnamed = {**_keywords(registry.get("early_stopping", default)), "required": []}
    return {"anyOf": [*_component("early_stopping")["anyOf"], unnamed]}


def _keywords(component: Component) -> Schema:
    properties: Schema = {"name": {"const": component.name}}
    required = ["name"]
    for key, parameter in component.keywords.items():
        if parameter.default is inspect.Parameter.empty:
            required.append(key)
        properties[key] = _keyword(component, key, parameter)
    return {
        "type": "object",
        "title": f"{component.family} {component.name}",
        "description": component.summary,
        "properties": properties,
        "required": required,
        "additionalProperties": component.takes_any_keyword,
    }


def _keyword(component: Component, key: str, parameter: inspect.Parameter) -> Schema:
    constant = _constant(parameter)
    if parameter.default is None or isinstance(parameter.default, str | int | float):
        constant["default"] = parameter.default
    is_component = registry.marked(parameter, ComponentOf) is not None
    if is_component or component.family in CONSTANT_FAMILIES:
        return constant
    searched = searchable(constant)
    return _with_recommended(searched) if key in component.recommended else searched


def _constant(parameter: inspect.Parameter) -> Schema:
    of, annotation = registry.marked(parameter, ComponentOf), parameter.annotation
    if of is not None:
        return _components(replace(of, optional=of.optional or parameter.default is None))
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        return {}
    try:
        schema = TypeAdapter(annotation).json_schema()
        return {} if "$defs" in schema else schema
    except (
        PydanticSchemaGenerationError,
        PydanticUndefinedAnnotation,
        PydanticInvalidForJsonSchema,
    ):
        return {}


def _choices(one: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {
            "choices": {"type": "array", "minItems": 1, "items": one},
            "prior": {"description": "the choice that is expected to be the best, or its name"},
            "confidence": {"enum": list(CONFIDENCES)},
        },
        "required": ["choices"],
        "additionalProperties": False,
    }


def _is_numeric(schema: Schema) -> bool:
    options = schema.get("anyOf", [schema])
    return any(not option or option.get("type") in ("integer", "number") for option in options)


def _without_titles(schema: Any) -> Any:
    """Drop the titles that pydantic makes of names: editors show the names already."""
    if isinstance(schema, dict):
        return {
            key: _without_titles(child)
            for key, child in schema.items()
            if key != "title" or not isinstance(child, str)
        }
    return [_without_titles(child) for child in schema] if isinstance(schema, list) else schema
