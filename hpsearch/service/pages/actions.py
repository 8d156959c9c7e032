"""The forms of a search's page: stop, resume, extend, delete."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from hpsearch.errors import Problem, SpecError
from hpsearch.service.api.searches import Name
from hpsearch.service.http.auth import TheService
from hpsearch.service.http.schemas import ExtendBody
from hpsearch.service.pages.session import Form, SignedIn
from hpsearch.spec.trees import rule_of
from hpsearch.spec.units import parse_duration, parse_size

router = APIRouter(prefix="/searches/{name}")


@router.post("/stop")
def stop(name: Name, service: TheService, user: SignedIn, form: Form) -> Response:
    """Stop a search."""
    service.stop(user, name)
    return _back(name)


@router.post("/resume")
def resume(name: Name, service: TheService, user: SignedIn, form: Form) -> Response:
    """Queue a search that was stopped or failed."""
    service.resume(user, name)
    return _back(name)


@router.post("/extend")
def extend(name: Name, service: TheService, user: SignedIn, form: Form) -> Response:
    """Give a search more budget."""
    service.extend(user, name, **_budget(form).model_dump())
    return _back(name)


@router.post("/delete")
def delete(name: Name, service: TheService, user: SignedIn, form: Form) -> Response:
    """Remove a search that has ended, once its name was typed to confirm."""
    if form.get("confirm", "").strip() != name:
        raise SpecError([Problem("confirm", f"must be {name!r}", form.get("confirm", ""))])
    service.delete(user, name)
    return RedirectResponse("/", 303)


#: how a form's text becomes a budget: its name there, and what reads it
_READERS: dict[str, tuple[str, Callable[[object], object]]] = {
    "trials": ("trials", str),
    "epochs": ("epochs", str),
    "time": ("seconds", parse_duration),
    "disk": ("num_bytes", parse_size),
}


def _budget(form: Mapping[str, str]) -> ExtendBody:
    values, problems = {}, []
    for field, (name, read) in _READERS.items():
        text = form.get(field, "").strip()
        try:
            if text:
                values[name] = read(text)
        except ValueError as error:
            problems.append(Problem(field, str(error), text))
    if problems:
        raise SpecError(problems)
    try:
        return ExtendBody.model_validate(values)
    except ValidationError as error:
        told = [
            (str(each["loc"][0]), rule_of(each["msg"]), each["input"]) for each in error.errors()
        ]
        raise SpecError([Problem(*each) for each in told]) from error


def _back(name: str) -> Response:
    return RedirectResponse(f"/searches/{name}", 303)
