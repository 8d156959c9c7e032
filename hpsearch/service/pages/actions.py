"""The forms of a search's page: what is done to a search, and to a trial of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import yaml
from fastapi import APIRouter
from pydantic import BaseModel, ValidationError
from starlette.responses import RedirectResponse, Response

from hpsearch.errors import Problem, SpecError
from hpsearch.service.api.acts import Number
from hpsearch.service.api.searches import Name
from hpsearch.service.http.auth import TheService
from hpsearch.service.http.schemas import (
    CloneBody,
    ExtendBody,
    ExtendTrialBody,
    NarrowBody,
    RepeatBody,
)
from hpsearch.service.pages.session import Form, SignedIn
from hpsearch.spec import load_yaml
from hpsearch.spec.trees import rule_of
from hpsearch.spec.units import parse_duration, parse_size

_Body = TypeVar("_Body", bound=BaseModel)
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


@router.post("/repeat")
def repeat(name: Name, service: TheService, user: SignedIn, form: Form) -> Response:
    """Train the best configuration again."""
    body = _checked(RepeatBody, {"seeds": form.get("seeds", "").strip()})
    service.repeat(user, name, body.seeds)
    return _back(name)


@router.post("/pause")
def pause(name: Name, service: TheService, user: SignedIn, form: Form) -> Response:
    """Pause a search."""
    service.act(user, name, "pause")
    return _back(name)


@router.post("/narrow")
def narrow(name: Name, service: TheService, user: SignedIn, form: Form) -> Response:
    """Narrow a range."""
    ends = {end: _value(form, end) for end in ("low", "high")}
    body = _checked(NarrowBody, {"parameter": form.get("parameter", ""), **ends})
    service.act(user, name, "narrow", **body.model_dump())
    return _back(name)


@router.post("/trials/{number}/stop")
def stop_trial(
    name: Name, number: Number, service: TheService, user: SignedIn, form: Form
) -> Response:
    """Stop a trial."""
    service.act(user, name, "stop_trial", trial=number)
    return _back(name)


@router.post("/trials/{number}/extend")
def extend_trial(
    name: Name, number: Number, service: TheService, user: SignedIn, form: Form
) -> Response:
    """Train a trial on."""
    body = _checked(ExtendTrialBody, {"to_epoch": form.get("to_epoch", "").strip()})
    service.act(user, name, "extend_trial", trial=number, to_epoch=body.to_epoch)
    return _back(name)


@router.post("/trials/{number}/clone")
def clone_trial(
    name: Name, number: Number, service: TheService, user: SignedIn, form: Form
) -> Response:
    """Try a trial's configuration with another value."""
    values = {form.get("parameter", "").strip(): _value(form, "value")}
    body = _checked(CloneBody, {"values": values})
    service.act(user, name, "clone_trial", trial=number, values=body.values)
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
    return _checked(ExtendBody, values)


def _value(form: Mapping[str, str], field: str) -> object:
    """Return what a field says, as a spec would: `1e-4` is a number; None where it is empty."""
    text = form.get(field, "").strip()
    try:
        return load_yaml(text) if text else None
    except yaml.YAMLError as error:
        raise SpecError([Problem(field, "must be given as YAML", text)]) from error


def _checked(kind: type[_Body], values: Mapping[str, object]) -> _Body:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        told = [
            (str(each["loc"][0]), rule_of(each["msg"]), each["input"]) for each in error.errors()
        ]
        raise SpecError([Problem(*each) for each in told]) from error


def _back(name: str) -> Response:
    return RedirectResponse(f"/searches/{name}", 303)
