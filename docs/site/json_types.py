"""Types of JSON schemas as short texts: `integer 1 to 10`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from docs.site.markdown import code

Schema = Mapping[str, Any]
#: what a reference to a definition is shown as
Link = Callable[[str], str]
_NAMES = {
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "object": "mapping",
    "integer": "integer",
    "number": "number",
}
_COUNTABLE = ("text", "mapping", "integer", "number")


def type_text(schema: Schema, link: Link) -> str:
    """Return what a value may be; ways to search it (ranges, choices, `auto`) are left out."""
    if "$ref" in schema:
        return link(schema["$ref"].rpartition("/")[2])
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            options = [type_text(each, link) for each in schema[union] if not is_search(each)]
            return " or ".join(dict.fromkeys(option for option in options if option))
    return _plain_type(schema, link)


def is_search(schema: Schema) -> bool:
    """Whether an option is a way to search, or to choose a component, rather than a value."""
    properties = schema.get("properties", {})
    return (
        schema.get("$ref") == "#/$defs/Range"
        or "choices" in properties
        or "choices" in properties.get("name", {}).get("properties", {})
        or schema.get("const") == "auto"
        or schema.get("maxProperties") == 0
    )


def is_searchable(schema: Schema) -> bool:
    """Whether a value may be searched: by choices at least."""
    return any(is_search(each) for each in schema.get("anyOf", ()))


def default_text(schema: Schema, required: bool) -> str:
    """Return the default as a spec would write it; `required` where there must be a value."""
    if required:
        return "required"
    default = schema.get("default", "")
    if isinstance(default, dict):  # a section, or a component
        return code(default.get("name", ""))
    return code(_as_yaml(default))


def _as_yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_as_yaml, value))}]"
    return str(value)


def _plain_type(schema: Schema, link: Link) -> str:
    kind = schema.get("type")
    if kind == "array":
        return _list_type(schema, link)
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"mapping to {type_text(schema['additionalProperties'], link)}"
    return f"{_NAMES.get(str(kind), 'any value')}{_limits(schema)}"


def _list_type(schema: Schema, link: Link) -> str:
    items = type_text(schema["items"], link) if schema.get("items") else ""
    first, space, limits = items.partition(" ")
    plural = f"{first}s" if first in _COUNTABLE else first
    each = f" of {plural}{space}{limits}" if items and items != "any value" else ""
    return f"list{each}{_length(schema)}"


def _length(schema: Schema) -> str:
    low, high = schema.get("minItems"), schema.get("maxItems")
    if low is None and high is None:
        return ""
    if high is None:
        return f", at least {low}"
    return f", {low}" if low == high else f", {low or 0} to {high}"


def _limits(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" {_number(low)} to {_number(high)}"
    signs = [(low, "≥"), (above, "&gt;"), (high, "≤"), (below, "&lt;")]
    found = [f"{sign} {_number(value)}" for value, sign in signs if value is not None]
    return f" {', '.join(found)}" if found else ""


def _number(value: float) -> str:
    if value == 2**63:
        return "2⁶³"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
