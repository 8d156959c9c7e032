"""Signing in and out: a session in a cookie that scripts can't read and other sites can't send."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from hpsearch.errors import NotAllowedError, NotAuthenticatedError
from hpsearch.service.database.sessions import SESSION_S
from hpsearch.service.database.tokens import User
from hpsearch.service.http.auth import TheService, authenticate
from hpsearch.service.http.rights import keep_asking
from hpsearch.service.pages.rendering import render
from hpsearch.service.slots import UserSlots

router = APIRouter()
_MAX_FIELDS = 20
Next = Annotated[str, Query(max_length=2000)]


async def the_user(request: Request, service: TheService) -> AsyncIterator[User]:
    """Yield who is signed in, once they have a slot; raises NotAuthenticatedError."""
    secret = _secret(request)
    request.state.user = user = await run_in_threadpool(service.sessions.user, secret)
    keep_asking(request, user, lambda: service.sessions.user(secret))
    slots: UserSlots = request.app.state.slots
    async with slots.of(user.name):
        yield user


async def the_form(request: Request) -> dict[str, str]:
    """Return the fields of a form that was sent from one of the service's own pages.

    What a page of another site sends is refused, though it has no cookie: a site on the same host
    with another port counts as the same site.
    """
    if not is_same_origin(request):
        raise NotAllowedError("forms must be sent from the service's own pages")
    try:
        text = (await request.body()).decode()
        fields = parse_qs(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise HTTPException(422, "the form can't be read") from error
    return {name: values[-1] for name, values in fields.items()}


SignedIn = Annotated[User, Depends(the_user, scope="function")]
Form = Annotated[dict[str, str], Depends(the_form)]


@router.get("/sign-in")
def sign_in_form(request: Request, next: Next = "/") -> Response:
    """Show the form for a token."""
    return render(request, "sign_in.html", next=_local(next), message=None)


@router.post("/sign-in")
def sign_in(request: Request, service: TheService, form: Form) -> Response:
    """Keep a valid token in a cookie, and redirect to the requested page."""
    token, target = form.get("token", "").strip(), _local(form.get("next", "/"))
    try:
        user = authenticate(request, service, token)
    except NotAuthenticatedError as error:
        return render(request, "sign_in.html", 401, next=target, message=str(error))
    service.audit(user, "sign in", user.name)
    response = RedirectResponse(target, 303)
    response.set_cookie(
        _cookie(request),
        service.sessions.begin(user),
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/sign-out")
def sign_out(request: Request, service: TheService, form: Form) -> Response:
    """End the session and drop its cookie."""
    service.sessions.end(_secret(request))
    response = RedirectResponse("/sign-in", 303)
    forget(request, response)
    return response


def forget(request: Request, response: Response) -> None:
    """Let an answer drop the cookie."""
    response.delete_cookie(
        _cookie(request),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def _secret(request: Request) -> str:
    return request.cookies.get(_cookie(request), "")


def _cookie(request: Request) -> str:
    """Return the cookie's name; with this prefix, no other host and no plain HTTP can set it."""
    return "__Host-hpsearch" if request.url.scheme == "https" else "hpsearch"


def _local(target: str) -> str:
    """Return a target if it is a page of this service, else the first page."""
    # Browsers take two slashes or more, of either kind, as the beginning of another host.
    is_local = target.startswith("/") and target[1:2] not in ("/", "\\")
    return target if is_local and target.isprintable() and target.isascii() else "/"


def is_same_origin(request: Request) -> bool:
    """Whether a request says that it comes from this very origin; all browsers say where from."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = urlsplit(request.headers.get("origin", ""))
    return bool(origin.netloc) and origin.netloc == request.headers.get("host")
