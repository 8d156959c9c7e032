"""The best trial's model in MLflow: logged under its run, registered under the search's name.

MLflow and torch are imported inside the functions: they take seconds, and it is done once.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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

ALIAS = "best"
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

    def write(folder: Path, logged: Any) -> None:
        code = copied_modules(folder.with_name("modules"), modules or {})
        save_model(folder, logged, model, input_example, code)

    return _log_and_register(record, tracking_uri, trial, write, "pytorch", test_metrics or {})


def register_files(
    record: Record, tracking_uri: str, trial: TrialRecord, write: Callable[[Path], object]
) -> str:
    """As `register_best`, for a trial of which only files are known: `write` puts them into a
    folder. `mlflow.artifacts.download_artifacts` gives them back."""

    def write_all(folder: Path, logged: Any) -> None:
        folder.mkdir()
        write(folder)

    return _log_and_register(record, tracking_uri, trial, write_all, "checkpoint", {})


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
        logged = _logged_before(client, run) or _log_model(client, run, trial, write, model_type)
        _log_test_metrics(client, run, trial, logged.model_id, test_metrics)
        return _register(client, record.name, run.info.run_id, logged)


def load_best(name: str, tracking_uri: str) -> nn.Module:
    """Return the best model of a search from the registry, by unpickling: trust its author."""
    with as_tracking_errors(tracking_uri), kept_logging(), _mlflow_at(tracking_uri) as mlflow:
        module: nn.Module = mlflow.pytorch.load_model(f"models:/{name}@{ALIAS}")
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


def _logged_before(client: Any, run: Any) -> Any:
    """Return the model of a run that is whole; removes what a driver that died had begun."""
    mine = f"name = '{MODEL_NAME}' AND source_run_id = '{run.info.run_id}'"
    whole = None
    for logged in client.search_logged_models([run.info.experiment_id], mine):
        if logged.status == "READY":
            whole = logged
        else:
            client.delete_logged_model(logged.model_id)
    return whole


def _log_model(
    client: Any,
    run: Any,
    trial: TrialRecord,
    write: Callable[[Path, Any], None],
    model_type: str,
) -> Any:
    from mlflow.entities import LoggedModelOutput

    logged = client.create_logged_model(
        run.info.experiment_id,
        name=MODEL_NAME,
        source_run_id=run.info.run_id,
        params=flatten(trial_values(trial)),
        model_type=model_type,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        write(path, logged)
        client.log_model_artifacts(logged.model_id, str(path))
    client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, step=trial.epochs)])
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


def _register(client: Any, name: str, run_id: str, logged: Any) -> str:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = client.search_model_versions(f"run_id = '{run_id}'")
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
    client.set_registered_model_alias(name, ALIAS, version)
    versions = json.dumps([{"name": name, "version": version}])  # MLflow's pages link by it
    client.set_logged_model_tags(logged.model_id, {"mlflow.modelVersions": versions})
    return f"models:/{name}/{version}"
