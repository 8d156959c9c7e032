"""The reference of the HTTP interface, from the application's OpenAPI document."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docs.site.json_types import default_text, type_text
from docs.site.markdown import Page, code, escape, table
from hpsearch.service.app import create_app
from hpsearch.service.core import Service
from hpsearch.service.settings import Settings

_HEAD = """\
# The HTTP interface

A service (`hpsearch serve`) answers under `/api/v1`; each request carries
`Authorization: Bearer TOKEN`, with a token of `hpsearch token create USER`. The service's own
page `/docs` lets you try the requests, `/openapi.json` is the document from which this page is
made. What `hpsearch` does on a service it does by these requests.

```
curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8400/api/v1/searches
```
"""
_ERRORS = """
## Errors

Every error is answered with [ErrorBody](#errorbody) and one of these statuses:
"""
_METHODS = ("get", "post", "put", "patch", "delete")
#: below it, an answer is what was asked for
_FIRST_ERROR = 400


def document() -> dict[str, Any]:
    """Return the OpenAPI document of a service."""
    with tempfile.TemporaryDirectory() as folder:
        database = f"sqlite:///{Path(folder) / 'service.db'}"
        service = Service(Settings(Path(folder), database, "http://127.0.0.1:1"))
        try:
            found: dict[str, Any] = create_app(service).openapi()
            return found
        finally:
            service.close()


def pages() -> Iterator[Page]:
    """Yield the reference."""
    found = document()
    parts = [_HEAD]
    for tag, operations in _by_tag(found).items():
        parts += [f"## {tag[:1].upper()}{tag[1:]}\n", *operations]
    parts += [_ERRORS, _errors(found), "## Bodies\n"]
    parts += [_body(name, each) for name, each in found["components"]["schemas"].items()]
    yield Page("reference/http.md", "\n".join(parts))


def _by_tag(found: Mapping[str, Any]) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    for path, methods in found["paths"].items():
        for method in _METHODS:
            if method in methods:
                operation = methods[method]
                [tag] = operation["tags"]
                sections.setdefault(tag, []).append(_operation(method, path, operation))
    return sections


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [f"### {method.upper()} {path}\n", escape(operation.get("description", "")) + "\n"]
    if operation.get("parameters"):
        rows = [_parameter(each) for each in operation["parameters"]]
        parts.append(table(["parameter", "in", "value", "default", "meaning"], rows))
    if "requestBody" in operation:
        parts.append(f"Body: {_content(operation['requestBody'])}.\n")
    answers = sorted(_answers(operation))
    parts.append("Answers: " + "; ".join(answers) + ".\n")
    return "\n".join(parts)


def _parameter(each: Mapping[str, Any]) -> list[str]:
    schema = each["schema"]
    default = default_text(schema, each.get("required", False))
    meaning = escape(each.get("description", ""))
    return [code(each["name"]), each["in"], type_text(schema, _link), default, meaning]


def _answers(operation: Mapping[str, Any]) -> Iterator[str]:
    for status, answer in operation["responses"].items():
        if int(status) < _FIRST_ERROR:
            content = _content(answer)
            yield f"`{status}`" + (f", {content}" if content else "")


def _content(body: Mapping[str, Any]) -> str:
    """What a request or an answer holds, by media type."""
    found = []
    for media, content in body.get("content", {}).items():
        schema = type_text(content.get("schema", {}), _link)
        known = schema and schema not in ("any value", "text")
        found.append(f"{schema} as `{media}`" if known else f"`{media}`")
    return " or ".join(found)


def _errors(found: Mapping[str, Any]) -> str:
    meanings: dict[str, str] = {}
    for methods in found["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if int(status) >= _FIRST_ERROR:
                    meanings[status] = answer["description"]
    return table(
        ["status", "meaning"],
        [[code(status), escape(text)] for status, text in sorted(meanings.items())],
    )


def _body(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        [
            code(key),
            type_text(each, _link),
            default_text(each, key in required),
            escape(each.get("description", "")),
        ]
        for key, each in schema.get("properties", {}).items()
    ]
    text = escape(schema.get("description", ""))
    return f"### {name}\n\n{text}\n\n{table(['field', 'value', 'default', 'meaning'], rows)}"


def _link(definition: str) -> str:
    return f"[{definition}](#{definition.lower()})"
