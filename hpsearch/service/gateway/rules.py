"""What a search's driver may ask of MLflow: to read, and to write what is its own.

A write names what it changes by experiments, runs, logged models and registered models. A search
has one registered model, of its own name, and one experiment of that name, and one for its
repeats; runs and logged models belong to an experiment for good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hpsearch.errors import NotAllowedError
from hpsearch.service.forwarding import Route

Json = Mapping[str, Any]
_API, _ARTIFACTS = "api/2.0/mlflow", "api/2.0/mlflow-artifacts/artifacts"
_RUN = ("run_id", "run_uuid")


class Owner(Protocol):
    """A search, and what of MLflow belongs to it."""

    @property
    def name(self) -> str:
        """Its name, and that of its registered model."""
        ...

    @property
    def experiment_names(self) -> Sequence[str]:
        """The names of its experiments."""
        ...

    def has_experiment(self, experiment_id: str) -> bool:
        """Whether an experiment is the search's."""
        ...

    def has_run(self, run_id: str) -> bool:
        """Whether a run is in the search's experiment."""
        ...

    def has_registered_model(self, name: str) -> bool:
        """Whether a registered model is the search's."""
        ...

    def has_model(self, model_id: str) -> bool:
        """Whether a logged model is in the search's experiment."""
        ...


def _is_named(owner: Owner, value: str) -> bool:
    return value == owner.name


def _is_experiment(owner: Owner, value: str) -> bool:
    return value in owner.experiment_names


def _has_registered_model(owner: Owner, value: str) -> bool:
    return owner.has_registered_model(value)


def _is_own_source(owner: Owner, source: str) -> bool:
    """Whether a model version's place lies in the search's experiment."""
    scheme, _, rest = source.partition(":/")
    experiment_id, _, below = rest.partition("/")
    is_plain = (
        bool(below) and not {".", ".."} & set(below.split("/")) and not set(rest) & set("%?#\\")
    )
    return scheme == "mlflow-artifacts" and is_plain and owner.has_experiment(experiment_id)


_Owned = Callable[[Owner, str], bool]
#: what names something of a search, wherever it stands in a body
_OWNED: Mapping[str, _Owned] = {
    "experiment_id": lambda owner, value: owner.has_experiment(value),
    "run_id": lambda owner, value: owner.has_run(value),
    "run_uuid": lambda owner, value: owner.has_run(value),
    "source_run_id": lambda owner, value: owner.has_run(value),
    "model_id": lambda owner, value: owner.has_model(value),
    "source": _is_own_source,
}
#: names of what stands inside lists: metrics, params, tags, models
_INNER = frozenset({"key", "value", "timestamp", "step", "model_id"})


@dataclass(frozen=True)
class Write:
    """A route that writes: the fields that its body must have, and may have besides."""

    route: Route
    required: frozenset[str]
    optional: frozenset[str]
    #: whose its `name` must be; a name alone is not yet a registered model
    name_is: _Owned | None = None

    def check(self, owner: Owner, segments: Sequence[str], body: Json) -> None:
        """Raise NotAllowedError unless all that a request writes is the search's own."""
        if not self.required <= body.keys() <= self.required | self.optional:
            rule = f"must hold {_listed(self.required)}, and may hold {_listed(self.optional)}"
            raise NotAllowedError(f"{self.route.method} {self.route.template}: {rule}")
        if self.name_is is not None:
            _require(self.name_is, owner, "name", body["name"])
        for part, segment in zip(self.route.template.split("/"), segments, strict=False):
            if part == "{}":
                _require(_OWNED["model_id"], owner, "model_id", segment)
        _check_body(owner, body)


def check_upload(owner: Owner, segments: Sequence[str]) -> None:
    """Raise NotAllowedError unless a file belongs to a run or a model of the search."""
    place = UPLOAD.template.split("/").index("{int}")
    _require(_OWNED["experiment_id"], owner, "experiment_id", segments[place])


def _check_body(owner: Owner, body: Json) -> None:
    for name, value in body.items():
        if name in _OWNED and value not in (None, ""):
            _require(_OWNED[name], owner, name, value)
        for inner in value if isinstance(value, list) else ():
            # MLflow takes other spellings of these names too: only the known ones pass.
            if not isinstance(inner, Mapping) or not inner.keys() <= _INNER:
                raise NotAllowedError(f"{name}: each must hold some of {_listed(_INNER)}")
            if any(isinstance(child, Mapping | list) for child in inner.values()):
                raise NotAllowedError(f"{name}: each must hold texts and numbers only")
            if inner.get("model_id"):
                _require(_OWNED["model_id"], owner, "model_id", inner["model_id"])


def _require(owned: _Owned, owner: Owner, name: str, value: Any) -> None:
    if not isinstance(value, str) or not owned(owner, value):
        raise NotAllowedError(f"{name}: must belong to the search, but got {str(value)[:200]!r}")


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _get(path: str, *query: str) -> Route:
    return Route("GET", f"{_API}/{path}", frozenset(query))


def _write(
    method: str,
    path: str,
    required: tuple[str, ...],
    *optional: str,
    name_is: _Owned | None = None,
) -> Write:
    route = Route(method, f"{_API}/{path}")
    return Write(route, frozenset(required), frozenset(optional), name_is)


#: every user sees all of MLflow
READS = (
    _get("experiments/get", "experiment_id"),
    _get("experiments/get-by-name", "experiment_name"),
    _get("runs/get", *_RUN),
    _get("metrics/get-history", "metric_key", "max_results", "page_token", *_RUN),
    _get("logged-models/{}"),
    _get("model-versions/search", "filter", "max_results", "order_by", "page_token"),
    _get("registered-models/get", "name"),
    Route("GET", "api/3.0/mlflow/server-info"),
    Route("POST", f"{_API}/runs/search"),
    Route("POST", f"{_API}/logged-models/search"),
)
WRITES = (
    _write("POST", "experiments/create", ("name",), "tags", name_is=_is_experiment),
    _write("POST", "runs/create", ("experiment_id",), "user_id", "run_name", "start_time", "tags"),
    _write("POST", "runs/update", ("run_id",), "run_uuid", "status", "end_time", "run_name"),
    _write("POST", "runs/log-batch", ("run_id",), "metrics", "params", "tags"),
    _write("POST", "runs/delete-tag", ("run_id", "key")),
    _write("POST", "runs/outputs", ("run_id", "models")),
    _write(
        "POST",
        "logged-models",
        ("experiment_id", "source_run_id"),
        *("name", "model_type", "params", "tags"),
    ),
    _write("PATCH", "logged-models/{}", ("status",), "model_id"),
    _write("DELETE", "logged-models/{}", (), "model_id"),
    _write("PATCH", "logged-models/{}/tags", ("tags",), "model_id"),
    _write("POST", "registered-models/create", ("name",), name_is=_is_named),
    _write(
        "POST",
        "registered-models/alias",
        ("name", "alias", "version"),
        name_is=_has_registered_model,
    ),
    _write(
        "POST",
        "model-versions/create",
        ("name", "source", "run_id"),
        "model_id",
        name_is=_has_registered_model,
    ),
)
#: a file of a run or a model: the first part of its path is the experiment's id
UPLOAD = Route("PUT", f"{_ARTIFACTS}/{{int}}/{{*}}")
ROUTES = (*READS, *(write.route for write in WRITES), UPLOAD)
