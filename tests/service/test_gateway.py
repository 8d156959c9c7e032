"""The gateway to MLflow: a driver writes to its own search's runs, and to nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from mlflow import MlflowClient
from torch import nn

from hpsearch.errors import SearchExistsError
from hpsearch.record import Outcome, Record
from hpsearch.runs import Runs, name_of_repeats
from hpsearch.service.core import Service
from hpsearch.service.embedded.processes import free_ports
from hpsearch.service.gateway import owners
from hpsearch.service.gateway.rules import WRITES
from hpsearch.service.settings import Settings
from hpsearch.tracking import log_report, register_best, sync
from tests.support.breaking import mlflow_server, wait_for_server
from tests.support.serving import served
from tests.support.team import Team

API = "api/2.0/mlflow"


@dataclass
class Place:
    """A service before a real MLflow server, with the searches `ours` and `theirs` in both."""

    folder: Path
    team: Team
    url: str
    mlflow: MlflowClient
    ours: Record
    own: dict[str, str]  # ids of what belongs to `ours`
    foreign: dict[str, str]

    @property
    def token(self) -> str:
        return self.team.service.tracking_tokens.of(self.team.service.table.get("ours"))

    def ask(
        self, method: str, path: str, body: Any = None, token: str | None = None
    ) -> requests.Response:
        """Ask the gateway as a driver's client does."""
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        return requests.request(
            method, f"{self.url}/tracking/{path}", json=body, headers=headers, timeout=60
        )


def ids_of(mlflow: MlflowClient, name: str) -> dict[str, str]:
    """Make a model version of a search's, and return the ids of all that it has."""
    experiment = mlflow.get_experiment_by_name(name).experiment_id
    run = mlflow.search_runs([experiment])[0].info.run_id
    model = mlflow.create_logged_model(experiment, name="model", source_run_id=run)
    mlflow.create_registered_model(name)
    mlflow.create_model_version(
        name, model.artifact_location, run, model_id=model.model_id, await_creation_for=0
    )
    return {
        "name": name,
        "experiment_id": experiment,
        "run_id": run,
        "run_uuid": run,
        "source_run_id": run,
        "model_id": model.model_id,
        "source": model.artifact_location,
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "runs").mkdir()
    [port] = free_ports(1)
    uri = f"http://127.0.0.1:{port}"
    with mlflow_server(folder, port):
        wait_for_server(uri)
        database = f"sqlite:///{folder / 'service.db'}"
        settings = Settings(folder / "runs", database, "http://127.0.0.1:1", tracking_uri=uri)
        service = Service(settings)
        team = Team(service)
        records = {name: team.add_finished(name, trials=2) for name in ("ours", "theirs")}
        for name, record in records.items():
            sync(record, uri)
            service.table.change(service.table.get(name), actual="running")
        client = MlflowClient(uri, registry_uri=uri)
        ids = {name: ids_of(client, name) for name in records}
        with served(team.app) as url:
            yield Place(folder, team, url, client, records["ours"], ids["ours"], ids["theirs"])
        service.close()


def test_a_driver_does_all_of_its_work_through_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = place.team.add_finished("whole", trials=2)
    table = place.team.service.table
    row = table.change(table.get("whole"), actual="running")
    assert row is not None
    token = place.team.service.tracking_tokens.of(row)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token)
    uri = f"{place.url}/tracking"
    for _ in range(2):  # what is there isn't written twice
        sync(record, uri)
    assert record.best is not None
    (tmp_path / "nets.py").write_text("# code\n")
    example = np.zeros((2, 4), dtype=np.float32)
    model = nn.Linear(4, 1)
    version = register_best(
        record,
        uri,
        record.best,
        model,
        example,
        {"test_loss": 0.5},
        {"nets": tmp_path / "nets.py"},
    )
    (tmp_path / "report.md").write_text("# report\n")
    log_report(record, uri, [tmp_path / "report.md"])
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    assert version == "models:/whole/1"
    experiment = place.mlflow.get_experiment_by_name("whole")
    runs = place.mlflow.search_runs([experiment.experiment_id])
    assert len(runs) == 3
    parent = next(run for run in runs if run.info.run_name == "whole")
    assert [each.path for each in place.mlflow.list_artifacts(parent.info.run_id)] == ["report.md"]
    best = place.mlflow.get_model_version_by_alias("whole", "best")
    assert (place.folder / "artifacts").joinpath(
        *best.source.removeprefix("mlflow-artifacts:/").split("/"), "code", "nets.py"
    ).read_text() == "# code\n"


