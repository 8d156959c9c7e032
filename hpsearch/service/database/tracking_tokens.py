"""Tokens by which drivers write to MLflow: one a search, worth something while it has a job."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError

from hpsearch.errors import NotAuthenticatedError, SearchNotFoundError
from hpsearch.service.database import tables
from hpsearch.service.database.search_table import ACTIVE, SearchRow, SearchTable

#: the environment variable that gives a driver its token
VARIABLE = "HPSEARCH_TRACKING_TOKEN"
_KEY = "tracking"
_PREFIX = "hpt"


class TrackingTokens:
    """Makes and recognises tokens; they follow from the search and a key, and are kept nowhere."""

    def __init__(self, engine: Engine, table: SearchTable) -> None:
        self._engine = engine
        self._table = table
        self._key: bytes | None = None

    def of(self, row: SearchRow) -> str:
        """Return the token of a search; another search of the same name later has another."""
        return f"{_PREFIX}_{row.name}_{self._signature(row)}"

    def given(self, row: SearchRow) -> dict[str, str]:
        """Return the environment variable that gives a search's job its token."""
        return {VARIABLE: self.of(row)}

    def search(self, token: str) -> SearchRow:
        """Return the search whose token this is; raises NotAuthenticatedError.

        A search without a job has nothing to write.
        """
        prefix, _, rest = token.partition("_")
        name, _, signature = rest.rpartition("_")
        try:
            row = self._table.get(name if prefix == _PREFIX else "")
        except SearchNotFoundError:
            row = None
        is_valid = row is not None and hmac.compare_digest(
            signature.encode(errors="replace"), self._signature(row).encode()
        )
        if row is None or not is_valid or row.actual not in ACTIVE:
            raise NotAuthenticatedError("the token must belong to a running search")
        return row

    def _signature(self, row: SearchRow) -> str:
        text = f"{row.name}\n{row.created_at!r}".encode()
        return hmac.new(self._secret(), text, hashlib.sha256).hexdigest()

    def _secret(self) -> bytes:
        if self._key is None:
            self._key = self._stored() or self._made()
        return self._key

    def _made(self) -> bytes:
        made = secrets.token_hex(32)
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(tables.keys).values(name=_KEY, value=made))
        except IntegrityError:  # another process was faster
            stored = self._stored()
            assert stored is not None
            return stored
        return made.encode()

    def _stored(self) -> bytes | None:
        query = select(tables.keys.c.value).where(tables.keys.c.name == _KEY)
        with self._engine.connect() as connection:
            found = connection.scalar(query)
        return None if found is None else str(found).encode()
