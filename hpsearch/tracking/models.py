"""Models in MLflow: the best trial's, logged under its run, and the mean of the best trials, under
the search's; both are versions of the model that is registered under the search's name.

MLflow and torch are imported inside the functions: they take seconds, and it is done once.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hpsearch.errors import TrackingError
from hpsearch.process import environment, kept_logging
from hpsearch.record import Record, TrialRecord
from hpsearch.tracking.model_files import (
    copied_modules,
    import_pytorch_flavor,
    save_model,
)
from hpsearch.tracking.operations import as_tracking_errors, open_search
from hpsearch.tracking.run_content import as_test_metric, flatten, milliseconds, trial_values
from hpsearch.tracking.store import open_client

if TYPE_CHECKING:
    from torch import nn

#: of versions of the registered model: the best trial's, and the mean of the best trials
ALIAS, ENSEMBLE = "best", "ensemble"
MODEL_NAME = "model"


def import_ahead(tracking_uri: str) -> None:
    """Do once what takes `register_best` and `log_report` seconds: import MLflow, open a store
    that isn't a server, and have MLflow find out which packages are installed."""
    with as_tracking_errors(tracking_uri):
        import hpsearch.tracking.writer  # noqa: F401

        import_pytorch_flavor()
        import mlflow.pyfunc  # noqa: F401
        from mlflow.utils.requirements_utils import warn_dependency_requirement_mismatches

        if not tracking_uri.startswith("http"):
            client = open_client(tracking_uri)
            client.search_logged_models(["0"], max_results=1)
            client.search_registered_models(max_results=1)
        warn_dependency_requirement_mismatches(["torch"])


def register_best(
    record: Record,
    tracking_uri: str,
    trial: TrialRecord,
    model: nn.Module,
    input_example: Any,
    test_metrics: Mapping[str, float] | None = None,
    modules: Mapping[str, Path] | None = None,
) -> str:
    """Log a trial's model under its run, register it under the search's name; return its URI.

    The newest is also `models:/NAME@best`. `mlflow.pytorch.load_model` gives back the module,
    in evaluation mode; `mlflow.pyfunc.load_model` what takes rows as users have them.
    `input_example` is a batch of inputs, an array or a DataFrame; `modules` are the files of the
    user's modules that the model may be made of, by name. What a driver that died has done of it
    isn't done again.
    """
    write = _pytorch_files(model, input_example, modules or {})
    return _log_and_register(record, tracking_uri, trial, write, "pytorch", test_metrics or {})


def register_ensemble(
    record: Record,
    tracking_uri: str,
    model: nn.Module,
    input_example: Any,
    modules: Mapping[str, Path],
) -> str:
    """Log the mean of the best trials (`record.ensemble`) under the search's run, register it as
    `models:/NAME@ensemble` and return its URI; see `register_best`."""
    assert record.ensemble is not None
    params = flatten({"trials": list(record.ensemble.trials)})
    write = _pytorch_files(model, input_example, modules)
    with as_tracking_errors(tracking_uri):
        client, run = open_search(record, tracking_uri)
        logging = _Logging(ENSEMBLE, "pytorch", params, len(record.trials), write)
        logged = _logged(client, run, logging)
        return _register(client, record.name, run.info.run_id, logged, ENSEMBLE)


def register_files(
    record: Record, tracking_uri: str, trial: TrialRecord, write: Callable[[Path], object]
) -> str:
    """As `register_best`, for a trial of which only files are known: `write` puts them into a
    folder. `mlflow.artifacts.download_artifacts` gives them back."""

    def write_all(folder: Path, logged: Any) -> None:
        folder.mkdir()
        write(folder)

    return _log_and_register(record, tracking_uri, trial, write_all, "checkpoint", {})


def _pytorch_files(
    model: nn.Module, input_example: Any, modules: Mapping[str, Path]
) -> Callable[[Path, Any], None]:
    """Return what writes the files of a module into a folder."""

    def write(folder: Path, logged: Any) -> None:
        code = copied_modules(folder.with_name("modules"), modules)
        save_model(folder, logged, model, input_example, code)

    return write


@dataclass(frozen=True)
class _Logging:
    """What is logged of a model: `write` puts its files into a folder."""

    name: str
    model_type: str
    params: Mapping[str, str]
    step: int
    write: Callable[[Path, Any], None]