def test_repeats_have_an_experiment_of_their_own(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", place.token)
    spec = place.ours.spec.model_copy(update={"name": name_of_repeats("ours"), "storage": None})
    repeats = Runs(tmp_path).create(spec).take_over()
    repeats.add_trial(place.ours.trials[0].params)
    repeats.end_trial(0, Outcome.COMPLETED)
    repeats.end("finished")
    sync(repeats, f"{place.url}/tracking")
    experiment = place.mlflow.get_experiment_by_name("ours-final")
    assert len(place.mlflow.search_runs([experiment.experiment_id])) == 2
    body = {"name": name_of_repeats("theirs")}
    assert place.ask("POST", f"{API}/experiments/create", body).status_code == 403


def test_the_experiment_of_repeats_is_kept_for_their_search(place: Place) -> None:
    table = place.team.service.table
    row = table.get("ours")
    with pytest.raises(SearchExistsError, match=r"'ours-final' is kept for MLflow runs of"):
        table.add(replace(row, name="ours-final", owner="bob", idempotency_key=None))
    table.add(replace(row, name="late-final", owner="bob", idempotency_key=None))
    with pytest.raises(SearchExistsError, match=r"'late-final' is kept for MLflow runs of"):
        table.add(replace(row, name="late", idempotency_key=None))


BODIES: dict[str, dict[str, Any]] = {
    "experiments/create": {"name": "N"},
    "runs/create": {"experiment_id": "E"},
    "runs/update": {"run_id": "R", "status": "FAILED"},
    "runs/log-batch": {"run_id": "R", "tags": [{"key": "mark", "value": "made"}]},
    "runs/delete-tag": {"run_id": "R", "key": "mlflow.runName"},
    "runs/outputs": {"run_id": "R", "models": [{"model_id": "M", "step": 1}]},
    "logged-models": {"experiment_id": "E", "source_run_id": "R", "name": "mark"},
    "logged-models/{}": {"status": "LOGGED_MODEL_UPLOAD_FAILED"},
    "logged-models/{}/tags": {"tags": [{"key": "mark", "value": "made"}]},
    "registered-models/create": {"name": "N"},
    "registered-models/alias": {"name": "N", "alias": "best", "version": "1"},
    "model-versions/create": {"name": "N", "source": "S", "run_id": "R", "model_id": "M"},
}


def filled(value: Any, ids: dict[str, str]) -> Any:
    """Put ids in the place of letters."""
    letters = {"N": "name", "E": "experiment_id", "R": "run_id", "M": "model_id", "S": "source"}
    if isinstance(value, dict):
        return {key: filled(child, ids) for key, child in value.items()}
    if isinstance(value, list):
        return [filled(child, ids) for child in value]
    return ids[letters[value]] if value in letters else value


def everything(place: Place) -> list[Any]:
    """All that MLflow holds of the other search."""
    theirs, client = place.foreign, place.mlflow
    runs = client.search_runs([theirs["experiment_id"]], run_view_type=3)
    models = client.search_logged_models([theirs["experiment_id"]])
    versions = client.search_model_versions(f"name = '{theirs['name']}'")
    registered = client.get_registered_model(theirs["name"])
    files = [client.list_artifacts(run.info.run_id) for run in runs]
    return [
        [run.to_dictionary() for run in runs],
        [model.to_dictionary() for model in models],
        [(version.version, version.source, version.aliases) for version in versions],
        registered.aliases,
        [[file.path for file in each] for each in files],
    ]


@pytest.mark.parametrize("write", WRITES, ids=lambda write: str(write.route))
def test_what_is_another_searchs_is_not_written(place: Place, write: Any) -> None:
    before = everything(place)
    template = write.route.template.removeprefix(f"{API}/")
    body = BODIES.get(template) if write.route.method != "DELETE" else {}
    assert body is not None, "each route that writes is tried"
    for mixed in mixtures(body, place):
        path = write.route.template.replace("{}", place.foreign["model_id"])
        answer = place.ask(write.route.method, path, mixed)
        assert answer.status_code == 403, (mixed, answer.text)
    assert everything(place) == before


@pytest.mark.parametrize("write", WRITES, ids=lambda write: str(write.route))
def test_what_was_there_before_any_search_of_the_name_is_not_written(
    place: Place, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners, "CLOCK_SKEW_S", 0.0)
    name = f"old-{WRITES.index(write)}"
    experiment = place.mlflow.create_experiment(name)
    place.mlflow.create_run(experiment)
    ids = ids_of(place.mlflow, name)
    table = place.team.service.table
    place.team.add(name, owner="bob", actual="running")
    token = place.team.service.tracking_tokens.of(table.get(name))
    template = write.route.template.removeprefix(f"{API}/")
    body = filled(BODIES[template], ids) if write.route.method != "DELETE" else {}
    path = write.route.template.replace("{}", ids["model_id"])
    answer = place.ask(write.route.method, path, body, token)
    is_taken = template in ("experiments/create", "registered-models/create")
    assert answer.status_code == (400 if is_taken else 403), answer.text


def mixtures(body: dict[str, Any], place: Place) -> Iterator[dict[str, Any]]:
    """Yield a body with the other search's ids in all places, and in each place alone."""
    yield filled(body, place.foreign)
    yield filled(body, place.foreign | {"name": "new"})
    own = filled(body, place.own)
    for key in body:
        if "{" not in str(body) and filled(body, place.foreign)[key] != own[key]:
            yield own | {key: filled(body, place.foreign)[key]}


SNEAKY: list[tuple[str, dict[str, Any]]] = [
    ("runs/log-batch", {"runId": "FR", "run_id": "R"}),
    ("runs/log-batch", {"run_id": "R", "run_uuid": "FR"}),
    ("runs/log-batch", {"run_id": ["FR"]}),
    ("runs/log-batch", {"run_id": "R", "metrics": [{"key": "a", "value": 1, "modelId": "FM"}]}),
    ("runs/log-batch", {"run_id": "R", "metrics": [{"key": "a", "value": 1, "model_id": "FM"}]}),
    ("runs/log-batch", {"run_id": "R", "metrics": [{"key": {"run_id": "FR"}}]}),
    ("runs/update", {"run_id": "R", "run_uuid": "FR", "status": "FAILED"}),
    ("runs/outputs", {"run_id": "R", "models": [{"model_id": "FM"}]}),
    ("runs/outputs", {"run_id": "R", "models": [{"modelId": "FM"}]}),
    ("experiments/create", {"name": "ours", "artifact_location": "file:///tmp"}),
    (
        "model-versions/create",
        {"name": "ours", "run_id": "R", "source": "mlflow-artifacts:/E/../1"},
    ),
    (
        "model-versions/create",
        {"name": "ours", "run_id": "R", "source": "mlflow-artifacts:/E/%2e"},
    ),
    *(
        ("model-versions/create", {"name": "ours", "run_id": "R", "source": source})
        for source in (
            "FS",
            "file:///etc",
            "mlflow-artifacts:/E/../1",
            "mlflow-artifacts:/E/%2e%2e/1",
            "mlflow-artifacts:E/x",
            "mlflow-artifacts://evil/E/x",
            "models:/theirs/1",
            "http://evil/x",
        )
    ),
    ("registered-models/alias", {"name": "theirs", "alias": "best", "version": "1"}),
]


@pytest.mark.parametrize(("path", "body"), SNEAKY)
def test_no_other_spelling_reaches_it(place: Place, path: str, body: dict[str, Any]) -> None:
    before = everything(place)
    replaced = _replaced(body, {"R": place.own["run_id"], "FR": place.foreign["run_id"]})
    replaced = _replaced(
        replaced, {"FM": place.foreign["model_id"], "FS": place.foreign["source"]}
    )
    answer = place.ask("POST", f"{API}/{path}", _source(replaced, place))
    assert answer.status_code == 403, answer.text
    assert everything(place) == before


def _replaced(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(child, names) for key, child in value.items()}
    if isinstance(value, list):
        return [_replaced(child, names) for child in value]
    return names.get(value, value) if isinstance(value, str) else value


def _source(body: dict[str, Any], place: Place) -> dict[str, Any]:
    source = body.get("source")
    experiment = place.own["experiment_id"]
    return body | {"source": source.replace("/E", f"/{experiment}")} if source else body


OTHER = [
    ("POST", f"{API}/experiments/delete"),
    ("POST", f"{API}/runs/delete"),
    ("POST", f"{API}/runs/set-tag"),
    ("DELETE", f"{API}/registered-models/delete"),
    ("DELETE", f"{API}/registered-models/alias"),
    ("POST", "api/2.0/mlflow/webhooks"),
    ("GET", "api/2.0/mlflow-artifacts/artifacts"),
    ("DELETE", "api/2.0/mlflow-artifacts/artifacts/1/x"),
    ("POST", "ajax-api/2.0/mlflow/runs/delete"),
    ("POST", "graphql"),
    ("GET", "get-artifact"),
    ("POST", f"{API}/experiments/create%3Fx=/search"),
    ("GET", ""),
]


@pytest.mark.parametrize(("method", "path"), OTHER)
def test_no_other_route_is_passed_on(place: Place, method: str, path: str) -> None:
    before = everything(place)
    assert place.ask(method, path, {"run_id": place.own["run_id"]}).status_code in (400, 404, 405)
    assert everything(place) == before


def test_files_go_to_the_searchs_own_runs_alone(place: Place) -> None:
    files = "api/2.0/mlflow-artifacts/artifacts"
    headers = {"Authorization": f"Bearer {place.token}"}

    def put(path: str, content: bytes = b"text") -> int:
        url = f"{place.url}/tracking/{files}/{path}"
        answer = requests.put(url, content, headers=headers, timeout=60)
        return answer.status_code

    own, foreign = place.own, place.foreign
    below = f"{own['experiment_id']}/{own['run_id']}/artifacts/notes.txt"
    assert put(below, b"x" * 3_000_000) == 200
    found = place.mlflow.list_artifacts(own["run_id"])
    assert [(file.path, file.file_size) for file in found] == [("notes.txt", 3_000_000)]
    before = everything(place)
    for path in (
        f"{foreign['experiment_id']}/{foreign['run_id']}/artifacts/notes.txt",
        f"{own['experiment_id']}/../{foreign['experiment_id']}/x",
        f"{own['experiment_id']}/%2e%2e/{foreign['experiment_id']}/x",
        f"{own['experiment_id']}%2F..%2F{foreign['experiment_id']}/x",
        "notes.txt",
    ):
        assert put(path) in (400, 403, 404, 405), path
    assert everything(place) == before


def test_only_the_token_of_a_search_that_runs_is_taken(place: Place) -> None:
    path = f"{API}/experiments/get-by-name?experiment_name=theirs"
    assert place.ask("GET", path).status_code == 200  # all see all
    service = place.team.service
    prefix, name, signature = place.token.split("_")
    users = service.tokens.create("ann", "admin")
    wrong = ["x", users, f"{prefix}_theirs_{signature}", f"{prefix}_{name}_{signature[::-1]}"]
    for token in (*wrong, f"{prefix}_none_{signature}", f"{prefix}__{signature}", "\u00e9"):
        assert place.ask("GET", path, token=token).status_code == 401, token
    assert requests.get(f"{place.url}/tracking/{path}", timeout=60).status_code == 401
    service.table.change(service.table.get("ours"), actual="finished")
    assert place.ask("GET", path).status_code == 401
    service.table.change(service.table.get("ours"), actual="running")
    assert place.ask("GET", path).status_code == 200
    answer = requests.get(
        f"{place.url}/api/v1/me", headers={"Authorization": f"Bearer {place.token}"}, timeout=60
    )
    assert answer.status_code == 401  # and it is a token of nothing else


def test_another_search_of_the_same_name_has_another_token(place: Place) -> None:
    service = place.team.service
    row = place.team.add("again")
    first = service.tracking_tokens.of(service.table.get(row.name))
    service.table.remove("again")
    place.team.add("again")
    assert service.tracking_tokens.of(service.table.get("again")) != first
