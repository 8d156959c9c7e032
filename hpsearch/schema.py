"""The JSON schema (draft 2020-12) of a spec, from which editors complete and check as one types.

It knows the registered components with their keywords. It is a little more lenient than
`hpsearch validate`, which also knows the data, the user's code and how things fit together.
"""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import (
    PydanticInvalidForJsonSchema,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
)

import hpsearch.components
import hpsearch.samplers  # noqa: F401  # registers samplers
from hpsearch import registry
from hpsearch.registry import Component
from hpsearch.spec import COMPONENT_SECTIONS, Range, SearchSpec

Schema = dict[str, Any]

_DESCRIPTIONS = {
    "name": "name of the search",
    "dataset": "what is learned from; the same for all trials",
    "task": "loss and metrics; by default those for the data set's targets",
    "model": "the net",
    "initializer": "how weights are drawn before training",
    "optimizer": "how weights are updated",
    "batch_size": "examples of a training step",
    "gradient_clip": "greatest norm of the gradient; null doesn't clip",
    "precision": "bf16 computes in mixed precision",
    "space": "the hyperparameters of `trainable`, by name",
}
_USER_CODE = {"type": "string", "pattern": ":", "description": "module:factory or file.py:factory"}


def json_schema() -> Schema:
    """Return the JSON schema of a spec."""
    schema = _without_titles(SearchSpec.model_json_schema())
    properties, definitions = schema["properties"], schema["$defs"]
    del properties["folder"]
    for section in COMPONENT_SECTIONS:
        properties[section] = _section(section)
    properties["batch_size"] = searchable({"type": "integer", "minimum": 1, "default": 64})
    properties["gradient_clip"] = searchable(
        {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]}
    )
    properties["space"] = {"type": "object"}
    for name, description in _DESCRIPTIONS.items():
        properties[name]["description"] = description
    search = definitions["SearchSettings"]["properties"]
    search["sampler"] = _component("sampler")
    stopping = search["early_stopping"]
    names = list(stopping["discriminator"]["mapping"])
    search["early_stopping"] = {"anyOf": [{"enum": names}, stopping]}
    definitions["Range"] = _without_titles(Range.model_json_schema())
    schema["anyOf"] = [
        {"required": ["trainable"]},
        {"required": ["dataset", "model", "optimizer"]},
    ]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


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


def _section(family: str) -> Schema:
    one = _component(family)
    if family == "dataset":
        return one
    named = {"name": _choices({"type": "string"})}
    chosen_name = {"type": "object", "properties": named, "required": ["name"]}
    return {"anyOf": [*one["anyOf"], _choices(one), chosen_name]}


def _component(family: str) -> Schema:
    names = registry.names(family)
    own: Schema = {"type": "object", "properties": {"name": _USER_CODE}, "required": ["name"]}
    objects = [_keywords(registry.get(family, name)) for name in names]
    return {"anyOf": [{"enum": names}, _USER_CODE, *objects, own]}


def _keywords(component: Component) -> Schema:
    properties: Schema = {"name": {"const": component.name}}
    required = ["name"]
    for key, parameter in component.keywords.items():
        constant = _constant(key, parameter.annotation)
        if parameter.default is inspect.Parameter.empty:
            required.append(key)
        elif parameter.default is None or isinstance(parameter.default, str | int | float):
            constant["default"] = parameter.default
        is_searched = component.family not in ("dataset", "sampler")
        properties[key] = searchable(constant) if is_searched else constant
    return {
        "type": "object",
        "title": f"{component.family} {component.name}",
        "description": component.summary,
        "properties": properties,
        "required": required,
        "additionalProperties": component.takes_any_keyword,
    }


def _constant(key: str, annotation: Any) -> Schema:
    if key in registry.OFFERED:  # such as a model's activation
        return {"anyOf": [{"enum": registry.names(key)}, _USER_CODE]}
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
        "properties": {"choices": {"type": "array", "minItems": 1, "items": one}},
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
