"""Who asks: the user of a token, and what their role allows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from hpsearch.errors import NotAllowedError, NotAuthenticatedError
from hpsearch.service.core import Service
from hpsearch.service.database.audit import write_audit
from hpsearch.service.database.tokens import FailedLogins, User
from hpsearch.service.http.rights import keep_asking
from hpsearch.service.slots import UserSlots

_bearer = HTTPBearer(auto_error=False, description="a token of the service")


async def the_service(request: Request) -> Service:
    """Return the service behind an application; not in a thread of its own."""
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(the_service)]
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def the_user(
    request: Request, service: TheService, credentials: Credentials
) -> AsyncIterator[User]:
    """Yield the user whose token a request carries, once they have a slot."""
    if credentials is None:
        raise NotAuthenticatedError("a token is required: Authorization: Bearer TOKEN")
    token = credentials.credentials
    user = await run_in_threadpool(authenticate, request, service, token)
    keep_asking(request, user, lambda: service.tokens.authenticate(token))
    slots: UserSlots = request.app.state.slots
    async with slots.of(user.name):
        yield user


def authenticate(request: Request, service: Service, token: str) -> User:
    """Return the user of a token; failures are counted by address, and too many refused."""
    try:
        return service.tokens.authenticate(token)
    except NotAuthenticatedError:
        failed: FailedLogins = request.app.state.failed_logins
        address = request.client.host if request.client else "unknown"
        if failed.count(address):  # the log must not fill with them
            raise HTTPException(429, "too many failed logins: wait a minute") from None
        write_audit(service.engine, "unknown", "login", address, "refused: bad token")
        raise


# "function": a slot is free again when the answer begins, not when a log ends that is followed
TheUser = Annotated[User, Depends(the_user, scope="function")]


async def the_admin(user: TheUser) -> User:
    """Return the user if they are an administrator."""
    if not user.is_admin:
        raise NotAllowedError(f"{user.name} must be an admin for this, but is a {user.role}")
    return user


TheAdmin = Annotated[User, Depends(the_admin)]
