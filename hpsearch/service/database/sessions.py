"""Sessions of the pages: a browser keeps a random secret rather than its user's token."""

from __future__ import annotations

import hashlib
import secrets
import time

from sqlalchemy import Engine, delete, insert, select

from hpsearch.errors import NotAuthenticatedError
from hpsearch.service.database.tables import sessions, tokens
from hpsearch.service.database.tokens import User

#: seconds after which people sign in again
SESSION_S = 12 * 3600


class Sessions:
    """The sessions of a service, kept as hashes; each ends with the token that began it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, user: User) -> str:
        """Begin a session of a user whose token was valid just now; returns its secret."""
        secret, now = secrets.token_urlsafe(32), time.time()
        values = {"token_id": user.token_id, "expires_at": now + SESSION_S}
        with self._engine.begin() as connection:
            connection.execute(delete(sessions).where(sessions.c.expires_at < now))
            connection.execute(insert(sessions).values(secret_hash=_hash(secret), **values))
        return secret

    def user(self, secret: str) -> User:
        """Return whose session it is; raises NotAuthenticatedError once it has ended."""
        query = select(tokens.c.user, tokens.c.role, tokens.c.id).where(
            sessions.c.secret_hash == _hash(secret),
            sessions.c.expires_at >= time.time(),
            tokens.c.id == sessions.c.token_id,
            tokens.c.revoked.is_(False),
        )
        with self._engine.connect() as connection:
            found = connection.execute(query).first()
        if found is None:
            raise NotAuthenticatedError("sign in first")
        return User(*found)

    def end(self, secret: str) -> None:
        """End a session; that there is none is no error."""
        with self._engine.begin() as connection:
            connection.execute(delete(sessions).where(sessions.c.secret_hash == _hash(secret)))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
