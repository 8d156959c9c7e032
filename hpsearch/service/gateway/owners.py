"""What belongs to a search in MLflow, which is asked once of each run and model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hpsearch.service.cache.cache import Cache
from hpsearch.tracking.store import open_client

#: what is remembered of runs and models, which never move
MAX_KNOWN = 100_000
#: seconds that MLflow's clock may be behind the service's
CLOCK_SKEW_S = 60.0


class Experiments:
    """The experiments of a tracking server: by the names of searches, runs and models."""

    def __init__(self, tracking_uri: str) -> None:
        self._tracking_uri = tracking_uri
        self._known: Cache[tuple[str, str], str] = Cache(MAX_KNOWN)

    def of_search(self, name: str, since: float) -> str | None:
        """Return the id of a search's experiment; None before there is one.

        One that was made before there was a search of the name is somebody else's.
        """
        return self._remembered(("search", name), lambda: self._named(name, since))

    def is_model_of_search(self, name: str, since: float) -> bool:
        """Whether the registered model of a search's name was made for such a search."""
        return self._remembered(("name", name), lambda: self._registered(name, since)) == name

    def of_run(self, run_id: str) -> str | None:
        """Return the id of a run's experiment; None for an unknown run."""
        return self._remembered(
            ("run", run_id), lambda: self._client.get_run(run_id).info.experiment_id
        )

    def of_model(self, model_id: str) -> str | None:
        """Return the id of a logged model's experiment; None for an unknown model."""
        return self._remembered(
            ("model", model_id), lambda: self._client.get_logged_model(model_id).experiment_id
        )

    @cached_property
    def _client(self) -> Any:
        return open_client(self._tracking_uri)

    def _named(self, name: str, since: float) -> str | None:
        found = self._client.get_experiment_by_name(name)
        is_own = found is not None and _is_later(found.creation_time, since)
        return str(found.experiment_id) if is_own else None

    def _registered(self, name: str, since: float) -> str | None:
        found = self._client.get_registered_model(name)
        return name if _is_later(found.creation_timestamp, since) else None

    def _remembered(self, key: tuple[str, str], ask: Callable[[], str | None]) -> str | None:
        from mlflow.exceptions import MlflowException  # it takes seconds, the first time

        if (known := self._known.find(key)) is not None:
            return known
        try:
            found = ask()
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            found = None
        if found is not None:
            self._known.keep(key, found)
        return found


def _is_later(milliseconds: int, seconds: float) -> bool:
    return milliseconds / 1000 > seconds - CLOCK_SKEW_S


@dataclass(frozen=True)
class SearchOwner:
    """See rules.Owner; `since` is when there was first a search of the name, since 1970."""

    name: str
    experiment_names: tuple[str, ...]
    since: float
    experiments: Experiments

    def has_experiment(self, experiment_id: str) -> bool:
        """See rules.Owner."""
        own = (self.experiments.of_search(name, self.since) for name in self.experiment_names)
        return experiment_id in own

    def has_registered_model(self, name: str) -> bool:
        """See rules.Owner."""
        return name == self.name and self.experiments.is_model_of_search(name, self.since)

    def has_run(self, run_id: str) -> bool:
        """See rules.Owner."""
        return self._is_own(self.experiments.of_run(run_id))

    def has_model(self, model_id: str) -> bool:
        """See rules.Owner."""
        return self._is_own(self.experiments.of_model(model_id))

    def _is_own(self, experiment_id: str | None) -> bool:
        return experiment_id is not None and self.has_experiment(experiment_id)
