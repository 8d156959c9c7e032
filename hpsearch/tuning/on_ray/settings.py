"""Settings of Ray and Tune in environment variables. Ray itself isn't needed here."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path

from hpsearch.home import home_settings, is_writable, private_folder

# Tune reads its settings from the environment.
TUNE = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the record has the results
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # metrics travel inside a Report
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the search stops cleanly itself
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # its snapshots are never read
    "RAY_AIR_NEW_OUTPUT": "0",  # its tables are not ours
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def import_settings() -> dict[str, str]:
    """Return what Ray must find as it is imported.

    A head wants its user's token by default, but a driver shows it only if it is told to before
    Ray is imported. Told later, a cluster that it starts would want what it doesn't show.
    """
    settings = home_settings()
    token = os.environ.get("RAY_AUTH_TOKEN_PATH", _default_token(settings))
    if "RAY_AUTH_TOKEN" in os.environ or os.access(token, os.R_OK):
        settings["RAY_AUTH_MODE"] = os.environ.get("RAY_AUTH_MODE", "token")
    return settings


def new_cluster_settings() -> dict[str, str]:
    """Return where the token of a new cluster is if it can't be in the user's home, where Ray
    would put it."""
    default = _default_token(home_settings())
    has_token = os.access(default, os.R_OK) or is_writable(_nearest_folder(default))
    if has_token or os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}:
        return {}
    return {"RAY_AUTH_TOKEN_PATH": str(_kept_token(private_folder() / "ray_token"))}


def _default_token(settings: dict[str, str]) -> Path:
    home = os.environ.get("HOME") or settings["HOME"]
    return Path(home) / ".ray" / "auth_token"


def _nearest_folder(path: Path) -> Path:
    """Return the nearest folder above a file that is there, or what is there in place of one."""
    return next((each for each in path.parents if os.path.lexists(each)), path.parent)


def _kept_token(path: Path) -> Path:
    """Make a token unless one is there, which no other process may replace."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    draft.touch(mode=0o600)
    draft.write_text(secrets.token_hex(32))
    with suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
    return path


#: what Ray found as it was imported; nothing if others have imported it
IMPORTED_WITH = {} if "ray" in sys.modules else import_settings()
