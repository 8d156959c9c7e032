"""The runs folder: where searches, MLflow's store and everything else of a user are kept.

runs/
├── mlflow.db, mlartifacts/     MLflow's store, shared by all searches
└── NAME/                       one search
    ├── spec.yaml               as resolved
    ├── record.journal          its record, unless that is in a database
    ├── driver.lock             held by the one driver that works on it
    ├── stop                    there while the driver is asked to stop
    ├── acts/                   what users asked of the driver and it hasn't taken yet
    ├── code/                   the user's code, as it was checked and as workers import it
    ├── checkpoints/            of unfinished trials and of the best
    ├── outputs/                what trials printed
    ├── report.md, report.html
    ├── NAME-final/             the best configurations with new seeds, as a search of its own
    └── ray/                    Ray Tune's own files, derived
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from hpsearch.errors import (
    RecordError,
    RunsError,
    SearchExistsError,
    SearchNotFoundError,
    SearchRunningError,
    nearest_names,
)
from hpsearch.record import Record
from hpsearch.spec import Scalar, SearchSpec

#: seconds that a driver waits for its search: others hold the lock for a moment, to look at it
LOCK_TIMEOUT_S = 1.0
#: characters of a name, at most
MAX_NAME = 100


def name_of_repeats(name: str) -> str:
    """Return the name of the search that trains a search's best again, with new seeds."""
    suffix = "-final"
    return f"{name[: MAX_NAME - len(suffix)]}{suffix}"


