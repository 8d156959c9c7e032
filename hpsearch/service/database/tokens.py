"""Users' tokens: random, kept as hashes, shown once, revocable."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from sqlalchemy import Engine, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from hpsearch.errors import NotAuthenticatedError, Problem, ServiceError, SpecError
from hpsearch.service.database.tables import tokens

Role = Literal["admin", "user", "viewer"]
ROLES: tuple[Role, ...] = get_args(Role)
_FORM = re.compile(r"hps_([0-9a-f]{12})_([\w-]{43})")
#: minimum length of a chosen token
MIN_CHOSEN = 32
_CHOSEN = re.compile(r"[!-~]+")
_USER = re.compile(r"[\w.@-]{1,100}")
#: compared with where there is no such token, so that this takes as long
_NO_HASH = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class User:
    """Who makes a request, with which token."""

    name: str
    role: Role
    token_id: str = field(default="", compare=False)

    @property
    def is_admin(self) -> bool:
        """Whether they may do everything."""
        return self.role == "admin"


class Tokens:
    """The tokens of a service. A token is `hps_ID_SECRET`; the secret has 256 random bits."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, user: str, role: str) -> str:
        """Make a token and return it, for the only time; SpecError for a bad name or role."""
        problems = []
        if not _USER.fullmatch(user):
            rule = "must be 1 to 100 letters, digits or any of . _ @ -"
            problems.append(Problem("user", rule, user))
        if role not in ROLES:
            problems.append(Problem("role", f"must be one of {', '.join(ROLES)}", role))
        if problems:
            raise SpecError(problems)
        token = f"hps_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"
        self._add(token, user, role)
        return token

    def create_first(self, user: str, token: str | None) -> str | None:
        """Make an admin's token before there is any other, and return it; None if there is one.

        Whoever set the service up may have chosen it: see check_chosen.
        """
        if not self._is_empty():
            return None
        if token is None:
            return self.create(user, "admin")
        with suppress(IntegrityError):  # another service of this database was faster
            self._add(token, user, "admin")
        return token

    def authenticate(self, token: str) -> User:
        """Return the user of a token; raises NotAuthenticatedError."""
        identity, secret = _parts(token)
        with self._engine.connect() as connection:
            found = connection.execute(select(tokens).where(tokens.c.id == identity)).first()
        kept = _NO_HASH if found is None else found.secret_hash
        is_same = hmac.compare_digest(kept, _hash(secret))
        if found is None or not is_same or found.revoked:
            raise NotAuthenticatedError("the token must be valid, but is unknown or revoked")
        return User(found.user, found.role, identity)

    def list(self) -> list[dict[str, Any]]:
        """Return all tokens without their secrets, oldest first."""
        shown = [tokens.c[name] for name in ("id", "user", "role", "created_at", "revoked")]
        with self._engine.connect() as connection:
            found = connection.execute(select(*shown).order_by(tokens.c.created_at))
            return [dict(entry._mapping) for entry in found]

    def revoke(self, identity: str) -> None:
        """Revoke a token; raises ServiceError if there is none."""
        with self._engine.begin() as connection:
            change = update(tokens).where(tokens.c.id == identity).values(revoked=True)
            if connection.execute(change).rowcount == 0:
                raise ServiceError(f"token: must be the id of a token, but got {identity!r}")

    def _add(self, token: str, user: str, role: str) -> None:
        identity, secret = _parts(token)
        values = {"user": user, "role": role, "created_at": time.time()}
        with self._engine.begin() as connection:
            entry = insert(tokens).values(id=identity, secret_hash=_hash(secret), **values)
            connection.execute(entry)

    def _is_empty(self) -> bool:
        """Whether no token was ever made."""
        with self._engine.connect() as connection:
            return not connection.scalar(select(func.count()).select_from(tokens))


def check_chosen(token: str, place: str) -> None:
    """Raise ServiceError for a token that was chosen and could be guessed."""
    if len(token) < MIN_CHOSEN or not _CHOSEN.fullmatch(token):
        rule = f"must be at least {MIN_CHOSEN} random ASCII characters without spaces"
        raise ServiceError(f"{place}: {rule}, but has {len(token)} characters")


class FailedLogins:
    """Counts failed logins by address; too many in a while are refused without a look.

    A valid token always passes: people behind one address don't lock each other out.
    """

    def __init__(
        self,
        max_failures: int = 10,
        period_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_failures = max_failures
        self._period_s = period_s
        self._clock = clock
        self._failures: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def count(self, address: str) -> bool:
        """Count a failure; True once there are too many."""
        with self._lock:
            now = self._clock()
            self._forget(now)
            times = self._failures.setdefault(address, deque(maxlen=self._max_failures + 1))
            times.append(now)
            return len(times) > self._max_failures

    def _forget(self, now: float) -> None:
        for address, times in list(self._failures.items()):
            while times and now - times[0] > self._period_s:
                times.popleft()
            if not times:
                del self._failures[address]


def _parts(token: str) -> tuple[str, str]:
    """Return a token's public id and its secret; one that somebody chose is all secret."""
    match = _FORM.fullmatch(token)
    return (match[1], match[2]) if match else (_hash(token)[:12], token)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