def _log_and_register(
    record: Record,
    tracking_uri: str,
    trial: TrialRecord,
    write: Callable[[Path, Any], None],
    model_type: str,
    test_metrics: Mapping[str, float],
) -> str:
    with as_tracking_errors(tracking_uri):
        from hpsearch.tracking.writer import find_trial

        client, parent = open_search(record, tracking_uri)
        run = find_trial(client, parent.info.experiment_id, parent.info.run_id, trial.number)
        if run is None:
            raise TrackingError(f"{tracking_uri} has no run of trial {trial.number}")
        params = flatten(trial_values(trial))
        logging = _Logging(MODEL_NAME, model_type, params, trial.epochs, write)
        logged = _logged(client, run, logging)
        _log_test_metrics(client, run, trial, logged.model_id, test_metrics)
        return _register(client, record.name, run.info.run_id, logged, ALIAS)


def load_registered(name: str, tracking_uri: str, alias: str = ALIAS) -> nn.Module:
    """Return a model of a search from the registry, by default the best one, by unpickling: trust
    its author."""
    with as_tracking_errors(tracking_uri), kept_logging(), _mlflow_at(tracking_uri) as mlflow:
        module: nn.Module = mlflow.pytorch.load_model(f"models:/{name}@{alias}")
    return module


@contextmanager
def _mlflow_at(uri: str) -> Iterator[Any]:
    """Have MLflow, as a whole, at a store meanwhile; afterwards where its user has it.

    What `models:/` means is a setting of the process. MLflow's setters set these variables too,
    so that they tell afterwards what was set.
    """
    import mlflow

    with environment({"MLFLOW_TRACKING_URI": uri, "MLFLOW_REGISTRY_URI": uri}):
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        try:
            yield mlflow
        finally:
            mlflow.set_registry_uri(cast(str, None))  # None is what MLflow begins with
            mlflow.set_tracking_uri(cast(str, None))


def _logged(client: Any, run: Any, logging: _Logging) -> Any:
    return _logged_before(client, run, logging) or _log_model(client, run, logging)


def _logged_before(client: Any, run: Any, logging: _Logging) -> Any:
    """Return the model of a run that is whole; removes what a driver that died had begun.

    A run of a search may have ensembles of other trials, from before it was extended.
    """
    mine = f"name = '{logging.name}' AND source_run_id = '{run.info.run_id}'"
    whole = None
    for logged in client.search_logged_models([run.info.experiment_id], mine):
        if logged.status != "READY":
            client.delete_logged_model(logged.model_id)
        elif logging.name != ENSEMBLE or dict(logged.params) == dict(logging.params):
            whole = logged
    return whole


def _log_model(client: Any, run: Any, logging: _Logging) -> Any:
    from mlflow.entities import LoggedModelOutput

    logged = client.create_logged_model(
        run.info.experiment_id,
        name=logging.name,
        source_run_id=run.info.run_id,
        params=dict(logging.params),
        model_type=logging.model_type,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        logging.write(path, logged)
        client.log_model_artifacts(logged.model_id, str(path))
    client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, step=logging.step)])
    return client.finalize_logged_model(logged.model_id, "READY")


def _log_test_metrics(
    client: Any, run: Any, trial: TrialRecord, model_id: str, metrics: Mapping[str, float]
) -> None:
    from mlflow.entities import Metric

    now = milliseconds(time.time())
    points = [
        Metric(as_test_metric(name), value, now, trial.epochs, model_id=model_id)
        for name, value in metrics.items()
        if as_test_metric(name) not in run.data.metrics
    ]
    client.log_batch(run.info.run_id, points)


def _register(client: Any, name: str, run_id: str, logged: Any, alias: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"run_id = '{run_id}'")
    known = [each for each in versions if each.source == logged.artifact_location]
    # By its place: `models:/ID` would be looked up in the store of the process's settings.
    version = (
        known[0]
        if known
        else client.create_model_version(
            name,
            logged.artifact_location,
            run_id,
            model_id=logged.model_id,
            await_creation_for=0,
        )
    ).version
    client.set_registered_model_alias(name, alias, version)
    link = json.dumps([{"name": name, "version": version}])  # MLflow's pages link by it
    client.set_logged_model_tags(logged.model_id, {"mlflow.modelVersions": link})
    return f"models:/{name}/{version}"
