"""The service that commands use: its URL and the user's token, in a private file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hpsearch.errors import ServiceError


def login_file() -> Path:
    """Return where it is kept."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "hpsearch" / "login.json"


def read_login(url: str | None = None) -> tuple[str, str] | None:
    """Return URL and token of a service, or of the one that was logged in to last, if any."""
    logins = _read()
    wanted = (url or str(logins.get("current", ""))).rstrip("/")
    tokens = logins.get("tokens", {})
    return (wanted, tokens[wanted]) if wanted in tokens else None


def write_login(url: str, token: str) -> None:
    """Keep a token; commands speak to its service from now on."""
    url = url.rstrip("/")
    logins = _read()
    _write({"current": url, "tokens": {**logins.get("tokens", {}), url: token}})


def forget_login() -> None:
    """Forget all tokens; commands work on folders again."""
    login_file().unlink(missing_ok=True)


def _read() -> dict[str, Any]:
    path = login_file()
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, PermissionError):  # of a home that isn't this user's
        return {}
    except (OSError, ValueError) as error:
        raise ServiceError(
            f"{path}: must be a file written by `hpsearch login`: {error}"
        ) from error
    return found


def _write(logins: object) -> None:
    path = login_file()
    draft = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(logins, file)
        draft.replace(path)
    except OSError as error:
        rule = "set HOME or XDG_CONFIG_HOME to a writable folder"
        raise ServiceError(f"{path}: can't be written ({error.strerror}): {rule}") from error
