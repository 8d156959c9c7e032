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
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from sqlalchemy import Engine, func, insert, select, update

from hpsearch.errors import NotAuthenticatedError, Problem, ServiceError, SpecError
from hpsearch.service.tables import tokens

Role = Literal["admin", "user", "viewer"]
ROLES: tuple[Role, ...] = get_args(Role)
_FORM = re.compile(r"hps_([0-9a-f]{12})_([\w-]{43})")
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
        identity, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        values = {"user": user, "role": role, "created_at": time.time()}
        with self._engine.begin() as connection:
            entry = insert(tokens).values(id=identity, secret_hash=_hash(secret), **values)
            connection.execute(entry)
        return f"hps_{identity}_{secret}"

    def authenticate(self, token: str) -> User:
        """Return the user of a token; raises NotAuthenticatedError."""
        match = _FORM.fullmatch(token)
        identity, secret = match.groups() if match else ("", "")
        with self._engine.connect() as connection:
            found = connection.execute(select(tokens).where(tokens.c.id == identity)).first()
        kept = _NO_HASH if found is None else found.secret_hash
        is_same = hmac.compare_digest(kept, _hash(secret))
        if found is None or not is_same or found.revoked:
            raise NotAuthenticatedError("the token must be valid: it is unknown or was revoked")
        return User(found.user, found.role, identity)

    def list(self) -> list[dict[str, Any]]:
        """Return all tokens without their secrets, oldest first."""
        shown = [tokens.c[name] for name in ("id", "user", "role", "created_at", "revoked")]
        with self._engine.connect() as connection:
            found = connection.execute(select(*shown).order_by(tokens.c.created_at))
            return [dict(entry._mapping) for entry in found]

    def revoke(self, identity: str) -> None:
        """Make a token worthless at once; raises ServiceError if there is none."""
        with self._engine.begin() as connection:
            change = update(tokens).where(tokens.c.id == identity).values(revoked=True)
            if connection.execute(change).rowcount == 0:
                raise ServiceError(f"token: must be the id of one, but got {identity!r}")

    def is_empty(self) -> bool:
        """Whether no token was ever made."""
        with self._engine.connect() as connection:
            return not connection.scalar(select(func.count()).select_from(tokens))


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


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
