"""Which requests are passed on to another server: those on a list of methods and routes.

An address is read once, as it was sent, and refused unless it is plain. The address that is sent
on is built from the parts that were matched, so no second reading can find another in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import Request
from starlette.exceptions import HTTPException

#: bytes of a path and of a query
MAX_PATH, MAX_QUERY = 1000, 20_000
MAX_PARAMETERS = 1000
#: dots stand between other characters only, and nothing is encoded: no address here needs more
_SEGMENT = re.compile(r"[A-Za-z0-9_~-]+(?:\.[A-Za-z0-9_~-]+)*", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_QUERY = re.compile(r"(?:[^#%<>\\\x00-\x20\x7f-\xff]|%[0-9A-Fa-f]{2})*")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
#: parameters that are paths of files; they climb nowhere, and hold nothing that is encoded again
PATH_PARAMETERS = frozenset({"path", "artifact_file_path", "artifact_directory_path"})
_NOT_BELOW = re.compile(r"^/|(?:^|/)\.{1,2}(?:/|$)|\\|%[0-9A-Fa-f]{2}")


@dataclass(frozen=True)
class Route:
    """A route that is passed on, with the names that its query may have.

    In the template, `{}` is any segment, `{int}` a number, and a last `{*}` one or more segments.
    """

    method: str
    template: str
    query: frozenset[str] = frozenset()

    def takes(self, segments: list[str]) -> bool:
        """Whether a path is of this route."""
        parts = self.template.split("/") if self.template else []
        if parts[-1:] == ["{*}"]:
            parts[-1:] = ["{}"] * max(1, len(segments) - len(parts) + 1)
        return len(parts) == len(segments) and all(map(_fits, parts, segments))


@dataclass(frozen=True)
class Target:
    """What is asked of the other server: a route, the parts of its path, and the query."""

    route: Route
    segments: tuple[str, ...]
    query: str

    @property
    def path(self) -> str:
        """The path below the server's root."""
        return "/".join(quote(segment, safe="") for segment in self.segments)


def find_target(request: Request, prefix: str, routes: Iterable[Route]) -> Target:
    """Return what a request below `prefix` asks for; HTTPException if it isn't passed on."""
    segments = _segments(request.scope.get("raw_path") or b"", prefix)
    fitting = [route for route in routes if route.takes(segments)]
    found = next((route for route in fitting if route.method == request.method), None)
    if found is None:
        raise HTTPException(
            404 if request.method == "GET" and not fitting else 405,
            f"{request.method} {'/'.join(segments)} is not allowed: this is read-only",
        )
    return Target(found, tuple(segments), _query(request.scope["query_string"], found.query))


def _segments(raw_path: bytes, prefix: str) -> list[str]:
    path = raw_path.decode("latin-1")
    if not path.startswith(prefix) or len(path) > MAX_PATH:
        raise HTTPException(400, f"the path must begin with {prefix} and be plain")
    rest = path.removeprefix(prefix)
    segments = rest.split("/") if rest else []
    if not all(map(_SEGMENT.fullmatch, segments)):
        rule = "letters, digits, - _ ~ and single dots between them, nothing encoded"
        raise HTTPException(400, f"each part of the path must consist of {rule}")
    return segments


def _fits(part: str, segment: str) -> bool:
    if part == "{int}":
        return _NUMBER.fullmatch(segment) is not None
    return part in ("{}", segment)


def _query(raw: bytes, names: frozenset[str]) -> str:
    """Return a query, encoded again, whose names are all known and whose values are texts."""
    text = raw.decode("latin-1")
    if len(text) > MAX_QUERY or not _QUERY.fullmatch(text):
        raise HTTPException(400, f"the query must be encoded, of at most {MAX_QUERY:,} characters")
    try:
        pairs = (
            parse_qsl(
                text,
                keep_blank_values=True,
                strict_parsing=True,
                errors="strict",
                max_num_fields=MAX_PARAMETERS,
            )
            if text
            else []
        )
    except ValueError as error:
        raise HTTPException(400, "the query must be NAME=VALUE pairs in UTF-8") from error
    for name, value in pairs:
        _check_parameter(name, value, names)
    return urlencode(pairs)


def _check_parameter(name: str, value: str, names: frozenset[str]) -> None:
    if name not in names:
        known = ", ".join(sorted(names)) or "nothing"
        raise HTTPException(400, f"the query may hold {known}, but has {name[:100]!r}")
    if _CONTROL.search(value):
        raise HTTPException(400, f"{name}: must hold no control characters")
    if name in PATH_PARAMETERS and _NOT_BELOW.search(value):
        raise HTTPException(400, f"{name}: must be a path below the run's, without . or ..")
