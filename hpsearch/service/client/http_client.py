"""A client of the service, by HTTP; its errors are those that the service met."""

from __future__ import annotations

import codecs
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests

from hpsearch.errors import (
    ConflictError,
    NotAllowedError,
    NotAuthenticatedError,
    SearchNotFoundError,
    ServiceError,
    SpecError,
    UnreachableError,
)
from hpsearch.service.client.packing import pack_folder
from hpsearch.service.problems import ToldProblem

TIMEOUT_S = 30.0
#: the check of a spec loads its data and calls its code
SUBMIT_TIMEOUT_S = 300.0
#: seconds that a follower of a log waits for an unreachable service, and between two tries
PATIENCE_S, RETRY_S = 120.0, 1.0
#: what a proxy answers while there is no service behind it
_OF_A_PROXY = (502, 503, 504)
_ERRORS: dict[int, type[ServiceError] | type[SearchNotFoundError]] = {
    401: NotAuthenticatedError,
    403: NotAllowedError,
    404: SearchNotFoundError,
    409: ConflictError,
}


class Client:
    """What a user may ask a service, as methods."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def me(self) -> dict[str, Any]:
        """Return who the token's user is, their quota and what they used of it."""
        return self._json("GET", "/me")

    def submit(
        self,
        spec: str,
        working_dir: Path | None = None,
        priority: int = 0,
        key: str | None = None,
    ) -> dict[str, Any]:
        """Submit a spec with the code that it needs; the same key again submits nothing twice."""
        body = {"spec": spec, "priority": priority}
        if working_dir is not None:
            body["code_hash"] = self.upload(working_dir)
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return self._json(
            "POST", "/searches", json=body, headers=headers, timeout=SUBMIT_TIMEOUT_S
        )

    def upload(self, folder: Path) -> str:
        """Upload a folder unless the service has it; returns its hash."""
        packed, code_hash = pack_folder(folder)
        try:
            self._request("GET", f"/code/{code_hash}")
        except SearchNotFoundError:
            self._request("PUT", f"/code/{code_hash}", data=packed, timeout=SUBMIT_TIMEOUT_S)
        return code_hash

    def searches(self, **wanted: Any) -> Iterator[dict[str, Any]]:
        """Yield searches, the newest first, page by page."""
        offset = 0
        while True:
            page = self._json("GET", "/searches", params={**wanted, "offset": offset})
            yield from page["searches"]
            offset += len(page["searches"])
            if not page["searches"] or offset >= page["total"]:
                return

    def search(self, name: str) -> dict[str, Any]:
        """Return one search."""
        return self._json("GET", f"/searches/{name}")

    def act(self, name: str, action: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask that something be done to a search, or to a trial of it."""
        return self._json("POST", f"/searches/{name}/{action}", json=body)

    def acts(self, name: str) -> list[dict[str, Any]]:
        """Return what users did to a search, oldest first."""
        return self._list(f"/searches/{name}/acts")

    def delete(self, name: str) -> None:
        """Remove a search that has ended."""
        self._request("DELETE", f"/searches/{name}")

    def text(self, name: str, what: str, **wanted: Any) -> str:
        """Return a search's `status` or `report` as text."""
        return self._request("GET", f"/searches/{name}/{what}", params=wanted).text

    def logs(self, name: str, trial: int | None = None, follow: bool = False) -> Iterator[str]:
        """Yield what a search's driver wrote, as it comes if it is followed.

        Following survives a restart of the service, and continues at the same position.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        position, lost_at, was_there = 0, 0.0, False
        while True:
            try:
                with self._log(name, trial=trial, follow=follow, start=position) as answer:
                    lost_at, was_there = 0.0, True
                    for chunk in self._chunks(answer):
                        position += len(chunk)
                        yield decoder.decode(chunk)
                return
            except UnreachableError:
                lost_at = lost_at or time.monotonic()
                is_patient = follow and was_there
                if not is_patient or time.monotonic() - lost_at > PATIENCE_S:
                    raise
                time.sleep(RETRY_S)

    def diagnoses(self, name: str, trial: int | None = None) -> dict[str, Any]:
        """Return what the curves of a search's trials say, by number; of one trial, if given."""
        params = {} if trial is None else {"trial": trial}
        return self._json("GET", f"/searches/{name}/diagnoses", params=params)

    def reached(self, name: str, targets: Sequence[float]) -> list[dict[str, Any]]:
        """Return when a search first came to each target of its objective."""
        return self._list(f"/searches/{name}/targets", params={"target": list(targets)})

    def best(self, name: str) -> dict[str, Any]:
        """Return a search's best configuration."""
        return self._json("GET", f"/searches/{name}/best")

    def next_spec(self, name: str, new_name: str = "") -> dict[str, Any]:
        """Return the spec of the next search, and what it searches otherwise."""
        return self._json("GET", f"/searches/{name}/next", params={"new_name": new_name})

    def download(self, name: str, folder: Path, ensemble: bool = False) -> Path:
        """Write the best trial's checkpoint into a folder, or those of the ensemble's trials as a
        ZIP archive; returns its path."""
        params = {"ensemble": True} if ensemble else None
        place = f"/searches/{name}/model"
        with self._request("GET", place, params=params, stream=True) as answer:
            _, _, given = answer.headers.get("content-disposition", "").partition('filename="')
            path = folder / Path(given.rstrip('"') or f"{name}.pt").name
            draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            try:
                with draft.open("wb") as file:
                    for chunk in self._chunks(answer, 1 << 20):
                        file.write(chunk)
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
        return path

    def tokens(self) -> list[dict[str, Any]]:
        """Return all tokens, without their secrets."""
        return self._list("/tokens")

    def create_token(self, user: str, role: str) -> str:
        """Make a token and return it."""
        return str(self._json("POST", "/tokens", json={"user": user, "role": role})["token"])

    def revoke_token(self, identity: str) -> None:
        """Revoke a token."""
        self._request("DELETE", f"/tokens/{identity}")

    def quotas(self) -> list[dict[str, Any]]:
        """Return all quotas."""
        return self._list("/quotas")

    def set_quota(self, user: str, **quota: Any) -> None:
        """Replace a user's quota."""
        self._request("PUT", f"/quotas/{user}", json=quota)

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._request(method, path, **options).json()
        return answer

    def _list(self, path: str, **options: Any) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self._request("GET", path, **options).json()
        return answer

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        url = f"{self.url}/api/v1{path}"
        try:
            answer = self._session.request(method, url, **{"timeout": TIMEOUT_S, **options})
        except requests.RequestException as error:
            raise UnreachableError(f"the service at {self.url} can't be reached") from error
        if not answer.ok:
            raise _error(answer)
        return answer

    def _log(self, name: str, **wanted: Any) -> requests.Response:
        path, patient = f"/searches/{name}/logs", (TIMEOUT_S, None)
        return self._request("GET", path, params=wanted, stream=True, timeout=patient)

    def _chunks(self, answer: requests.Response, size: int | None = None) -> Iterator[bytes]:
        try:
            yield from answer.iter_content(size)
        except requests.RequestException as error:
            with suppress(UnreachableError, ValueError):
                self.me()  # raises the reason where the token was revoked meanwhile
            raise UnreachableError(
                f"the service at {self.url} closed the connection before the end of its response"
            ) from error


def _error(answer: requests.Response) -> Exception:
    """Return the error in a response."""
    try:
        told = answer.json()["error"]
        message, problems = str(told["message"]), told["problems"]
    except (ValueError, LookupError, TypeError):  # a proxy's own page
        kind = UnreachableError if answer.status_code in _OF_A_PROXY else ServiceError
        return kind(f"{answer.url} returned {answer.status_code} {answer.reason}")
    if answer.status_code == 422 and problems:
        lines = message.splitlines()
        texts = lines if len(lines) == len(problems) else [message]
        return SpecError([ToldProblem("", "", text=text) for text in texts])
    return _ERRORS.get(answer.status_code, ServiceError)(message)
