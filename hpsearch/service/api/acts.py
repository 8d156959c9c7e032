"""Routes of acts: what users do to a running search."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from hpsearch.service.api.searches import Name
from hpsearch.service.core import Service
from hpsearch.service.database.tokens import User
from hpsearch.service.http.auth import TheService, TheUser
from hpsearch.service.http.schemas import ActView, CloneBody, ExtendTrialBody, NarrowBody
from hpsearch.service.summaries import clean_text

router = APIRouter(prefix="/searches/{name}", tags=["acts"])
Number = Annotated[int, Path(ge=0, le=10_000_000, description="number of a trial")]


@router.get("/acts")
def acts(name: Name, service: TheService, user: TheUser) -> list[ActView]:
    """List what users did to a search, oldest first."""
    return [_view(each) for each in service.acts(name)]


@router.post("/pause", status_code=202)
def pause(name: Name, service: TheService, user: TheUser) -> ActView:
    """Pause a search once its trials' epochs are trained; `resume` goes on."""
    return _act(service, user, name, "pause")


@router.post("/narrow", status_code=202)
def narrow(name: Name, body: NarrowBody, service: TheService, user: TheUser) -> ActView:
    """Narrow a range for the trials to come."""
    return _act(service, user, name, "narrow", **body.model_dump())


@router.post("/trials/{number}/stop", status_code=202)
def stop_trial(name: Name, number: Number, service: TheService, user: TheUser) -> ActView:
    """Stop a trial; its slot goes to the next one."""
    return _act(service, user, name, "stop_trial", trial=number)


@router.post("/trials/{number}/extend", status_code=202)
def extend_trial(
    name: Name, number: Number, body: ExtendTrialBody, service: TheService, user: TheUser
) -> ActView:
    """Train a trial on, though early stopping ended or would end it."""
    return _act(service, user, name, "extend_trial", trial=number, to_epoch=body.to_epoch)


@router.post("/trials/{number}/clone", status_code=202)
def clone_trial(
    name: Name, number: Number, body: CloneBody, service: TheService, user: TheUser
) -> ActView:
    """Try a trial's configuration with other values."""
    return _act(service, user, name, "clone_trial", trial=number, values=body.values)


def _act(service: Service, user: User, name: str, action: str, **what: Any) -> ActView:
    return _view(service.act(user, name, action, **what))


def _view(act: dict[str, Any]) -> ActView:
    """Return the view of an act, of which users' code may have written every text."""
    texts = {key: clean_text(value) for key, value in act.items() if isinstance(value, str)}
    return ActView(**act | texts)