@dataclass(frozen=True)
class SearchFolder:
    """The files of one search."""

    path: Path

    @property
    def name(self) -> str:
        """The search's name."""
        return self.path.name

    @property
    def spec(self) -> Path:
        """The spec as resolved."""
        return self.path / "spec.yaml"

    @property
    def spec_draft(self) -> Path:
        """The spec while it is being written."""
        return self.path / "spec.tmp"

    @property
    def journal(self) -> Path:
        """The record, unless it is in a database."""
        return self.path / "record.journal"

    @property
    def record_place(self) -> Path | str:
        """Where the record is: a file, or the URL of a database."""
        if self.journal.is_file():
            return self.journal
        try:
            return str(yaml.safe_load(self.spec.read_text())["storage"])
        except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError) as error:
            rule = "must name the storage of the record, as there is no record.journal beside it"
            raise RecordError(f"{self.spec}: {rule}") from error

    @property
    def driver_log(self) -> Path:
        """What the driver of a service's search wrote."""
        return self.path / "driver.log"

    @property
    def lock(self) -> Path:
        """The file that a driver holds locked."""
        return self.path / "driver.lock"

    @property
    def stop_request(self) -> Path:
        """A file that asks the driver to stop."""
        return self.path / "stop"

    @property
    def acts(self) -> Path:
        """Acts of users that the driver has yet to take, a file each."""
        return self.path / "acts"

    @property
    def checkpoints(self) -> Path:
        """Where trials write their checkpoints."""
        return self.path / "checkpoints"

    @property
    def outputs(self) -> Path:
        """Where workers write what trials print."""
        return self.path / "outputs"

    @property
    def report_md(self) -> Path:
        """The report as Markdown."""
        return self.path / "report.md"

    @property
    def report_html(self) -> Path:
        """The report as one self-contained page."""
        return self.path / "report.html"

    @property
    def final(self) -> SearchFolder:
        """The search that trains the best configurations again, with new seeds."""
        return SearchFolder(self.path / name_of_repeats(self.name))

    @property
    def ray(self) -> Path:
        """Ray Tune's own files."""
        return self.path / "ray"

    def open_record(self) -> Record:
        """Read the record."""
        return Record.open(self.record_place, self.name, self.path)

    def take_over(self) -> Record:
        """Read the record as its driver, which must hold the lock."""
        return Record.reopen(self.record_place, self.name, self.path)

    def remove(self) -> None:
        """Remove the search, with its record wherever that is; no driver may run."""
        if not self.journal.is_file():
            Record.remove(self.record_place, self.name, self.path)
        shutil.rmtree(self.path)

    def write_spec(self, spec: SearchSpec) -> None:
        """Write the spec as it is now."""
        self.spec_draft.write_text(spec.to_yaml())
        self.spec_draft.replace(self.spec)

    @contextmanager
    def drive(self) -> Iterator[None]:
        """Be the search's one driver; raises SearchRunningError if there is another.

        The lock goes with the process that holds it, however that dies.
        """
        try:
            with self._lock.acquire(timeout=LOCK_TIMEOUT_S):
                self.stop_request.unlink(missing_ok=True)
                yield
        except Timeout as error:
            raise SearchRunningError.of(self.name) from error

    def is_driven(self) -> bool:
        """Whether a driver works on the search."""
        with self.hold() as is_held:
            return not is_held

    @contextmanager
    def hold(self) -> Iterator[bool]:
        """Keep drivers off the search for a moment; yields False where one works on it."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._lock.acquire(timeout=0))
            except Timeout:
                yield False
            else:
                yield True

    @property
    def _lock(self) -> FileLock:
        return FileLock(self.lock)


class Runs:
    """A runs folder."""

    def __init__(self, path: str | Path = "runs") -> None:
        self.path = Path(path).absolute()

    @property
    def tracking_uri(self) -> str:
        """URI of MLflow's store, unless a spec names another."""
        return f"sqlite:///{self.path / 'mlflow.db'}"

    @property
    def service_state(self) -> Path:
        """What a service on this machine keeps for itself, its secrets among it."""
        return self.path / ".service"

    @property
    def tracking_token(self) -> str | None:
        """The token of the MLflow server of a service on this machine, for who may read it."""
        try:
            return (self.service_state / "mlflow_token").read_text().strip()
        except OSError:
            return None

    @property
    def artifacts(self) -> Path:
        """Folder of MLflow's artifacts."""
        return self.path / "mlartifacts"

    def tracking_of(
        self, spec: SearchSpec, reached_at: str | None = None
    ) -> tuple[str, Path | None]:
        """Return URI and artifact folder of a search's MLflow store; a server has its own.

        A relative path of a file is taken from the spec's folder. `reached_at` is another URI.
        """
        uri = reached_at or spec.tracking_uri or self.tracking_uri
        scheme, slashes, path = uri.partition(":///")
        if reached_at is None and scheme == "sqlite" and path and path != ":memory:":
            uri = f"{scheme}{slashes}{Path(spec.folder).resolve() / path}"
        return uri, self.artifacts_of(uri)

    def artifacts_of(self, tracking_uri: str) -> Path | None:
        """Return the artifact folder of searches in a store; a server has its own."""
        return None if tracking_uri.startswith("http") else self.artifacts

    @property
    def existing_folder(self) -> Path:
        """The runs folder, or the nearest above it that exists already."""
        return next(path for path in (self.path, *self.path.parents) if path.exists())

    def names(self) -> list[str]:
        """Return the names of the searches, oldest first."""
        specs = [path for path in self.path.glob("*/spec.yaml") if path.parent.name[0] != "."]
        return [spec.parent.name for spec in sorted(specs, key=lambda path: path.stat().st_mtime)]

    def has(self, name: str) -> bool:
        """Whether the folder of a search is there."""
        folder = SearchFolder(self.path / name)
        return folder.spec.is_file() or folder.journal.is_file()

    def search(self, name: str) -> SearchFolder:
        """Return the folder of a search that is there."""
        if not self.has(name):
            known = self.names()
            hint = " or ".join(nearest_names(name, known)) or ", ".join(known) or "none yet"
            raise SearchNotFoundError(f"no search {name!r} in {self.path}; there are: {hint}")
        return SearchFolder(self.path / name)

    def check_new(self, name: str) -> None:
        """Raise unless a new search of this name could be kept here; nothing is changed."""
        if (self.path / name).exists():
            raise SearchExistsError(
                f"{self.path / name} exists: choose another name (--name), resume it "
                f"(hpsearch resume {name}) or delete it (hpsearch delete {name})"
            )
        existing = self.existing_folder
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise RunsError(f"{self.path}: must be a writable folder ({existing} is not)")

    def create(
        self,
        spec: SearchSpec,
        facts: Mapping[str, Any] | None = None,
        first_points: Iterable[Mapping[str, Scalar]] = (),
        code: Mapping[str, str] | None = None,
        give: Callable[[Path], None] | None = None,
    ) -> SearchFolder:
        """Make the folder of a new search, with its spec and its record.

        `code` are the hashes of the user's code, unless that is known to stay as it is. `give`
        hands the folder to whoever is to work on it, before anybody else sees it.
        """
        # Under another name until it is whole, so that a search is there or isn't.
        draft = SearchFolder(self.path / f".{spec.name}.{uuid.uuid4().hex}")
        folder = SearchFolder(self.path / spec.name)
        try:
            with self._creating(spec.name):
                draft.checkpoints.mkdir(parents=True)
                draft.write_spec(spec)
                place = spec.storage or draft.journal
                Record.create(place, spec, facts, first_points, folder.path, code)
                if give is not None:
                    give(draft.path)
                draft.path.rename(folder.path)
        except OSError as error:
            raise RunsError(f"{folder.path}: can't be written: {error.strerror}") from error
        finally:
            shutil.rmtree(draft.path, ignore_errors=True)
        return folder

    @contextmanager
    def _creating(self, name: str) -> Iterator[None]:
        """Create one search at a time: what another has begun looks like what a dead one left."""
        self.check_new(name)
        self.path.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path / ".create.lock"):
            self.check_new(name)
            yield
