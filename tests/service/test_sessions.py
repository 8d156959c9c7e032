"""Sessions of the pages."""

from __future__ import annotations

import time

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from hpsearch.errors import NotAuthenticatedError
from hpsearch.service.core import Service
from hpsearch.service.database import tables
from tests.support.team import API, Team


def _begin(service: Service, name: str = "ann", role: str = "user") -> tuple[str, str]:
    """Return a token and a session of it."""
    token = service.tokens.create(name, role)
    return token, service.sessions.begin(service.tokens.authenticate(token))


def _revoke(service: Service, token: str) -> None:
    service.tokens.revoke(token.split("_")[1])


def test_a_session_is_its_user_s_until_it_is_ended(team: Team) -> None:
    service = team.service
    _, session = _begin(service, "ann", "viewer")
    _, other = _begin(service, "bob", "admin")
    user = service.sessions.user(session)
    assert (user.name, user.role) == ("ann", "viewer")
    service.sessions.end(session)
    for bad in (session, "", other[:-1], "' OR 1=1 --"):
        with pytest.raises(NotAuthenticatedError):
            service.sessions.user(bad)
    assert service.sessions.user(other).name == "bob"


def test_a_session_ends_with_its_token(team: Team) -> None:
    service = team.service
    token, session = _begin(service)
    _, other = _begin(service)
    _revoke(service, token)
    with pytest.raises(NotAuthenticatedError):
        service.sessions.user(session)
    assert service.sessions.user(other).name == "ann"


def test_a_session_expires_and_is_forgotten(team: Team) -> None:
    service = team.service
    _, session = _begin(service)
    with service.engine.begin() as connection:
        connection.execute(update(tables.sessions).values(expires_at=time.time() - 1))
    with pytest.raises(NotAuthenticatedError):
        service.sessions.user(session)
    _begin(service)
    with service.engine.connect() as connection:
        assert len(connection.execute(select(tables.sessions)).all()) == 1


def test_neither_cookie_nor_database_holds_a_token(team: Team) -> None:
    token = team.service.tokens.create("ann", "user")
    client = TestClient(team.app, headers={"Sec-Fetch-Site": "same-origin"})
    client.post("/sign-in", data={"token": token})
    [cookie] = client.cookies.values()
    secret = token.split("_", 2)[2]
    assert secret not in cookie
    with team.service.engine.connect() as connection:
        kept = str(connection.execute(select(tables.sessions)).all())
    assert cookie not in kept
    assert client.get("/").status_code == 200
    stolen = {"Cookie": f"hpsearch={cookie}"}
    assert team.anyone.get("/", headers=stolen).status_code == 200
    bearer = {"Authorization": f"Bearer {cookie}"}
    assert team.anyone.get(f"{API}/me", headers=bearer).status_code == 401
    client.post("/sign-out")
    assert team.anyone.get("/", headers=stolen).status_code == 401
