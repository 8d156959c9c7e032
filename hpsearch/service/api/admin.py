"""Routes of code, tokens, quotas and the audit log."""

from __future__ import annotations

import os
from typing import IO, Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from hpsearch.service.database.audit import read_audit
from hpsearch.service.http.auth import TheAdmin, TheService, TheUser
from hpsearch.service.http.bodies import received
from hpsearch.service.http.schemas import HASH_PATTERN, USER_PATTERN, QuotaBody, TokenBody
from hpsearch.service.permissions import check_may_write
from hpsearch.service.queue import Quota

router = APIRouter(tags=["code, tokens, quotas"])
CodeHash = Annotated[str, Path(pattern=HASH_PATTERN, description="SHA-256 of a zip archive")]
UserName = Annotated[str, Path(pattern=USER_PATTERN)]
_CHUNK = 1 << 20


@router.get("/code/{code_hash}", status_code=204)
def has_code(code_hash: CodeHash, service: TheService, user: TheUser) -> None:
    """Report whether code is uploaded (404 if not)."""
    if not service.uploads.has(code_hash):
        raise HTTPException(404, "this code has not been uploaded")


@router.put("/code/{code_hash}", status_code=201)
async def upload_code(
    code_hash: CodeHash, service: TheService, user: TheUser, request: Request
) -> dict[str, str]:
    """Upload a zip archive of code, as the body, under its hash."""
    check_may_write(user)
    limit = service.settings.upload_limits.archive
    async with received(request, limit, "the upload") as body:
        size = os.fstat(body.fileno()).st_size
        async with service.unpacking.of(user.name):
            await run_in_threadpool(service.uploads.store, code_hash, _chunks(body))
    await run_in_threadpool(service.audit, user, "upload", code_hash, f"{size:,} bytes")
    return {"code_hash": code_hash}


@router.get("/me")
def me(service: TheService, user: TheUser) -> dict[str, Any]:
    """Return the token's user, their quota and this month's usage."""
    quota = service.quotas.all().get(user.name, Quota())
    return {
        "user": user.name,
        "role": user.role,
        "max_running": quota.max_running,
        "gpu_hours_per_month": quota.gpu_hours_per_month,
        "gpu_hours_used": service.quotas.gpu_hours().get(user.name, 0.0),
    }


@router.post("/tokens", status_code=201)
def create_token(body: TokenBody, service: TheService, admin: TheAdmin) -> dict[str, str]:
    """Create a token; it is shown once."""
    token = service.tokens.create(body.user, body.role)
    service.audit(admin, "token create", body.user, body.role)
    return {"token": token, "user": body.user, "role": body.role}


@router.get("/tokens")
def list_tokens(service: TheService, admin: TheAdmin) -> list[dict[str, Any]]:
    """List tokens, without their secrets."""
    return service.tokens.list()


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(
    token_id: Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")],
    service: TheService,
    admin: TheAdmin,
) -> None:
    """Revoke a token."""
    service.tokens.revoke(token_id)
    service.audit(admin, "token revoke", token_id)


@router.get("/quotas")
def list_quotas(service: TheService, admin: TheAdmin) -> list[dict[str, Any]]:
    """List quotas and this month's usage."""
    quotas, used = service.quotas.all(), service.quotas.gpu_hours()
    return [
        {
            "user": user,
            "max_running": quotas.get(user, Quota()).max_running,
            "gpu_hours_per_month": quotas.get(user, Quota()).gpu_hours_per_month,
            "gpu_hours_used": used.get(user, 0.0),
        }
        for user in sorted({*quotas, *used})
    ]


@router.put("/quotas/{user}", status_code=204)
def set_quota(user: UserName, body: QuotaBody, service: TheService, admin: TheAdmin) -> None:
    """Replace a user's quota."""
    service.set_quota(admin, user, Quota(body.max_running, body.gpu_hours_per_month))


@router.get("/audit")
def audit(
    service: TheService, admin: TheAdmin, limit: Annotated[int, Query(ge=1, le=10_000)] = 100
) -> list[dict[str, Any]]:
    """Return the audit log, newest first."""
    return read_audit(service.engine, limit)


def _chunks(file: IO[bytes]) -> Any:
    return iter(lambda: file.read(_CHUNK), b"")
