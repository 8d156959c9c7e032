"""Every error as one JSON shape: `{"error": {"message", "problems": [{place, rule, value}]}}`."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from hpsearch.errors import (
    ClusterError,
    ConflictError,
    HpsearchError,
    NotAllowedError,
    NotAuthenticatedError,
    NoValue,
    Problem,
    RecordError,
    SearchEndedError,
    SearchExistsError,
    SearchNotFoundError,
    SearchRunningError,
    SpecError,
    TooManyRequestsError,
    UnsafeFileError,
    UploadError,
)
from hpsearch.service.cache.search_list import to_json
from hpsearch.spec.trees import rule_of

#: the first that fits counts
_STATUS: tuple[tuple[type[HpsearchError], int], ...] = (
    (SpecError, 422),
    (UploadError, 422),
    (NotAuthenticatedError, 401),
    (NotAllowedError, 403),
    (SearchNotFoundError, 404),
    (SearchExistsError, 409),
    (SearchRunningError, 409),
    (SearchEndedError, 409),
    (ConflictError, 409),
    (UnsafeFileError, 409),
    (TooManyRequestsError, 429),
    (ClusterError, 503),
    (RecordError, 503),
    (HpsearchError, 400),
)
#: problems that an answer names
MAX_PROBLEMS = 100
_log = logging.getLogger(__name__)


class PlainJson(JSONResponse):
    """JSON in ASCII."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return to_json(content).encode("ascii")


@dataclass(frozen=True)
class ErrorAnswer:
    """What is said of an error: to programs as JSON, to people on a page."""

    status: int
    message: str
    problems: list[dict[str, Any]] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> Response:
        """Return the error in the one shape."""
        content = {"error": {"message": self.message, "problems": self.problems}}
        return PlainJson(content, self.status, headers=dict(self.headers))


def error_response(
    status: int,
    message: str,
    problems: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an error in the one shape."""
    return ErrorAnswer(status, message, problems or [], headers or {}).to_json()


def add_error_handlers(
    app: FastAPI, render: Callable[[Request, ErrorAnswer], Response] | None = None
) -> None:
    """Give all errors of an application one shape, without internals.

    `render` makes the response of an answer; JSON by default.
    """

    async def handle(request: Request, error: Exception) -> Response:
        answer = answer_to(request, error)
        return answer.to_json() if render is None else render(request, answer)

    for kind in (HpsearchError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, handle)


def answer_to(request: Request, error: Exception) -> ErrorAnswer:
    """Return what is said of an error."""
    if isinstance(error, HpsearchError):
        return _on_hpsearch_error(error)
    if isinstance(error, RequestValidationError):
        return _on_invalid_request(error)
    if isinstance(error, HTTPException):
        return ErrorAnswer(error.status_code, str(error.detail), headers=error.headers or {})
    return _on_unexpected_error(request, error)


def _on_hpsearch_error(error: HpsearchError) -> ErrorAnswer:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    problems = error.problems if isinstance(error, SpecError) else ()
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return ErrorAnswer(status, str(error), [_as_body(each) for each in problems], headers)


#: what pydantic says of keys, as of those of specs
_RULES = {"missing": "must be given", "extra_forbidden": "must be a known key"}


def _on_invalid_request(error: RequestValidationError) -> ErrorAnswer:
    problems, found = [], error.errors()
    for entry in found[:MAX_PROBLEMS]:
        place = ".".join(map(str, entry["loc"]))
        rule = _RULES.get(entry["type"]) or rule_of(entry["msg"])
        is_there = entry["type"] != "missing"  # else its input is all that was given
        value = _short(entry.get("input")) if is_there else NoValue
        problems.append(_as_body(Problem(place, rule, value)))
    message = "\n".join(f"{each['place']}: {each['rule']}" for each in problems)
    if len(found) > MAX_PROBLEMS:
        message += f"\nand {len(found) - MAX_PROBLEMS:,} more"
    return ErrorAnswer(422, message, problems)


def _on_unexpected_error(request: Request, error: Exception) -> ErrorAnswer:
    number = uuid.uuid4().hex[:8]
    _log.error("%s %s: error %s", request.method, request.url.path, number, exc_info=error)
    return ErrorAnswer(500, f"internal error {number}; see the service's log")


def _as_body(problem: Problem) -> dict[str, Any]:
    value = _short(problem.value) if problem.has_value else None
    return {"place": problem.path, "rule": problem.rule, "value": value}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text[:500]
