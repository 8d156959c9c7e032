"""Opens the searches of a folder or of a service, as a command's options say."""

from __future__ import annotations

from pathlib import Path

from hpsearch.cli.common import RUNS
from hpsearch.cli.login import read_login
from hpsearch.cli.searches import Searches
from hpsearch.errors import ServiceError


def open_searches(
    runs: Path | None, service: str | None = None, as_json: bool = False
) -> Searches:
    """Return the searches of a folder if one is named, else of the service logged in to.

    Those that run here are followed in text, or end with JSON.
    """
    if service is not None and runs is not None:
        raise ServiceError("--runs and --service: only one of them can be given")
    login = read_login(service) if runs is None else None
    if service is not None and login is None:
        raise ServiceError(
            f"--service: not logged in; run `hpsearch login {service} --token TOKEN` first"
        )
    if login is None:
        from hpsearch.cli.local import LocalSearches

        return LocalSearches(runs or RUNS, as_json)
    from hpsearch.cli.remote import RemoteSearches

    return RemoteSearches(*login)
